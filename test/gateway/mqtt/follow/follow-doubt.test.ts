// Answers about a followed queue that may not be believed at once: a broker that has just begun,
// and one whose answer was overtaken by news.
import test, { type ExecutionContext } from 'ava'
import type { PullRequest } from '../../../../src/model/message.ts'
import { queueOffset } from '../../../../src/model/positions.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import { topicOf } from '../../../support/broker.ts'
import { FollowingClient, inRooms } from '../../../support/mqtt/following-client.ts'
import { openGateway, startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import { withoutLightQueues } from '../../../support/mqtt/without-light-queues.ts'
import { overridden } from '../../../support/overridden.ts'
import { eventually } from '../../../support/waiting.ts'

const NOTHING = queueOffset(0)

/** A broker that may say that its queues are empty. */
class YoungBroker {
  readonly port: Broker
  isYoung = false
  /** Answers that it gave so. */
  denied = 0

  constructor(broker: Broker) {
    const empty = { minOffset: NOTHING, maxOffset: NOTHING }
    this.port = overridden(withoutLightQueues(broker), {
      pull: async (request) => {
        const result = await broker.pull(request)
        if (!this.#denies(request)) return result
        return {
          ...{ ...result, ...empty, status: 'moved', nextOffset: NOTHING },
          ...{ records: Buffer.alloc(0), count: 0, offsets: [] },
        }
      },
      cursors: overridden(broker.cursors, {
        range: async (queue) => {
          const range = await broker.cursors.range(queue)
          return this.#denies(queue) ? { ...range, ...empty } : range
        },
      }),
    })
  }

  #denies({ topic }: Pick<PullRequest, 'topic'>): boolean {
    if (!this.isYoung || topic !== 'rooms') return false
    this.denied++
    return true
  }
}

async function start(t: ExecutionContext) {
  const first = await startMqttOver(t, { bend: withoutLightQueues })
  const { broker } = first
  await broker.topics.put(topicOf('rooms', 1))
  const young = new YoungBroker(broker)
  const second = await openGateway(t, young.port)
  const { client, publish } = await inRooms(t, first.port)
  return { first, second, broker, young, client, publish }
}

const textsOf = ({ taken }: FollowingClient): string[] => taken.map(({ text }) => text)

test('a broker that denies for a while what a session missed costs it no message', async (t) => {
  const { first, second, young, client, publish } = await start(t)
  await client.connect(first.port)
  await client.subscribe('rooms/+')
  client.leave()
  await publish('m0', 'm1', 'm2')
  // The gateway is at the end of the queue before the broker is asked for what is in it.
  const other = new FollowingClient('other')
  t.teardown(() => other.cut())
  await other.connect(second.port)
  await other.subscribe('rooms/+')
  young.isYoung = true
  await client.connect(second.port)
  await eventually(async () => young.denied > 3)
  t.deepEqual(client.taken, [])
  young.isYoung = false
  await eventually(async () => client.missing.length === 0)
  t.deepEqual(textsOf(client), ['m0', 'm1', 'm2'])
})

test('a broker that denies for a while what was sent has it sent once', async (t) => {
  const { second, broker, young, client, publish } = await start(t)
  await client.connect(second.port)
  await client.subscribe('rooms/+')
  await publish('m0', 'm1')
  await eventually(async () => client.missing.length === 0)
  young.isYoung = true
  // Its definition is another one, so that the gateway looks which topic it is.
  await broker.topics.put(topicOf('rooms', 2))
  await eventually(async () => young.denied > 3)
  young.isYoung = false
  await publish('m2')
  await eventually(async () => client.missing.length === 0)
  t.deepEqual(textsOf(client), ['m0', 'm1', 'm2'])
})

test('news that overtakes the answer to a read is not forgotten', async (t) => {
  let letGo = (): void => {}
  let held: Promise<void> | undefined
  let holding = 0
  const bend = (broker: Broker): Broker =>
    overridden(withoutLightQueues(broker), {
      pull: async (request) => {
        const result = await broker.pull(request)
        if (request.topic !== 'rooms' || held === undefined) return result
        holding++
        await held
        return result
      },
    })
  const { port, broker } = await startMqttOver(t, { bend })
  await broker.topics.put(topicOf('rooms', 1))
  const { client, publish } = await inRooms(t, port)
  await client.connect(port)
  await client.subscribe('rooms/+')
  held = new Promise((resolve) => {
    letGo = resolve
  })
  await publish('m0')
  await eventually(async () => holding === 1)
  await publish('m1')
  held = undefined
  letGo()
  await eventually(async () => client.missing.length === 0)
  t.deepEqual(textsOf(client), ['m0', 'm1'])
})
