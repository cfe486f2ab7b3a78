// The Broker port over the embedded broker.
import test from 'ava'
import { type EmbeddedTest, startEmbedded } from './broker/embedded.ts'
import { brokerSuite } from './broker.ts'

let embedded: EmbeddedTest
const endings: (() => unknown)[] = []

test.before(async () => {
  // A hook has no teardown of its own.
  embedded = await startEmbedded({ teardown: (end: () => unknown) => void endings.unshift(end) })
})
test.after.always(async () => {
  for (const end of endings) await end()
})

brokerSuite(() => ({ port: embedded.broker, pass: embedded.pass, now: () => embedded.clock.now() }))
