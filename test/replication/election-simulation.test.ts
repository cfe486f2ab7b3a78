// Elections through everything that goes wrong, in virtual time. A failing seed is printed; run it
// alone with TRIVET_SEED=<seed>, or more of them with TRIVET_SEEDS=<count>.
import test from 'ava'
import { ElectionSimulation } from '../support/simulation/election-simulation.ts'

const chosenSeed = process.env['TRIVET_SEED']
const SEEDS = Number(process.env['TRIVET_SEEDS'] ?? 60)
const SECONDS = 5

test('what is acknowledged is in the log of every master to come, and no two acknowledge at once', async (t) => {
  const first = chosenSeed === undefined ? Math.floor(Math.random() * 2 ** 30) : Number(chosenSeed)
  const count = chosenSeed === undefined ? SEEDS : 1
  t.log(`seeds ${first} to ${first + count - 1}`)
  const sums = { acknowledged: 0, elections: 0, cuts: 0, crashes: 0, fresh: 0, gaveWay: 0 }
  for (let seed = first; seed < first + count; seed++) {
    const simulation = new ElectionSimulation(seed)
    try {
      await simulation.run(SECONDS)
    } catch (error) {
      throw new Error(`TRIVET_SEED=${seed}: ${String(error)}`, { cause: error })
    }
    for (const of of [
      'acknowledged',
      'elections',
      'cuts',
      'crashes',
      'fresh',
      'gaveWay',
    ] as const) {
      sums[of] += simulation.sums[of]
    }
  }
  const { acknowledged, elections, cuts, crashes, fresh, gaveWay } = sums
  t.log(`${acknowledged} acknowledged, ${elections} elections, ${cuts} cuts`)
  t.log(
    `${crashes} crashes, ${fresh} copies begun anew, ${gaveWay} masters gave way with a failed disk`,
  )
  t.true(chosenSeed !== undefined || elections > SEEDS)
})
