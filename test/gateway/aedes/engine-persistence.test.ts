// What aedes is given of the wills that another process left behind.
import test from 'ava'
import { PortPersistence } from '../../../src/aedes/persistence.ts'
import { BrokerError } from '../../../src/errors.ts'
import { EnginePersistence } from '../../../src/gateway/aedes/engine-persistence.ts'
import { silentLogger } from '../../../src/log.ts'
import { lendBroker } from '../../../src/port/lent-brokers.ts'
import { startBroker } from '../../support/broker.ts'

test('a will that is refused is removed, and those behind it go out', async (t) => {
  const { broker } = await startBroker(t)
  const server = {}
  lendBroker(server, () => broker)
  const gone = new PortPersistence({ server })
  await gone.setup({ id: 'gone' })
  const names = Array.from({ length: 40 }, (_, i) => `${i % 3 === 0 ? 'refused' : 'allowed'}-${i}`)
  for (const id of names) await gone.putWill({ id }, { topic: id, payload: Buffer.from('x') })
  const rules = {
    refusalOf: ({ topic }: { readonly topic: string }) =>
      topic.startsWith('refused') ? new BrokerError('PERMISSION_DENIED', 'not granted') : null,
    log: silentLogger,
  }
  const here = new EnginePersistence({ server }, rules)
  await here.setup({ id: 'here' })
  t.teardown(() => Promise.all([gone.destroy(), here.destroy()]))
  const given: string[] = []
  for await (const { topic } of here.streamWill()) given.push(topic)
  const allowed = names.filter((name) => name.startsWith('allowed'))
  t.deepEqual(new Set(given), new Set(allowed))
  const kept: string[] = []
  for await (const { topic } of gone.streamWill()) kept.push(topic)
  t.deepEqual(new Set(kept), new Set(allowed))
})
