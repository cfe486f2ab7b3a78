// The native protocol for the suite over the front-ends: signed requests, pulls, offsets.
import type { ExecutionContext } from 'ava'
import { RemotingGateway } from '../../../../src/gateway/remoting/server.ts'
import { encodeCommand, requestHeader } from '../../../../src/remoting/command.ts'
import { dial, type RemotingConnection } from '../../../../src/remoting/connection.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import {
  fields,
  heartbeat,
  pull,
  send,
  sendFrame,
} from '../../../support/native/native-front-end.ts'
import { decodeMessages, type WireMessage } from '../../../support/native/wire-message.ts'
import type { Client, Delivery, Driver, Labels, Reader, Verdict } from '../driver.ts'

const QUERY_OFFSET = 14
const COMMIT_OFFSET = 15
const IDENTITY = 26
const SEND_BACK = 36
const NOT_FOUND = 22
const NOTHING_NEW = 19
const HOLD_WITH_SUBSCRIPTION = 6

const query = (code: number, values: Parameters<typeof fields>[0] = {}): Buffer =>
  encodeCommand(requestHeader({ code, opaque: 1, fields: fields(values) }))

const pullFrame = (topic: string, queueOffset: number): Buffer =>
  query(11, {
    ...{ consumerGroup: 'G', topic, queueId: 0, queueOffset, maxMsgNums: 1, sysFlag: 4 },
    ...{ commitOffset: 0, suspendTimeoutMillis: 0, subscription: '*', subVersion: 0 },
  })

function framed(header: Buffer, codec: number): Buffer {
  const prefix = Buffer.alloc(8)
  prefix.writeInt32BE(4 + header.length)
  prefix.writeUInt32BE(((codec << 24) | header.length) >>> 0, 4)
  return Buffer.concat([prefix, header])
}

export const native: Driver = {
  name: 'native',
  gateway: (context) => new RemotingGateway(context),
  connect: async (t, port, login) => {
    const credentials = login && { accessKey: login.user, secretKey: login.password }
    const at = { host: '127.0.0.1', port, clock: new FakeClock() }
    const connection = await dial({ ...at, credentials })
    t.teardown(() => connection.close())
    const client = new NativeClient(connection, t)
    try {
      await client.ping()
    } catch (error) {
      client.cut()
      throw error
    }
    return client
  },
  says: ['tag', 'key', 'properties'],
  outcomes: ['retry', 'reject'],
  goodbye: 'no word',
  hellos: [query(IDENTITY)],
  frames: [
    sendFrame(1, { topic: 'fuzzed', properties: { KEYS: 'k' } }),
    pullFrame('fuzzed', 0),
    ...[12, 14, 15, 17, 21, 28, 29, 30, 31, 32, 33, 38, 43, 46, 200, 201, 202, 203, 204].map(
      (code) => query(code, { topic: 'fuzzed', queueId: 0, consumerGroup: 'G', timestamp: 1 }),
    ),
    ...[207, 208, 215, 222, 300, 305, 320, 343, 345, 351, 352, 361].map((code) =>
      query(code, { topic: 'fuzzed', group: 'G', key: 'k', offset: 1 }),
    ),
    ...[34, 35, 36, 41, 42, 10].map((code) =>
      encodeCommand(
        requestHeader({ code, opaque: 1, fields: fields({ group: 'G', topic: 'fuzzed' }) }),
        Buffer.from('{"clientID":"c","consumerDataSet":[{"groupName":"G"}]}'),
      ),
    ),
  ],
  randomFrame: (random) => framed(random.bytes(random.int(60)), random.int(3)),
  overLimit: [
    { what: 'a frame of 2 GiB', bytes: Buffer.from('7fffffff00000010', 'hex'), says: '' },
    { what: 'a negative length', bytes: Buffer.from('ffffffff00000010', 'hex'), says: '' },
  ],
  greedy: (topic, count) =>
    Buffer.concat(Array.from({ length: count }, (_, offset) => pullFrame(topic, offset))),
  acknowledges: () => false,
}

class NativeClient implements Client {
  readonly ended: Promise<string>
  readonly #connection: RemotingConnection
  readonly #t: ExecutionContext

  constructor(connection: RemotingConnection, t: ExecutionContext) {
    this.#connection = connection
    this.#t = t
    this.ended = connection.closed.then(() => 'no word')
  }

  async send(topic: string, body: Buffer | string, labels: Labels = {}): Promise<Verdict> {
    const { tag, key, properties } = labels
    const all = { ...properties, ...(tag && { TAGS: tag }), ...(key && { KEYS: key }) }
    try {
      const sent = { topic, body: Buffer.from(body), properties: all }
      return (await send(this.#connection, sent)).code === 0 ? 'accepted' : 'refused'
    } catch {
      return 'unanswered'
    }
  }

  async reader(topic: string, group: string): Promise<Reader> {
    const retry = `%RETRY%${group}`
    const connection = this.#connection
    const topics = { [topic]: '*', [retry]: '*' }
    await done(heartbeat(connection, `client of ${this.#t.title}`, [{ group, topics }]))
    const sources = [
      await NativeSource.open(connection, topic, group),
      await NativeSource.open(connection, retry, group),
    ]
    return { take: () => takeFrom(sources) }
  }

  async ping(): Promise<void> {
    await done(this.#connection.request(IDENTITY))
  }

  async leave(): Promise<void> {
    await this.#connection.close()
  }

  cut(): void {
    void this.#connection.close()
  }
}

/** @throws the refusal */
async function done(answer: ReturnType<RemotingConnection['request']>): ReturnType<typeof pull> {
  const { code, remark } = await answer
  if (code !== 0) throw new Error(`refused with ${code}: ${remark}`)
  return answer
}

async function takeFrom(sources: readonly NativeSource[]): Promise<Delivery> {
  for (;;) {
    for (const source of sources) {
      const found = source.next()
      if (found !== undefined) return found
    }
    await Promise.race(sources.map((source) => source.fill()))
  }
}

interface Consumed {
  readonly topic: string
  readonly group: string
}

/** The first queue of a topic, read by offset. */
class NativeSource {
  readonly #connection: RemotingConnection
  readonly #of: Consumed
  #offset: number
  #read: WireMessage[] = []
  #pending: Promise<void> | undefined

  static async open(
    connection: RemotingConnection,
    topic: string,
    group: string,
  ): Promise<NativeSource> {
    const asked = fields({ consumerGroup: group, topic, queueId: 0 })
    const {
      code,
      remark,
      fields: answer,
    } = await connection.request(QUERY_OFFSET, {
      fields: asked,
    })
    if (code !== 0 && code !== NOT_FOUND) throw new Error(`refused with ${code}: ${remark}`)
    const source = new NativeSource(connection, { topic, group }, Number(answer.get('offset') ?? 0))
    await source.#pull(4)
    return source
  }

  constructor(connection: RemotingConnection, of: Consumed, offset: number) {
    this.#connection = connection
    this.#of = of
    this.#offset = offset
  }

  next(): Delivery | undefined {
    const message = this.#read.shift()
    return message && this.#delivery(message)
  }

  /** Settles when something has come. */
  fill(): Promise<void> {
    if (this.#pending === undefined) {
      this.#pending = this.#pull(HOLD_WITH_SUBSCRIPTION).finally(() => {
        this.#pending = undefined
      })
      // Not every one is waited for.
      this.#pending.catch(() => {})
    }
    return this.#pending
  }

  async #pull(sysFlag: number): Promise<void> {
    const answer = await pull(this.#connection, { ...this.#of, offset: this.#offset, sysFlag })
    const { code, remark, body } = answer
    if (code === 0) this.#read.push(...decodeMessages(body))
    else if (code < NOTHING_NEW || code > 21) throw new Error(`refused with ${code}: ${remark}`)
    this.#offset = Number(answer.fields.get('nextBeginOffset') ?? this.#offset)
  }

  #delivery(message: WireMessage): Delivery {
    const { properties, body } = message
    const { topic, group } = this.#of
    const tag = properties.get('TAGS')
    const key = properties.get('KEYS')
    const accept = async (): Promise<void> => {
      const commitOffset = message.queueOffset + 1
      const values = fields({ consumerGroup: group, topic, queueId: 0, commitOffset })
      await done(this.#connection.request(COMMIT_OFFSET, { fields: values }))
    }
    const sendBack = async (delayLevel: number): Promise<void> => {
      const origin = { originMsgId: message.messageId, originTopic: topic }
      const values = fields({ offset: message.position, group, delayLevel, ...origin })
      await done(this.#connection.request(SEND_BACK, { fields: values }))
      await accept()
    }
    return {
      body,
      labels: {
        ...(tag && { tag }),
        ...(key && { key }),
        properties: Object.fromEntries(properties),
      },
      accept,
      retry: () => sendBack(0),
      reject: () => sendBack(-1),
    }
  }
}
