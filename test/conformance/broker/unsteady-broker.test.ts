import test from 'ava'
import { BrokerError, ERROR_CODES } from '../../../src/errors.ts'
import {
  bodiesOf,
  newMessage,
  pullRequest,
  startBroker,
  stateIds,
  topicOf,
} from '../../support/broker.ts'
import { freshSeed } from '../../support/random.ts'
import { oneIn, UnsteadyBroker } from './unsteady-broker.ts'

test('publishes reach the broker in call order while their answers overtake', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('T', 1))
  const unsteady = new UnsteadyBroker(broker, { seed: freshSeed(t) })
  const answered: number[] = []
  const reused = Buffer.alloc(2)
  await Promise.all(
    Array.from({ length: 50 }, async (_, n) => {
      reused.write(String(n).padStart(2, '0'))
      const message = { ...newMessage('T'), body: reused }
      await unsteady.port.publish([message])
      answered.push(n)
    }),
  )
  const stored = bodiesOf(await broker.pull(pullRequest('T', { maxMessages: 50 }))).map(Number)
  t.deepEqual(
    stored,
    Array.from({ length: 50 }, (_, n) => n),
  )
  t.notDeepEqual(answered, stored)
})

test('a call fails with every code, whether it reached the broker or not', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('T', 1))
  const unsteady = new UnsteadyBroker(broker, { seed: freshSeed(t), fate: oneIn(2) })
  let accepted = 0
  while (unsteady.failures.size < ERROR_CODES.length) {
    const publish = unsteady.port.publish([newMessage('T')])
    await publish.then(
      () => accepted++,
      (error: unknown) => t.true(error instanceof BrokerError),
    )
  }
  const [range] = await broker.topics.ranges('T')
  const failures = [...unsteady.failures.values()].reduce((sum, count) => sum + count, 0)
  t.true(range!.maxOffset > accepted)
  t.true(range!.maxOffset < accepted + failures)
})

test('a message that is refused takes its change of state with it', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('T', 1))
  const unsteady = new UnsteadyBroker(broker, {
    seed: freshSeed(t),
    refuses: ({ body }) => (Buffer.from(body).toString() === 'bad' ? 'BUSY' : undefined),
  })
  const messages = ['a', 'bad', 'c'].map((body) => newMessage('T', { body }))
  const results = await unsteady.port.publish(
    messages,
    messages.map((_, message) => ({ id: `s/${message}`, state: Buffer.from('1'), message })),
  )
  t.is((results[1] as BrokerError).code, 'BUSY')
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('T'))), ['a', 'c'])
  t.deepEqual(await stateIds(broker, 's/'), ['s/0', 's/2'])
})

test('an answer that is held comes when the test lets it go', async (t) => {
  const { broker } = await startBroker(t)
  const unsteady = new UnsteadyBroker(broker, { seed: freshSeed(t) })
  const letGo = unsteady.hold('topics.put')
  let isAnswered = false
  const put = unsteady.port.topics.put(topicOf('T', 1)).then(() => {
    isAnswered = true
  })
  while ((await broker.topics.get('T')) === undefined) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.false(isAnswered)
  letGo()
  await put
})
