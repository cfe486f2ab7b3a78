// What the listeners of one process share.
import test from 'ava'
import { systemClock } from '../src/clock.ts'
import { configOf } from '../src/config.ts'
import { firstListener, openListeners } from '../src/listeners.ts'
import { silentLogger } from '../src/log.ts'
import { Numbers } from '../src/numbers/numbers.ts'
import { Parts } from '../src/parts.ts'
import { freePort } from './support/server.ts'

test('what brings bulk work takes its turns together, and the name server waits for none of it', async (t) => {
  const parts = new Parts(silentLogger)
  t.teardown(() => parts.close())
  const free = { port: 0 }
  const remoting = { port: await freePort() }
  const config = configOf({ remoting, nameServer: free, mqtt: free, amqp: free })
  const numbers = new Numbers()
  const listeners = await openListeners('start', config, silentLogger, systemClock, parts, numbers)
  const { turn } = firstListener(listeners, 'remoting')!.options
  t.truthy(turn)
  t.is(firstListener(listeners, 'mqtt')?.options.turn, turn)
  t.is(firstListener(listeners, 'amqp')?.options.turn, turn)
  t.not(firstListener(listeners, 'nameServer')?.options.turn, turn)
})
