// Which thread syncs a lone commit, by a clock that the tests move, and what a failed sync does.
import test from 'ava'
import type { SealedFrame } from '../../../src/store/log/frame-stage.ts'
import { LoneSync } from '../../../src/store/log/lone-sync.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { LogSimulation } from '../../support/simulation/log-simulation.ts'

/** A loop whose idle time and events the test says. */
class LoopClock extends FakeClock {
  idleMs = 0
  told = 0

  override idle(): number {
    return this.idleMs
  }

  override events(): number {
    return this.told
  }
}

interface Times {
  readonly syncMs?: number
  readonly poolMs?: number
  readonly idleShare?: number
  /** What else comes with each commit. */
  readonly others?: number
}

const SYNC_MS = 0.1
const STREAK = 8
const WINDOW = 64
/** Commits of a trial, and those between the first two. */
const TRIAL = 64
const BETWEEN = 1024

/** A commit of some appends with one record each. */
function commitOf(appends: number, length = 300): readonly SealedFrame[] {
  const chunk = { bytes: Buffer.alloc(0), base: 0, used: 0 }
  const dones = Array.from({ length: appends }, () => () => {})
  return [{ chunk, at: 0, position: 0, length, sequence: 1, records: appends, dones }]
}

class Sender {
  readonly clock = new LoopClock()
  readonly lone = new LoneSync(this.clock)

  /**
   * How many of so many commits of one message each are synced on the loop's thread. The pool takes
   * longer by two changes of thread.
   */
  send(commits: number, times: Times = {}): number {
    const { syncMs = SYNC_MS, poolMs = syncMs + 0.05, idleShare = 0.5, others = 0 } = times
    let here = 0
    for (let i = 0; i < commits; i++) {
      this.clock.told += 1 + others
      if (this.lone.takes(commitOf(1), true)) {
        here++
        this.lone.run(() => this.clock.advance(syncMs))
      } else {
        this.clock.advance(poolMs)
        this.clock.told++
      }
      const restMs = SYNC_MS
      this.clock.advance(restMs)
      this.clock.idleMs += 2 * restMs * idleShare
    }
    return here
  }
}

test('Messages that are committed alone are synced by either thread in turn after some in a row', (t) => {
  const sender = new Sender()
  t.is(sender.send(STREAK), 0)
  for (let i = 0; i < TRIAL / 16; i++) {
    t.is(sender.send(8), 8)
    t.is(sender.send(8), 0)
  }
})

test('After that they are synced on the thread of the loop, where that is quicker', (t) => {
  const sender = new Sender()
  sender.send(STREAK + TRIAL)
  t.is(sender.send(BETWEEN), BETWEEN)
})

test('Where the pool is quicker it has them until the next trial, and longer each time', (t) => {
  const sender = new Sender()
  const busy = { syncMs: 0.2, poolMs: 0.15 }
  sender.send(STREAK + TRIAL, busy)
  t.is(sender.send(1 + BETWEEN, busy), 0)
  t.is(sender.send(TRIAL, busy), TRIAL / 2)
  t.is(sender.send(1 + 2 * BETWEEN, busy), 0)
  t.is(sender.send(TRIAL, busy), TRIAL / 2)
})

test('A trial comes out anew when the machine has changed', (t) => {
  const sender = new Sender()
  sender.send(STREAK + TRIAL + 1 + BETWEEN, { syncMs: 0.2, poolMs: 0.15 })
  sender.send(TRIAL)
  t.is(sender.send(1 + BETWEEN), 1 + BETWEEN)
})

test('A few commits that took long do not decide a trial', (t) => {
  const sender = new Sender()
  sender.send(STREAK)
  sender.send(3, { syncMs: 4 })
  sender.send(TRIAL - 3)
  t.is(sender.send(BETWEEN), BETWEEN)
})

test('A commit of two appends goes to the thread pool and ends the row', (t) => {
  const sender = new Sender()
  sender.send(STREAK + 1)
  t.false(sender.lone.takes(commitOf(2), true))
  t.is(sender.send(STREAK), 0)
  t.is(sender.send(1), 1)
})

test('While another sync is under way, or for a frame of many kilobytes, the pool is used', (t) => {
  for (const [commit, isAlone] of [
    [commitOf(1), false],
    [commitOf(1, 65 * 1024), true],
    [[], true],
    [[...commitOf(1), ...commitOf(1)], true],
  ] as const) {
    const sender = new Sender()
    sender.send(STREAK + 1)
    t.false(sender.lone.takes(commit, isAlone))
    t.is(sender.send(STREAK), 0)
  }
})

test('Slow syncs of 16 ms send the next 64 commits to the pool, and twice as many the next time', (t) => {
  const sender = new Sender()
  sender.send(STREAK)
  t.is(sender.send(4, { syncMs: 5 }), 4)
  t.is(sender.send(64), 0)
  t.is(sender.send(1, { syncMs: 20 }), 1)
  t.is(sender.send(128), 0)
  t.is(sender.send(1), 1)
})

test('A slow sync now and then sends none to the pool', (t) => {
  const sender = new Sender()
  sender.send(STREAK + TRIAL)
  for (let i = 0; i < 15; i++)
    t.is(sender.send(1, { syncMs: 10 }) + sender.send(WINDOW - 1), WINDOW)
})

test('Where other clients have the loop too, the first slow sync goes back to the pool', (t) => {
  const sender = new Sender()
  sender.send(STREAK + TRIAL)
  t.is(sender.send(1 + WINDOW, { others: 0.25 }), 1 + WINDOW)
  t.is(sender.send(1, { others: 0.25, syncMs: 2 }), 1)
  t.is(sender.send(64, { others: 0.25 }), 0)
})

test('On a disk that is always slow the loop waits for hardly any sync', (t) => {
  const sender = new Sender()
  t.true(sender.send(100_000, { syncMs: 8 }) <= 36)
})

test('A loop without idle time has its syncs done by the pool', (t) => {
  const sender = new Sender()
  sender.send(STREAK + TRIAL)
  t.is(sender.send(WINDOW / 2, { idleShare: 0 }), WINDOW / 2)
  t.is(sender.send(WINDOW, { idleShare: 0 }), WINDOW)
  t.is(sender.send(64, { idleShare: 0 }), 0)
})

test('A lone message whose sync fails on the thread of the loop is refused, and the log stops', (t) => {
  const simulation = new LogSimulation({ seed: 7 })
  const { disk } = simulation
  const open = disk.open.bind(disk)
  let syncs = 0
  disk.open = (path, mode) => {
    const file = open(path, mode)
    const sync = file.sync.bind(file)
    return Object.assign(file, {
      sync: () => {
        syncs++
        sync()
      },
    })
  }
  simulation.open()
  for (let i = 0; i < STREAK + 2; i++) {
    simulation.append([10])
    simulation.settle()
  }
  const before = syncs
  t.true(before > 0)
  // The write of the frame is the next call of the disk, its sync the one after it.
  disk.failAt(disk.calls + 2, 'EIO')
  const refused = simulation.append([10])!
  simulation.settle()
  t.is(syncs, before + 1)
  t.is(refused.fate, 'refused')
  t.regex(simulation.log.reason!, /EIO/)
  // Nothing is left that would touch the disk again.
  const { calls } = disk
  simulation.clock.advance(10_000)
  simulation.settle()
  t.is(disk.calls, calls)
})
