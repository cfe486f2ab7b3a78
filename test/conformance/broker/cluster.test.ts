// The Broker port over a cluster of two of our own brokers.
import test from 'ava'
import { type ClusterBroker, openClusterBroker } from '../../../src/cluster/broker.ts'
import { RunningClock } from '../../support/running-clock.ts'
import { startServer } from '../../support/server.ts'
import { brokerSuite, CLUSTER_DIFFERENCES } from '../broker.ts'

let broker: ClusterBroker
const clock = new RunningClock()
const endings: (() => unknown)[] = []

test.before(async () => {
  // A hook has no teardown of its own.
  const t = { teardown: (end: () => unknown) => void endings.unshift(end) }
  t.teardown(clock.run())
  const first = await startServer(t, { clock })
  const nameServers = [first.address('nameServer')]
  const other = { name: 'broker-b', nameServers }
  await startServer(t, { clock, role: 'broker', config: { broker: other } })
  broker = await openClusterBroker({ clock, name: 'gateway', options: { nameServers } })
  t.teardown(() => broker.close())
})
test.after.always(async () => {
  for (const end of endings) await end()
})

brokerSuite(
  () => ({ port: broker, pass: (ms) => clock.pass(ms), now: () => clock.now() }),
  CLUSTER_DIFFERENCES,
)
