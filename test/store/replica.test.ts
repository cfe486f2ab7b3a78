// A store that follows another one through kills of either side. A failing seed is printed; run it
// alone with TRIVET_SEED=<seed>, or more of them with TRIVET_SEEDS=<count>.
import test, { type ExecutionContext } from 'ava'
import { ReplicaSimulation } from '../support/simulation/replica-simulation.ts'
import type { StoreSimulationOptions } from '../support/simulation/store-simulation.ts'

const chosenSeed = process.env['TRIVET_SEED']
const chosenCount = process.env['TRIVET_SEEDS']
const LIVES = 3
const ROUNDS = 14

async function follow(options: StoreSimulationOptions): Promise<ReplicaSimulation> {
  const simulation = new ReplicaSimulation(options)
  await simulation.open()
  for (let life = 0; life < LIVES; life++) {
    await simulation.live(ROUNDS)
    await simulation.compare()
    if (life === 0) await simulation.failOver()
    else if (life < LIVES - 1) await simulation.failOverAtOnce(ROUNDS)
  }
  await simulation.close()
  return simulation
}

async function followApart(options: StoreSimulationOptions): Promise<ReplicaSimulation> {
  const simulation = new ReplicaSimulation(options)
  await simulation.open()
  for (let life = 0; life < LIVES; life++) {
    await simulation.live(ROUNDS / 2)
    await simulation.failOverApart(ROUNDS)
  }
  await simulation.live(ROUNDS / 2)
  await simulation.compare()
  await simulation.close()
  return simulation
}

async function followMany(
  t: ExecutionContext,
  seeds: number,
  options: Omit<StoreSimulationOptions, 'seed'>,
  run = follow,
): Promise<void> {
  const first = chosenSeed === undefined ? Math.floor(Math.random() * 2 ** 30) : Number(chosenSeed)
  const count = chosenSeed === undefined ? Number(chosenCount ?? seeds) : 1
  t.log(`seeds ${first} to ${first + count - 1}`)
  const sums = { crashes: 0, fresh: 0, overtaken: 0, trimmed: 0, cuts: 0 }
  for (let seed = first; seed < first + count; seed++) {
    try {
      const simulation = await run({ ...options, seed })
      for (const of of ['crashes', 'fresh', 'overtaken', 'trimmed', 'cuts'] as const) {
        sums[of] += simulation[of]
      }
    } catch (error) {
      throw new Error(`TRIVET_SEED=${seed}: ${String(error)}`, { cause: error })
    }
  }
  const { crashes, fresh, overtaken, trimmed, cuts } = sums
  t.log(
    `${crashes} crashes survived, ${cuts} logs cut, ${fresh} replicas begun anew, ${overtaken} overtaken`,
  )
  t.log(`${trimmed} bytes gone by retention`)
  t.pass()
}

test('a replica has the log and the views of its master, and what was answered for', (t) =>
  followMany(t, 2, {}))

test('a master that was replaced and went on comes back with the log of its successor', (t) =>
  followMany(t, 3, {}, followApart))

test('the same while retention takes the old end', (t) => followMany(t, 3, { hasRetention: true }))

test('the same with views that rot on both sides', (t) =>
  followMany(t, 2, { hasRetention: true, hasRot: true }))
