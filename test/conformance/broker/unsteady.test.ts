// The Broker port as over a bad network: late, reordered, and failing where a test says so.
import test from 'ava'
import { freshSeed } from '../../support/random.ts'
import { brokerSuite } from '../broker.ts'
import { type EmbeddedTest, startEmbedded } from './embedded.ts'
import { oneIn, UnsteadyBroker } from './unsteady-broker.ts'

let embedded: EmbeddedTest
let unsteady: UnsteadyBroker
const endings: (() => unknown)[] = []

test.before(async (t) => {
  // A hook has no teardown of its own.
  embedded = await startEmbedded({ teardown: (end: () => unknown) => void endings.unshift(end) })
  unsteady = new UnsteadyBroker(embedded.broker, { seed: freshSeed(t) })
})
test.after.always(async () => {
  for (const end of endings) await end()
})

brokerSuite(() => ({
  port: unsteady.port,
  pass: embedded.pass,
  now: () => embedded.clock.now(),
  fail: () => {
    const steady = unsteady.fate
    unsteady.fate = oneIn(4)
    return () => {
      unsteady.fate = steady
    }
  },
}))
