// A broker that cannot be read for a subscriber of aedes.
import test from 'ava'
import { createPersistence } from '../../src/aedes/index.ts'
import { BrokerError } from '../../src/errors.ts'
import { lendBroker } from '../../src/port/lent-brokers.ts'
import { startBroker } from '../support/broker.ts'
import { overridden } from '../support/overridden.ts'

test('a retained message that cannot be read ends the stream, and not the process', async (t) => {
  const { broker } = await startBroker(t)
  const server = {}
  const load = () => Promise.reject(new BrokerError('TIMED_OUT', 'late'))
  const bent = overridden(broker, { states: overridden(broker.states, { load }) })
  lendBroker(server, () => bent)
  const codes: string[] = []
  const persistence = createPersistence({ server, onError: ({ code }) => codes.push(code) })
  await persistence.setup({ id: 'one' })
  t.deepEqual(await persistence.createRetainedStream('a/b').toArray(), [])
  t.deepEqual(codes, ['TIMED_OUT'])
  await persistence.destroy()
})
