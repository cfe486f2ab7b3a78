// A process of a simulation: it can be killed, its clock goes on where the one before stood, and
// its promises get on between two things that happen.
import type { Disk } from '../../../src/store/disk/disk.ts'
import { FakeClock } from '../fake-clock.ts'
import { SimulatedCrash } from './simulated-disk.ts'

/** A slice of long work is over after less. */
const BUSY_MS = 9

/**
 * A process that can be killed. Work of a dead one that rested for a real turn goes on, but reaches
 * no disk and calls no callback.
 */
export class SimulatedProcess {
  #isDead = false
  readonly disk: Disk

  get isDead(): boolean {
    return this.#isDead
  }

  constructor(disk: Disk) {
    const alive = (): Disk => {
      if (this.#isDead) throw new SimulatedCrash()
      return disk
    }
    this.disk = {
      list: (directory) => alive().list(directory),
      makeDirectory: (path) => alive().makeDirectory(path),
      create: (path) => alive().create(path),
      open: (path, mode) => alive().open(path, mode),
      rename: (from, to) => alive().rename(from, to),
      remove: (path) => alive().remove(path),
      syncDirectory: (path) => alive().syncDirectory(path),
      removeLater: (path, done) => alive().removeLater(path, done),
      syncDirectoryLater: (path, done) => alive().syncDirectoryLater(path, done),
      freeBytes: (directory) => alive().freeBytes(directory),
      totalBytes: (directory) => alive().totalBytes(directory),
    }
  }

  die(): void {
    this.#isDead = true
  }
}

/**
 * Promises under way get as far as they can without the pool; now and then also what waits for a
 * real turn.
 */
export async function turn(): Promise<void> {
  for (let i = 0; i < 12; i++) await undefined
  turns++
  if (turns % 64 === 0) await new Promise((resolve) => setImmediate(resolve))
}

let turns = 0

/**
 * Every third look at it finds that long work has taken its time, so that it rests in many places.
 */
export function busyClock(wallMs?: number): FakeClock {
  const clock = new FakeClock(wallMs)
  const monotonic = clock.monotonic.bind(clock)
  let looks = 0
  clock.monotonic = () => monotonic() + Math.floor(looks++ / 3) * BUSY_MS
  return clock
}
