// The real commit log through thousands of crashes on a simulated disk. A failing seed is printed;
// run it alone with TRIVET_SEED=<seed>.
import test, { type ExecutionContext } from 'ava'
import type { FlushMode } from '../../../src/store/log/commit-log.ts'
import { Random } from '../../support/random.ts'
import { LogSimulation, type SimulationOptions } from '../../support/simulation/log-simulation.ts'

/** More for a long run: TRIVET_SEEDS=1000. */
const SEEDS = Number(process.env['TRIVET_SEEDS'] ?? 4)
const STEPS = 40
const LATER_STEPS = 20
const chosenSeed = process.env['TRIVET_SEED']

type Life = (simulation: LogSimulation) => void

const randomLife: Life = (simulation) => {
  simulation.act(STEPS)
  simulation.settle()
}

/** One message after the other, each once the one before it was answered. */
const loneLife: Life = (simulation) => {
  for (let i = 0; i < STEPS; i++) {
    simulation.append([10 + i])
    simulation.settle()
  }
}

/** A life that is crashed at this call, a recovery that may be crashed too, and lives after it. */
async function crashAt(
  options: SimulationOptions,
  live: Life,
  call: number,
): Promise<LogSimulation> {
  const simulation = new LogSimulation(options)
  const random = new Random(options.seed * 1000 + call)
  const kind = () => random.pick(['power', 'power', 'kill'] as const)
  simulation.disk.crashAt(call)
  simulation.survive(() => {
    simulation.open()
    live(simulation)
  })
  simulation.restart(kind())
  for (let life = 0; life < 2; life++) {
    for (let nested = 0; nested < 2 && random.chance(0.4); nested++) {
      simulation.disk.crashAt(1 + random.int(8))
      simulation.survive(() => simulation.open())
      simulation.restart(kind())
    }
    simulation.open()
    simulation.judge()
    simulation.disk.crashAt(simulation.disk.calls + 1 + random.int(40))
    simulation.survive(() => simulation.act(LATER_STEPS))
    simulation.restart(kind())
  }
  simulation.open()
  simulation.judge()
  simulation.survive(() => simulation.act(LATER_STEPS))
  await simulation.close()
  simulation.open()
  simulation.judge()
  return simulation
}

/** Number of calls in the life that a seed leads without a crash. */
function callsOf(options: SimulationOptions, live: Life): number {
  const simulation = new LogSimulation(options)
  simulation.open()
  live(simulation)
  return simulation.disk.calls
}

/** Crashes every life of the seeds at each of its calls. @returns crashes survived */
async function crashEverywhere(
  t: ExecutionContext,
  seeds: number,
  options: Omit<SimulationOptions, 'seed'>,
  live: Life = randomLife,
): Promise<number> {
  const first = chosenSeed === undefined ? Math.floor(Math.random() * 2 ** 30) : Number(chosenSeed)
  t.log(`seeds ${first} and following`)
  let crashes = 0
  for (let seed = first; seed < first + seeds; seed++) {
    const calls = callsOf({ ...options, seed }, live)
    for (let call = 1; call <= calls; call++) {
      try {
        crashes += (await crashAt({ ...options, seed }, live, call)).crashes
      } catch (error) {
        throw new Error(`TRIVET_SEED=${seed}, crash at call ${call}: ${String(error)}`, {
          cause: error,
        })
      }
    }
  }
  t.log(`${crashes} crashes survived`)
  return crashes
}

for (const flush of ['sync', 'async'] satisfies FlushMode[]) {
  test(`With flush ${flush}, crashes at every call lose nothing that was promised`, async (t) => {
    const crashes = await crashEverywhere(t, SEEDS, { flush })
    t.true(crashes > SEEDS * 80)
  })
}

test('Crashes at every call lose nothing of frames that are larger than a chunk and a segment', async (t) => {
  const small = { segmentBytes: 1024, chunkBytes: 1024 }
  const crashes = await crashEverywhere(t, Math.ceil(SEEDS / 2), { flush: 'sync', ...small })
  t.true(crashes > SEEDS * 20)
})

test('Crashes at every call lose nothing of what becomes readable over several turns', async (t) => {
  for (const flush of ['sync', 'async'] satisfies FlushMode[]) {
    const parted = { flush, recordsAtOnceMax: 2 }
    const crashes = await crashEverywhere(t, Math.ceil(SEEDS / 2), parted)
    t.true(crashes > SEEDS * 20)
  }
})

test('Crashes at every call lose nothing of a sender that waits for each answer', async (t) => {
  const crashes = await crashEverywhere(t, Math.ceil(SEEDS / 2), { flush: 'sync' }, loneLife)
  t.true(crashes > SEEDS * 20)
})

const PLANTED: Record<string, Omit<SimulationOptions, 'seed'>> = {
  'a disk that lies about fdatasync': { lies: 'sync' },
  'a disk that lies about the sync of a directory': { lies: 'sync-directory' },
  'a log that acknowledges before the sync': { flush: 'async', judgedAs: 'sync' },
}

for (const [bug, options] of Object.entries(PLANTED)) {
  test(`The same crashes find ${bug}`, async (t) => {
    await t.throwsAsync(crashEverywhere(t, 20, options), {
      message: /lost|damage|no segment|is there/,
    })
  })
}
