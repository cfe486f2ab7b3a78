// Groups of a cluster that grows.
import test from 'ava'
import { openClusterBroker } from '../../src/cluster/broker.ts'
import { RunningClock } from '../support/running-clock.ts'
import { startServer } from '../support/server.ts'

test('a group that is older than a master is made on it too, with its retry topic', async (t) => {
  const clock = new RunningClock()
  t.teardown(clock.run())
  const first = await startServer(t, { clock })
  const nameServers = [first.address('nameServer')]
  const opened = async () => {
    const broker = await openClusterBroker({ clock, name: 'gateway', options: { nameServers } })
    t.teardown(() => broker.close())
    return broker
  }
  await (await opened()).groups.ensure('workers')
  const other = { name: 'broker-b', nameServers }
  await startServer(t, { clock, role: 'broker', config: { broker: other } })
  const { groups, topics } = await opened()
  await groups.ensure('workers')
  const names = (await topics.ranges('%RETRY%workers')).map(({ brokerName }) => brokerName)
  t.deepEqual(names, ['broker-a', 'broker-b'])
})
