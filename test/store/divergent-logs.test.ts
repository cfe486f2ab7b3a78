// Copies of a log that part, and are one again. A failing seed is printed; run it alone with
// TRIVET_SEED=<seed>, or more of them with TRIVET_SEEDS=<count>.
import test from 'ava'
import { DivergentLogs } from '../support/simulation/divergent-logs.ts'

const chosenSeed = process.env['TRIVET_SEED']
const SEEDS = Number(process.env['TRIVET_SEEDS'] ?? 60)
const STEPS = 90

test('a copy is cut where its log parts from the master, and loses nothing acknowledged', async (t) => {
  const first = chosenSeed === undefined ? Math.floor(Math.random() * 2 ** 30) : Number(chosenSeed)
  const count = chosenSeed === undefined ? SEEDS : 1
  t.log(`seeds ${first} to ${first + count - 1}`)
  const sums = { cuts: 0, crashes: 0, takeovers: 0, fresh: 0 }
  for (let seed = first; seed < first + count; seed++) {
    const logs = new DivergentLogs(seed)
    try {
      await logs.run(STEPS)
    } catch (error) {
      throw new Error(`TRIVET_SEED=${seed}: ${String(error)}`, { cause: error })
    }
    for (const of of ['cuts', 'crashes', 'takeovers', 'fresh'] as const) sums[of] += logs[of]
  }
  const { cuts, crashes, takeovers, fresh } = sums
  t.log(`${cuts} cuts, ${crashes} crashes, ${takeovers} takeovers, ${fresh} copies begun anew`)
  t.true(chosenSeed !== undefined || cuts > 0)
})
