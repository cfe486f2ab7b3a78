// The whole store through crashes on a simulated disk and key-value store, against a plain model. A
// failing seed is printed; run it alone with TRIVET_SEED=<seed>, or more of them with
// TRIVET_SEEDS=<count>.
import test, { type ExecutionContext } from 'ava'
import { Random } from '../support/random.ts'
import {
  StoreSimulation,
  type StoreSimulationOptions,
} from '../support/simulation/store-simulation.ts'

const chosenSeed = process.env['TRIVET_SEED']
const chosenCount = process.env['TRIVET_SEEDS']
const LIVES = 5
const STEPS = 60

/** Lives that end in a crash, in a crash of the recovery, or in order. */
async function live(options: StoreSimulationOptions): Promise<StoreSimulation> {
  const simulation = new StoreSimulation(options)
  const random = new Random(options.seed * 7 + 3)
  const kind = () => random.pick(['power', 'power', 'kill'] as const)
  for (let life = 0; life < LIVES; life++) {
    for (let nested = 0; nested < 2 && random.chance(0.3); nested++) {
      simulation.disk.crashAt(1 + random.int(12))
      await simulation.survive(() => simulation.open())
      simulation.restart(kind())
    }
    await simulation.open()
    await simulation.judge()
    const isCrashed = random.chance(0.7)
    if (isCrashed) simulation.disk.crashAt(simulation.disk.calls + 1 + random.int(80))
    const isDown = await simulation.survive(() => simulation.act(STEPS))
    if (isDown || isCrashed) simulation.restart(kind())
    else {
      await simulation.settle()
      await simulation.judge()
      await simulation.close()
    }
  }
  await simulation.open()
  await simulation.judge()
  await simulation.close()
  return simulation
}

async function liveMany(
  t: ExecutionContext,
  seeds: number,
  options: Omit<StoreSimulationOptions, 'seed'>,
): Promise<void> {
  const first = chosenSeed === undefined ? Math.floor(Math.random() * 2 ** 30) : Number(chosenSeed)
  const count = chosenSeed === undefined ? Number(chosenCount ?? seeds) : 1
  t.log(`seeds ${first} to ${first + count - 1}`)
  let crashes = 0
  for (let seed = first; seed < first + count; seed++) {
    try {
      crashes += (await live({ ...options, seed })).crashes
    } catch (error) {
      throw new Error(`TRIVET_SEED=${seed}: ${String(error)}`, { cause: error })
    }
  }
  t.log(`${crashes} crashes survived`)
  t.pass()
}

test('crashes lose nothing that was promised and leave no view behind', (t) => liveMany(t, 8, {}))

test('retention takes the oldest and nothing that lives', (t) =>
  liveMany(t, 5, { hasRetention: true }))

test('a key-value store that loses, rots and refuses is built again', (t) =>
  liveMany(t, 5, { hasRot: true, hasRetention: true }))

test('with flush async only the newest can be missing after a power cut', (t) =>
  liveMany(t, 4, { flush: 'async' }))

test('retention with flush async takes nothing before what it kept of it is on the disk', (t) =>
  liveMany(t, 4, { flush: 'async', hasRetention: true }))
