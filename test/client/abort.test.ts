import test from 'ava'
import { REQUEST } from '../../src/remoting/codes.ts'
import { G, pair, sharesOf, until } from './pairing.ts'

test('a member that begins many queues at once, and its handlers, are no leak to Node', async (t) => {
  const warnings: Error[] = []
  const warned = (warning: Error): void => void warnings.push(warning)
  process.on('warning', warned)
  t.teardown(() => process.off('warning', warned))
  const { fake, mq, statuses } = await pair(t, {}, { queues: 16 })
  // All queues begin at the same time: the first answer waits for the last question.
  fake.intercept(REQUEST.queryConsumerOffset, async () => {
    await until(() => fake.count(REQUEST.queryConsumerOffset) >= 16)
    return undefined
  })
  let running = 0
  await mq.consume({ ...G, concurrency: 16 }, async (_, { signal }) => {
    running++
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
  })
  for (let queueId = 0; queueId < 16; queueId++) fake.store('T', queueId, 'x')
  await until(() => running === 16)
  await mq.close({ deadlineMs: 0 })
  t.deepEqual(sharesOf(statuses), [16])
  t.deepEqual(warnings, [])
})
