// The real commit log on a simulated disk, driven by a seed: lives of random appends, syncs and
// removals, each ended by a crash at a chosen call or a clean close, and a judgement of what the
// next life finds.
import { BrokerError } from '../../../src/errors.ts'
import { silentLogger } from '../../../src/log.ts'
import { NO_HOST } from '../../../src/model/host.ts'
import { logPosition } from '../../../src/model/positions.ts'
import { recordsOf } from '../../../src/model/record.ts'
import type { CommitLog, FlushMode, Frame } from '../../../src/store/log/commit-log.ts'
import type { Followed } from '../../../src/store/log/following.ts'
import { openCommitLog } from '../../../src/store/log/segmented-log.ts'
import { FakeClock } from '../fake-clock.ts'
import { Random } from '../random.ts'
import { type Call, type Found, foundRecord, LogHistory } from './log-history.ts'
import { SimulatedCrash, SimulatedDisk, type SimulatedDiskOptions } from './simulated-disk.ts'
import { SimulatedTurns } from './simulated-turns.ts'

export interface SimulationOptions {
  readonly seed: number
  readonly flush?: FlushMode
  readonly lies?: SimulatedDiskOptions['lies']
  readonly capacityBytes?: number
  /** Default 12,288. */
  readonly segmentBytes?: number
  /** Default: as long as a frame may be. */
  readonly chunkBytes?: number
  /** Default: more than a life has. */
  readonly recordsAtOnceMax?: number
  /** What the judge believes; a planted bug is one that differs from `flush`. */
  readonly judgedAs?: FlushMode
  readonly follows?: Followed
}

const DIRECTORY = '/log'

export class LogSimulation {
  readonly #options: SimulationOptions
  /**
   * What happens, and what a crash leaves, are drawn apart: the same life can be crashed at each of
   * its calls.
   */
  readonly #random: Random
  readonly #turns: SimulatedTurns
  clock = new FakeClock()
  readonly disk: SimulatedDisk
  readonly history = new LogHistory()
  #log: CommitLog | undefined
  #delivered = 0
  /** Ends of what was seen as synced in this life. */
  #syncedEnd = 0
  #endNotNoted = false
  crashes = 0
  /** What this life's log delivered. */
  frames: { readonly firstRecord: number; readonly end: number }[] = []

  constructor(options: SimulationOptions) {
    this.#options = options
    this.#random = new Random(options.seed)
    this.#turns = new SimulatedTurns(new Random(options.seed + 1))
    this.disk = new SimulatedDisk({
      random: new Random(options.seed + 2),
      inPool: this.#turns.inPool,
      ...(options.capacityBytes !== undefined && { capacityBytes: options.capacityBytes }),
      ...(options.lies !== undefined && { lies: options.lies }),
    })
  }

  get log(): CommitLog {
    if (this.#log === undefined) throw new Error('no log is open')
    return this.#log
  }

  /** Runs `life`; true when the planned crash ended it. */
  survive(life: () => void): boolean {
    try {
      life()
      return this.disk.isDown
    } catch (error) {
      if (error instanceof SimulatedCrash) return true
      throw error
    }
  }

  /** `follows`: as a copy of another log. */
  open(follows = this.#options.follows): void {
    this.#log = openCommitLog({
      directory: DIRECTORY,
      disk: this.disk,
      clock: this.clock,
      log: {
        ...silentLogger,
        warn: (fields) => {
          if (fields.evt === 'log.end_not_noted') this.#endNotNoted = true
        },
      },
      storeHost: NO_HOST,
      flush: this.#options.flush ?? 'sync',
      follows,
      endOfTurn: this.#turns.endOfTurn,
      segmentBytes: this.#options.segmentBytes ?? 12_288,
      frameBytesMax: 4096,
      chunkBytes: this.#options.chunkBytes ?? 4096,
      recordsAtOnceMax: this.#options.recordsAtOnceMax ?? 4096,
      tailBytesMax: 16_384,
      unsyncedBytesMax: 8192,
      aheadBytes: 2048,
      fillPieceBytes: 2048,
      reserveBytes: this.#options.capacityBytes === undefined ? 0 : 4096,
    })
    this.#delivered = this.#log.end
    this.frames = []
    this.#syncedEnd = this.#log.end
    this.#log.onFrame((frame) => this.#onFrame(frame))
  }

  /**
   * Everything that the log shows, each record also read by its position.
   * @throws when damage is reported
   */
  judge(): void {
    const found: Found[] = []
    for (const frame of this.log.replay(this.log.start)) {
      for (const record of recordsOf(frame.bytes.subarray(frame.start, frame.stop))) {
        const one = foundRecord(record)
        const copy = Buffer.alloc(one.bytes.length)
        const isRead = this.log.readSync(copy, 0, logPosition(one.position), copy.length)
        if (!isRead || !copy.equals(one.bytes)) throw new Error(`${one.position} reads differently`)
        found.push(one)
      }
    }
    if (this.log.damage().length > 0) {
      throw new Error(`a crash was taken for damage: ${JSON.stringify(this.log.damage())}`)
    }
    this.history.judge(found)
  }

  /** Calls without an answer. */
  get unanswered(): number {
    return this.history.calls.filter((call) => call.fate === 'open').length
  }

  /** Every acknowledged record can be read while the log is as it is. */
  checkReadable(): void {
    for (const call of this.history.calls) {
      if (call.fate !== 'acknowledged') continue
      const body = call.drafts[0]!.body
      const copy = Buffer.alloc(body.length)
      const position = logPosition(call.appending!.positions[0]! + 88)
      if (!this.log.readSync(copy, 0, position, copy.length) || !copy.equals(body)) {
        throw new Error(`call ${call.id} is acknowledged and cannot be read`)
      }
    }
  }

  /** A number of random things happen. */
  act(steps: number): void {
    for (let i = 0; i < steps; i++) {
      this.#act()
      this.#look()
    }
  }

  settle(): void {
    this.#turns.settle()
    this.#look()
  }

  /** Lets one thing happen that is due. @returns false when there is none */
  step(): boolean {
    return this.#turns.step()
  }

  append(sizes: readonly number[]): Call | undefined {
    const call = this.history.plan(sizes)
    try {
      call.appending = this.log.append(call.drafts, call.queueOffsets, (error) => {
        if (this.disk.isDown) return
        call.isUnsure = error !== undefined && this.#endNotNoted
        this.history.answered(call, error === undefined ? 'acknowledged' : 'refused')
        if (error !== undefined) return
        const end = call.appending!.positions.at(-1)!
        if (end >= this.#delivered)
          throw new Error(`call ${call.id} was done before it was delivered`)
      })
    } catch (error) {
      if (error instanceof BrokerError && error.retryable) return undefined
      throw error
    }
    this.history.calls.push(call)
    return call
  }

  async close(): Promise<void> {
    await this.wait(this.log.close())
    this.#turns.settle()
  }

  /** Lets things happen until the promise settles. */
  async wait<T>(promise: T | Promise<T>): Promise<T> {
    let isSettled = false
    const settled = Promise.resolve(promise).finally(() => {
      isSettled = true
    })
    for (let i = 0; i < 100 && !isSettled; i++) {
      this.#turns.settle()
      await Promise.resolve()
    }
    return settled
  }

  /** After a crash: what the process knew is gone. */
  restart(kind: 'kill' | 'power'): void {
    this.crashes++
    this.#endNotNoted = false
    const { flush = 'sync', judgedAs = flush } = this.#options
    for (const call of this.history.calls) {
      const end = call.appending?.positions.at(-1) ?? 0
      const mayLose = judgedAs === 'async' && kind === 'power' && end >= this.#syncedEnd
      if (call.fate === 'acknowledged' && mayLose) call.isInWindow = true
    }
    this.#turns.drop()
    // The timers of the dead process must not fire in the next.
    this.clock = new FakeClock(this.clock.now())
    this.#log = undefined
    this.disk.restart(kind)
  }

  #act(): void {
    const random = this.#random
    const choice = random.int(100)
    if (choice < 45) {
      const isLarge = random.chance(0.1)
      const count = isLarge ? 1 : 1 + random.int(4)
      this.append(Array.from({ length: count }, () => random.int(isLarge ? 3500 : 300)))
    } else if (choice < 90) {
      for (let i = random.int(6); i >= 0; i--) this.#turns.step()
    } else if (choice < 94) {
      this.clock.advance(random.pick([10, 60, 1500]))
    } else if (choice < 97) {
      this.log.sync(() => {})
    } else {
      this.#drop()
    }
  }

  #drop(): void {
    const segments = this.log.segments()
    const segment = segments[this.#random.int(Math.max(segments.length, 1))]
    if (segment === undefined || segment.start > this.log.syncedEnd) return
    this.history.dropped(segment.start)
    this.log.dropBefore(segment.start)
  }

  #look(): void {
    if (this.disk.isDown) throw new SimulatedCrash()
    this.#syncedEnd = this.log.syncedEnd
  }

  #onFrame(frame: Frame): void {
    if (frame.firstRecord < this.#delivered) throw new Error('a frame was delivered twice')
    let at: number = frame.firstRecord
    for (const record of recordsOf(frame.bytes.subarray(frame.start, frame.stop))) {
      if (record.position !== at) throw new Error(`the record at ${at} says ${record.position}`)
      at += record.size
    }
    if (at !== frame.end) throw new Error(`a frame ends at ${at}, told was ${frame.end}`)
    this.#delivered = frame.end
    this.frames.push({ firstRecord: frame.firstRecord, end: frame.end })
  }
}
