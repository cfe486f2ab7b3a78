// The native front-end over a real broker and store, on a free port of loopback; the broker's clock
// stands still until the test moves it.

import { Accounts } from '../../../src/access/accounts.ts'
import type { User } from '../../../src/access/known-users.ts'
import { UserStore } from '../../../src/access/user-store.ts'
import type { BrokerOptions } from '../../../src/broker/options.ts'
import { systemClock } from '../../../src/clock.ts'
import { RemotingGateway } from '../../../src/gateway/remoting/server.ts'
import { type Logger, silentLogger } from '../../../src/log.ts'
import { BODY_BYTES_DEFAULT } from '../../../src/model/limits.ts'
import type { Broker } from '../../../src/port/broker.ts'
import type { Routes } from '../../../src/port/gateway.ts'
import { type Command, encodeCommand, requestHeader } from '../../../src/remoting/command.ts'
import {
  type DialOptions,
  dial,
  type RemotingConnection,
} from '../../../src/remoting/connection.ts'
import { jsonBody } from '../../../src/remoting/json/json-emitter.ts'
import type { ServingOptions } from '../../../src/remoting/serving/connection.ts'
import { startBroker, type TestBroker } from '../broker.ts'
import { FakeClock } from '../fake-clock.ts'
import { openFrontEnd } from '../front-end.ts'
import { RawPeer } from '../peers/raw-peer.ts'
import type { Teardown } from '../temp-dir.ts'

export interface NativeFrontEnd extends TestBroker {
  readonly gateway: RemotingGateway
  readonly port: number
  /** Waits for its answers as long as it takes. */
  connect(options?: Partial<DialOptions>): Promise<RemotingConnection>
  /** Sends whatever bytes it likes. */
  raw(): Promise<RawPeer>
  /** Serves what the disk holds now, as after a kill. */
  crash(): Promise<NativeFrontEnd>
}

export interface FrontEndOptions extends ServingOptions {
  readonly broker?: Partial<BrokerOptions>
  readonly users?: Readonly<Record<string, User>>
  /** What the front-end sees instead of the broker. */
  readonly bend?: (broker: Broker) => Broker
  readonly routes?: Routes
  readonly log?: Logger
}

export async function startFrontEnd(
  t: Teardown,
  options: FrontEndOptions = {},
): Promise<NativeFrontEnd> {
  return serve(t, await startBroker(t, options.broker), options)
}

async function serve(
  t: Teardown,
  host: TestBroker,
  options: FrontEndOptions,
): Promise<NativeFrontEnd> {
  const {
    broker: brokerOptions,
    users = {},
    bend = (real) => real,
    routes,
    log = silentLogger,
    ...gatewayOptions
  } = options
  const { broker, clock, numbers } = host
  const auth = new UserStore(users, clock)
  const accounts = new Accounts(broker.states, auth.accountUsers, log)
  await accounts.open()
  t.teardown(() => accounts.close())
  const gateway = new RemotingGateway(
    { broker: bend(broker), auth, accounts, clock, log, numbers, routes },
    { bodyBytesMax: brokerOptions?.bodyBytesMax ?? BODY_BYTES_DEFAULT, ...gatewayOptions },
  )
  const frontEnd = await openFrontEnd(t, gateway, { clock: systemClock })
  t.teardown(async () => {
    const closing = frontEnd.close(0)
    clock.advance(1000)
    await closing
  })
  const { port } = frontEnd
  return {
    ...host,
    gateway,
    port,
    connect: async (changed = {}) => {
      const connection = await dial({ host: '127.0.0.1', port, clock: new FakeClock(), ...changed })
      t.teardown(() => connection.close())
      return connection
    },
    raw: async () => {
      const peer = await RawPeer.connect(port)
      t.teardown(() => peer.end())
      return peer
    },
    crash: async () => serve(t, await host.crash(), options),
  }
}

export const fields = (
  values: Readonly<Record<string, string | number | boolean>>,
): Map<string, string> =>
  new Map(Object.entries(values).map(([name, value]) => [name, String(value)]))

export interface Sent {
  readonly topic: string
  readonly body?: Uint8Array
  readonly properties?: Readonly<Record<string, string>>
  readonly code?: number
  readonly [field: string]: unknown
}

/** SEND_MESSAGE_V2 as Java writes it. */
function sendOf(sent: Sent): { code: number; fields: Map<string, string>; body: Uint8Array } {
  const { topic, body = Buffer.from('body'), properties = {}, code = 310, ...changed } = sent
  const text = Object.entries(properties).map(([name, value]) => `${name}\u0001${value}\u0002`)
  const all = fields({
    ...{ a: 'PG', b: topic, c: 'TBW102', d: 4, e: 0, f: 0, g: 1_700_000_000_000, h: 0 },
    ...{ i: text.join(''), j: 0, k: false, m: false },
    ...(changed as Record<string, string>),
  })
  return { code, fields: all, body }
}

export function send(connection: RemotingConnection, sent: Sent): Promise<Command> {
  const { code, ...rest } = sendOf(sent)
  return connection.request(code, rest)
}

/** The bytes of `send`. */
export function sendFrame(opaque: number, sent: Sent): Buffer {
  const { body, ...rest } = sendOf(sent)
  return encodeCommand(requestHeader({ opaque, ...rest }), body)
}

export interface Pulled {
  readonly topic: string
  readonly group?: string
  readonly offset?: number
  readonly queueId?: number
  readonly max?: number
  /** 2 = hold, 4 = with subscription, 1 = commit. */
  readonly sysFlag?: number
  readonly subscription?: string
  readonly commitOffset?: number
  readonly suspendMs?: number
  readonly [field: string]: unknown
}

export function pull(connection: RemotingConnection, pulled: Pulled): Promise<Command> {
  const { topic, group = 'G', offset = 0, queueId = 0, max = 32, sysFlag = 4 } = pulled
  const { subscription = '*', commitOffset = 0, suspendMs = 15_000, code = 11, ...rest } = pulled
  const known = new Set(['topic', 'group', 'offset', 'queueId', 'max', 'sysFlag'])
  const others = Object.entries(rest).filter(([name]) => !known.has(name))
  return connection.request(code as number, {
    fields: fields({
      ...{ consumerGroup: group, topic, queueId, queueOffset: offset, maxMsgNums: max, sysFlag },
      ...{ commitOffset, suspendTimeoutMillis: suspendMs, subscription, subVersion: 0 },
      ...(Object.fromEntries(others) as Record<string, string>),
    }),
    timeoutMs: 30_000,
  })
}

export interface Consumer {
  readonly group: string
  readonly topics?: Readonly<Record<string, string>>
  readonly model?: string
  readonly type?: string
  readonly version?: number
}

export function heartbeat(
  connection: RemotingConnection,
  clientId: string,
  consumers: readonly Consumer[],
  producers: readonly string[] = [],
): Promise<Command> {
  const body = jsonBody({
    clientID: clientId,
    consumerDataSet: consumers.map(({ group, topics = {}, model, type, version }) => ({
      groupName: group,
      consumeType: type ?? 'CONSUME_PASSIVELY',
      messageModel: model ?? 'CLUSTERING',
      consumeFromWhere: 'CONSUME_FROM_LAST_OFFSET',
      subscriptionDataSet: Object.entries(topics).map(([topic, subString]) => ({
        topic,
        subString,
        subVersion: version ?? 1,
        expressionType: 'TAG',
      })),
    })),
    producerDataSet: producers.map((groupName) => ({ groupName })),
  })
  return connection.request(34, { body })
}
