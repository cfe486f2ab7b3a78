// The messages of all queues of a topic as one list.
import test from 'ava'
import { systemClock } from '../../../src/clock.ts'
import { readTopic } from '../../../src/gateway/http/api/reading.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { newMessage, startBroker } from '../../support/broker.ts'

for (const [what, fromMs, wanted] of [
  ['the newest first', undefined, ['d', 'c', 'b']],
  ['from a time on', 0, ['a', 'b', 'c']],
] as const) {
  test(`messages are shown queue by queue, and told ${what}`, async (t) => {
    const { broker } = await startBroker(t)
    for (const [body, queueId] of [
      ['a', 0],
      ['b', 1],
      ['c', 0],
      ['d', 1],
    ] as const) {
      await broker.publish([newMessage('orders', { body, queueId })])
    }
    const steps: string[] = []
    const watched = {
      topics: broker.topics,
      cursors: broker.cursors,
      pull: (request: Parameters<Broker['pull']>[0]) => {
        steps.push(`pull ${request.queueId}`)
        return broker.pull(request)
      },
    } as unknown as Broker
    const told = await readTopic(
      { broker: watched, clock: systemClock },
      'orders',
      { max: 3, fromMs },
      (message) => {
        steps.push(`show ${message.queueId}`)
        return message.text()
      },
      new AbortController().signal,
    )
    t.deepEqual(told, wanted)
    t.deepEqual(steps.slice(0, 3), ['pull 0', 'show 0', 'show 0'])
    t.is(steps[3], 'pull 1')
  })
}
