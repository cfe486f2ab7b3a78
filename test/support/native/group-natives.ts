// Natives of one group that do what unmodified clients do: they ask for the list of members, divide
// the queues by it, drop what they lose and go on with what they gain. And consumers per message.
import { STRATEGIES, type Strategy } from '../../../src/broker/consume/queue-share.ts'
import type { ClientRegistration, GroupMode } from '../../../src/model/client.ts'
import { type QueueOffset, queueOffset } from '../../../src/model/positions.ts'
import { recordsOf } from '../../../src/model/record.ts'
import { EVERY_TAG } from '../../../src/model/tag-filter.ts'
import {
  newMessage,
  pullRequest,
  queueOf,
  receiveRequest,
  startBroker,
  type TestBroker,
  topicOf,
} from '../broker.ts'
import type { Teardown } from '../temp-dir.ts'

export const GROUP = 'billing'
export const TOPIC = 'orders'
export const RETRY = `%RETRY%${GROUP}`
export const [AVERAGELY, BY_CIRCLE] = STRATEGIES as readonly [Strategy, Strategy]

export const client = (
  clientId: string,
  mode: GroupMode,
  topics: readonly string[] = [TOPIC],
  consumeFrom = 'CONSUME_FROM_FIRST_OFFSET',
): ClientRegistration => ({
  clientId,
  connectionId: `connection of ${clientId}`,
  protocol: 'remoting',
  address: '127.0.0.1:1',
  language: 'JAVA',
  version: 1,
  producerGroups: [],
  consumers: [
    {
      group: GROUP,
      model: 'clustering',
      mode,
      subscriptions: topics.map((topic) => ({ topic, filter: EVERY_TAG, version: 1 })),
      consumeType: 'CONSUME_PASSIVELY',
      consumeFrom,
    },
  ],
})

export async function start(t: Teardown, queues = 4): Promise<TestBroker> {
  const test = await startBroker(t)
  await test.broker.topics.put(topicOf(TOPIC, queues))
  return test
}

/** So many messages on each queue, 'queue/number'. */
export async function send(
  { broker }: TestBroker,
  queues: number,
  count = 1,
  from = 0,
): Promise<void> {
  const messages = Array.from({ length: queues * count }, (_, i) => {
    const queueId = i % queues
    return newMessage(TOPIC, { queueId, body: `${queueId}/${from + Math.floor(i / queues)}` })
  })
  await broker.publish(messages)
}

/** Lets so much time pass, and what it wakes happen. */
export async function pass({ clock }: TestBroker, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 250) {
    clock.advance(Math.min(250, left))
    await new Promise((resolve) => setImmediate(resolve))
  }
}

export class Native {
  readonly id: string
  readonly got: string[] = []
  readonly #test: TestBroker
  readonly #strategy: Strategy
  readonly #offsets = new Map<number, QueueOffset>()
  readonly #leave = new AbortController()

  constructor(test: TestBroker, id: string, strategy: Strategy = AVERAGELY) {
    this.#test = test
    this.id = id
    this.#strategy = strategy
  }

  get queues(): number[] {
    return [...this.#offsets.keys()].sort((a, b) => a - b)
  }

  async join(): Promise<this> {
    await this.#test.broker.clients.register(client(this.id, 'queue-assigned', [TOPIC, RETRY]))
    return this
  }

  async leave(): Promise<void> {
    this.#leave.abort()
    await this.commit()
    await this.#test.broker.clients.unregister(`connection of ${this.id}`)
  }

  async rebalance(): Promise<void> {
    const { clients, cursors, topics } = this.#test.broker
    const ids = await clients.consumerIds(GROUP, this.id)
    const { readQueues } = (await topics.get(TOPIC))!
    for (let queueId = 0; queueId < readQueues; queueId++) {
      const isMine = this.#strategy(queueId, readQueues, ids.indexOf(this.id), ids.length)
      const offset = this.#offsets.get(queueId)
      if (offset !== undefined && !isMine) {
        this.#offsets.delete(queueId)
        await cursors.commit(GROUP, queueOf(TOPIC, queueId), offset, this.id)
      } else if (offset === undefined && isMine) {
        const from = (await cursors.committed(GROUP, queueOf(TOPIC, queueId))) ?? queueOffset(0)
        this.#offsets.set(queueId, from)
      }
    }
  }

  /** One pull of each of its queues, which waits when nothing is there. */
  async pull(waitMs = 0): Promise<string[]> {
    const got: string[] = []
    for (const [queueId, offset] of [...this.#offsets]) {
      const request = { ...this.#request(queueId, offset), waitMs }
      const result = await this.#test.broker.pull(request)
      for (const record of recordsOf(result.records)) got.push(record.body.toString())
      this.#offsets.set(queueId, result.nextOffset)
    }
    this.got.push(...got)
    return got
  }

  /** A pull that waits: how clients are most of the time. */
  hold(queueId: number): Promise<unknown> {
    return this.#test.broker.pull({
      ...this.#request(queueId, this.#offsets.get(queueId) ?? queueOffset(0)),
      waitMs: 15_000,
      signal: this.#leave.signal,
    })
  }

  async commit(): Promise<void> {
    for (const [queueId, offset] of this.#offsets) {
      await this.#test.broker.cursors.commit(GROUP, queueOf(TOPIC, queueId), offset, this.id)
    }
  }

  #request(queueId: number, offset: QueueOffset) {
    return { ...pullRequest(TOPIC, { queueId, offset, group: GROUP }), member: this.id }
  }
}

/** A consumer per message, registered. */
export const device = ({ broker }: TestBroker, id = 'device') =>
  broker.clients.register(client(id, 'per-message'))

export const receive = ({ broker }: TestBroker, shape: object = {}) =>
  broker.receive(receiveRequest(TOPIC, GROUP, shape))

/** Natives ask for the list and pull all the time while the broker waits for what they leave. */
export async function settle(test: TestBroker, ...natives: readonly Native[]): Promise<void> {
  for (const native of natives) await native.rebalance()
  for (let i = 0; i < 10; i++) {
    for (const native of natives) await native.pull()
    await pass(test, 500)
  }
}
