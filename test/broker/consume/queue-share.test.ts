import test from 'ava'
import { QueueShare } from '../../../src/broker/consume/queue-share.ts'
import type { ConsumerRegistration } from '../../../src/model/client.ts'
import type { PullResult } from '../../../src/model/message.ts'
import { EVERY_TAG } from '../../../src/model/tag-filter.ts'
import { pullRequest } from '../../support/broker.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const TOPIC = 'orders'
const HERE = { others: [], elsewhere: 0, before: 0 }

const consumer: ConsumerRegistration = {
  group: 'billing',
  model: 'clustering',
  mode: 'queue-assigned',
  subscriptions: [{ topic: TOPIC, filter: EVERY_TAG, version: 1 }],
  consumeType: 'CONSUME_PASSIVELY',
  consumeFrom: 'CONSUME_FROM_FIRST_OFFSET',
}

const shareOf = (clock: FakeClock, readQueues: () => number): QueueShare =>
  new QueueShare({
    ...{ clock, spread: () => HERE, isLocked: () => false, isOpen: () => false },
    ...{ letGo() {}, endPulls() {}, lockAgain() {}, committed: () => undefined },
    readQueues,
  })

test('a look for left queues asks each queue of a large group first of the member that has it', (t) => {
  const clock = new FakeClock()
  const count = 300
  let asked = 0
  const share = shareOf(clock, () => {
    asked++
    return count
  })
  const natives = Array.from({ length: count - 1 }, (_, i) => `10.0.0.1@${1000 + i}`)
  const members = natives.map((clientId) => ({ clientId, consumer }))
  share.setMembers(members, 1, new Set([TOPIC]))
  for (const clientId of natives) share.told(clientId)
  clock.advance(1000)
  share.tick()
  clock.advance(8000)
  // The first queue is the virtual member's.
  for (const [i, clientId] of natives.entries()) {
    share.touch(clientId, { topic: TOPIC, queueId: i + 1 })
  }
  asked = 0
  const queues = Array.from({ length: count }, (_, queueId) => ({ topic: TOPIC, queueId }))
  t.deepEqual(
    queues.filter((queue) => share.mayTake(queue)),
    [{ topic: TOPIC, queueId: 0 }],
  )
  t.true(asked < 10 * count, `${asked} times`)
})

test('of two natives that wait for a queue of a third one gets it', async (t) => {
  const clock = new FakeClock()
  const share = shareOf(clock, () => 4)
  const join = (...natives: string[]): void => {
    const members = natives.map((clientId) => ({ clientId, consumer }))
    share.setMembers(members, 1, new Set([TOPIC]))
  }
  const served: string[] = []
  const pull = (clientId: string): Promise<unknown> => {
    const answer = (served: boolean) => ({ served }) as unknown as PullResult
    const serve = async () => {
      served.push(clientId)
      return answer(true)
    }
    const request = pullRequest(TOPIC, { queueId: 0, group: 'billing', waitMs: 1000 })
    return share.pull(clientId, request, serve, () => answer(false))
  }
  join('a', 'b', 'c')
  await pull('a')
  const pulls = [pull('b'), pull('c')]
  await new Promise((resolve) => setImmediate(resolve))
  join('b', 'c')
  clock.advance(1000)
  await Promise.all(pulls)
  t.deepEqual(served, ['a', 'b'])
})
