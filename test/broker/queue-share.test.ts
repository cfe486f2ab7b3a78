import test from 'ava'
import { QueueShare } from '../../src/broker/consume/queue-share.ts'
import type { ConsumerRegistration } from '../../src/model/client.ts'
import { EVERY_TAG } from '../../src/model/tag-filter.ts'
import { FakeClock } from '../support/fake-clock.ts'

const TOPIC = 'orders'

const consumer: ConsumerRegistration = {
  group: 'billing',
  model: 'clustering',
  mode: 'queue-assigned',
  subscriptions: [{ topic: TOPIC, filter: EVERY_TAG, version: 1 }],
  consumeType: 'CONSUME_PASSIVELY',
  consumeFrom: 'CONSUME_FROM_FIRST_OFFSET',
}

test('a look for left queues asks each queue of a large group first of the member that has it', (t) => {
  const clock = new FakeClock()
  const count = 300
  let asked = 0
  const share = new QueueShare({
    ...{ clock, brokerName: 'broker-a', isLocked: () => false, isOpen: () => false },
    ...{ letGo() {}, endPulls() {}, lockAgain() {}, committed: () => undefined },
    readQueues: () => {
      asked++
      return count
    },
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
