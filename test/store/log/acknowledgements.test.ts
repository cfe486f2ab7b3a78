// What one turn of the event loop makes readable and answers.
import test from 'ava'
import type { BrokerError } from '../../../src/errors.ts'
import { LogSimulation } from '../../support/simulation/log-simulation.ts'

function opened(recordsAtOnceMax: number): LogSimulation {
  const simulation = new LogSimulation({ seed: 7, recordsAtOnceMax })
  simulation.open()
  return simulation
}

/** Appends of so many records; each is told when it is answered. */
function appendParted(simulation: LogSimulation, counts: readonly number[]): number[] {
  const [draft] = simulation.history.plan([10]).drafts
  const answered: number[] = []
  counts.forEach((count, i) => {
    const drafts = Array(count).fill(draft!)
    simulation.log.append(drafts, Array(count).fill(0), () => answered.push(i))
  })
  return answered
}

test('Records become readable so many in a turn, and a larger append in a turn of its own', (t) => {
  const simulation = opened(8)
  const answered = appendParted(simulation, [4, 4, 4, 12, 8, 1])
  const turns: string[] = []
  while (simulation.step()) turns.push(answered.splice(0).join())
  t.deepEqual(
    turns.filter((text) => text !== ''),
    ['0,1', '2', '3', '4', '5'],
  )
  t.is(simulation.log.end, simulation.log.syncedEnd)
})

test('A log that closes or stops answers what waits for its turn as what it is: stored', async (t) => {
  for (const end of ['close', 'fail'] as const) {
    const simulation = opened(4)
    const answers: (BrokerError | undefined)[] = []
    const [draft] = simulation.history.plan([10]).drafts
    for (let i = 0; i < 3; i++) {
      simulation.log.append(Array(4).fill(draft!), [0, 0, 0, 0], (error) => answers.push(error))
    }
    while (answers.length === 0) simulation.step()
    t.is(answers.length, 1)
    if (end === 'close') await simulation.close()
    else {
      simulation.disk.failAt(simulation.disk.calls + 1, 'EIO')
      simulation.append([10])
      simulation.settle()
      t.false(simulation.log.writable)
    }
    t.deepEqual(answers, [undefined, undefined, undefined], end)
  }
})
