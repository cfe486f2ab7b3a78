// The embedded broker in a directory of its own, as the suite needs it.
import { drain, startBroker, type TestBroker } from '../../support/broker.ts'
import type { Teardown } from '../../support/temp-dir.ts'

/** More than a call or an answer takes on its way through `UnsteadyBroker`. */
const TURNS = 20

export interface EmbeddedTest extends TestBroker {
  pass(ms: number): Promise<void>
}

export async function startEmbedded(t: Teardown): Promise<EmbeddedTest> {
  const test = await startBroker(t)
  const pass = async (ms: number): Promise<void> => {
    await someTurns()
    test.clock.advance(ms)
    await drain(test)
    await someTurns()
  }
  return { ...test, pass }
}

async function someTurns(): Promise<void> {
  for (let left = TURNS; left > 0; left--) await new Promise((resolve) => setImmediate(resolve))
}
