// What tests of receiving links share: a server with one client, messages of another protocol,
// lags.
import type { ExecutionContext } from 'ava'
import { systemClock } from '../../../src/clock.ts'
import { ANY_QUEUE, type NewMessage } from '../../../src/model/message.ts'
import { encodeProperties } from '../../../src/model/properties.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { type AmqpServer, startAmqp } from '../../support/amqp/amqp-server.ts'
import {
  bodyText,
  connectRhea,
  type Message,
  type RheaClient,
} from '../../support/amqp/rhea-client.ts'

export interface Setup extends AmqpServer {
  readonly client: RheaClient
}

export async function setup(t: ExecutionContext): Promise<Setup> {
  const server = await startAmqp(t)
  return { ...server, client: await connectRhea(t, server.port) }
}

/** As another protocol's client would. */
export async function publish(
  broker: Broker,
  topic: string,
  bodies: readonly string[],
  properties: Record<string, string> = {},
  queueId = ANY_QUEUE,
): Promise<void> {
  const messages = bodies.map(
    (body): NewMessage => ({
      topic,
      queueId,
      body: Buffer.from(body),
      properties: encodeProperties(Object.entries(properties)),
      flag: 0,
      sysFlag: 0,
      bornTimestamp: systemClock.now(),
      bornHost: { ip: 0, port: 0 },
      reconsumeTimes: 0,
      createTopic: true,
    }),
  )
  for (const result of await broker.publish(messages)) {
    if (result instanceof Error) throw result
  }
}

export const numbered = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `m${i}`)
export const texts = (messages: readonly Message[]): string[] => messages.map(bodyText).sort()

export const inFlight = async (broker: Broker, group: string): Promise<number> => {
  const lags = await broker.groups.lags(group)
  return lags.reduce((sum, lag) => sum + lag.inFlight, 0)
}

export const lag = async (broker: Broker, group: string): Promise<number> => {
  const lags = await broker.groups.lags(group)
  return lags.reduce((sum, one) => sum + one.lag, 0)
}
