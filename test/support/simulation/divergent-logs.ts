// Three copies of a log, of which any may be made the master in the middle of things, while the one
// before goes on writing for a time as if it were not replaced. Each that follows another compares
// their histories first and is cut where they part, killed at any call of its disk. What was
// acknowledged, because the copies that may become master had it, must stay in every master's log.
import { BrokerError } from '../../../src/errors.ts'
import { type LogPosition, logPosition } from '../../../src/model/positions.ts'
import { lastCommon } from '../../../src/store/log/epochs/history.ts'
import type { AcknowledgementHold } from '../../../src/store/log/following.ts'
import { headerAt } from '../../../src/store/log/frame.ts'
import { FakeClock } from '../fake-clock.ts'
import { Random } from '../random.ts'
import { framesOf } from '../store/log-frames.ts'
import { LogSimulation } from './log-simulation.ts'

const COPIES = 3
const WALL_MS = 1_700_000_000_000

interface Copy {
  readonly name: number
  simulation: LogSimulation
  /** Which it follows; undefined: it takes itself for the master. */
  source: Copy | undefined
  /** Its log was compared with that of its source, and cut, since it follows it. */
  isJoined: boolean
  hold: AcknowledgementHold | undefined
}

export class DivergentLogs {
  readonly #random: Random
  readonly #copies: Copy[] = []
  #master: Copy
  /** Copies that an acknowledgement waits for, the master among them. */
  #inSync: Set<Copy>
  /** The log from its very beginning to the newest frame that was acknowledged. */
  #acknowledged: Buffer = Buffer.alloc(0)
  cuts = 0
  crashes = 0
  takeovers = 0
  fresh = 0

  constructor(seed: number) {
    this.#random = new Random(seed)
    for (let name = 0; name < COPIES; name++) {
      const simulation = this.#newSimulation(name)
      this.#copies.push({ name, simulation, source: undefined, isJoined: false, hold: undefined })
    }
    const [first] = this.#copies as [Copy, ...Copy[]]
    this.#master = first
    this.#inSync = new Set([first])
  }

  async run(steps: number): Promise<void> {
    const master = this.#master
    master.simulation.open()
    master.hold = master.simulation.log.hold()
    for (const copy of this.#copies) if (copy !== master) await this.#follow(copy, master)
    for (let i = 0; i < steps; i++) await this.#step()
    for (const copy of this.#copies) {
      if (copy === this.#master) continue
      await this.#join(copy, this.#master)
      await this.#ship(copy, Number.POSITIVE_INFINITY)
      await this.#assertSame(copy)
    }
  }

  #newSimulation(name: number): LogSimulation {
    const simulation = new LogSimulation({ seed: this.#random.int(2 ** 30), segmentBytes: 6144 })
    // No two machines have the same clock.
    simulation.clock = new FakeClock(WALL_MS + name * 977)
    return simulation
  }

  async #step(): Promise<void> {
    const random = this.#random
    const copy = random.pick(this.#copies)
    const choice = random.int(100)
    if (choice < 25) this.#write(this.#master)
    else if (choice < 40) this.#writeStale(copy)
    else if (choice < 70) await this.#ship(copy, 1 + random.int(6))
    else if (choice < 80) this.#reconsider(copy)
    else if (choice < 83) await this.#restart(copy)
    else if (choice < 90) await this.#takeOver()
    else if (choice < 97) await this.#rejoin(copy)
    else this.#dropOld()
    await this.#acknowledge()
  }

  #write(copy: Copy): void {
    const { simulation } = copy
    simulation.append([this.#random.int(400)])
    if (this.#random.chance(0.8)) simulation.settle()
    if (this.#random.chance(0.2)) simulation.clock.advance(1500)
  }

  /** One that was replaced and does not know. */
  #writeStale(copy: Copy): void {
    if (copy.source === undefined && copy !== this.#master) this.#write(copy)
  }

  async #ship(copy: Copy, count: number): Promise<void> {
    const { source } = copy
    // A copy that follows another one feeds none.
    if (source?.source !== undefined || source === undefined) return
    source.simulation.settle()
    const isOvertaken = copy.simulation.log.end < source.simulation.log.start
    if (isOvertaken || !copy.isJoined) await this.#join(copy, source)
    const { log } = copy.simulation
    for (const frame of (await framesOf(source.simulation, log.end)).slice(0, count)) {
      log.appendFrame(frame, 0, () => {})
      copy.simulation.settle()
    }
    log.wasConfirmed(source.simulation.log.confirmedTo)
    if (this.#random.chance(0.2)) copy.simulation.clock.advance(1500)
    if (source === this.#master) await this.#acknowledge()
  }

  /** What all that are in sync have is acknowledged. */
  async #acknowledge(): Promise<void> {
    const master = this.#master
    master.simulation.settle()
    let to: number = master.simulation.log.syncedEnd
    for (const copy of this.#inSync) {
      if (copy === master) continue
      to = Math.min(to, copy.source === master && copy.isJoined ? copy.simulation.log.syncedEnd : 0)
    }
    const before = this.#acknowledged.length
    if (to <= before) return
    master.hold!.confirm(logPosition(to))
    const added = await bytesOf(master.simulation, before, to)
    this.#acknowledged = Buffer.concat([this.#acknowledged, added])
  }

  /** The copies that are waited for change only so that each has what was acknowledged. */
  #reconsider(copy: Copy): void {
    if (copy === this.#master) return
    const { log } = copy.simulation
    const end = this.#acknowledged.length
    if (this.#inSync.has(copy)) {
      if (this.#random.chance(0.2)) this.#inSync.delete(copy)
    } else if (copy.source === this.#master && copy.isJoined && log.syncedEnd >= end) {
      this.#inSync.add(copy)
    }
  }

  async #restart(copy: Copy): Promise<void> {
    this.#crash(copy)
    copy.hold = undefined
    if (copy.source === undefined) {
      // With a new epoch of its own, also when it was replaced.
      copy.simulation.open()
      copy.hold = copy.simulation.log.hold()
      if (copy === this.#master) for (const other of this.#copies) this.#lose(other, copy)
      return
    }
    await this.#follow(copy, copy.source)
  }

  #crash({ simulation }: Copy): void {
    this.crashes++
    simulation.restart(this.#random.pick(['kill', 'power']))
    // What became of them is judged by the bytes.
    for (const call of simulation.history.calls) if (call.fate === 'open') call.fate = 'refused'
  }

  /** A connection ended: the next one begins with a comparison. */
  #lose(copy: Copy, source: Copy): void {
    if (copy.source === source) copy.isJoined = false
  }

  async #takeOver(): Promise<void> {
    const candidates = [...this.#inSync].filter((copy) => copy !== this.#master)
    if (candidates.length === 0) return
    this.takeovers++
    const next = this.#random.pick(candidates)
    next.simulation.settle()
    const { log } = next.simulation
    await this.#assertAcknowledged(next)
    // A coordinator counts; by hand it may be a number that the old master takes as well.
    const highest = Math.max(...this.#copies.map(({ simulation }) => simulation.log.epoch))
    log.activate(this.#random.chance(0.5) ? highest + 1 : undefined)
    next.source = undefined
    next.hold = log.hold()
    this.#master = next
    this.#inSync = new Set([next])
    for (const copy of this.#copies) this.#lose(copy, next)
  }

  /** A copy, be it one that was replaced, follows the master from here on. */
  async #rejoin(copy: Copy): Promise<void> {
    if (copy === this.#master || copy.source === this.#master) return
    for (const other of this.#copies) this.#lose(other, copy)
    this.#inSync.delete(copy)
    if (this.#random.chance(0.5)) {
      this.#crash(copy)
    } else {
      copy.simulation.settle()
      await copy.simulation.close()
    }
    await this.#follow(copy, this.#master)
  }

  async #follow(copy: Copy, source: Copy, cut?: LogPosition): Promise<void> {
    const { id, start } = source.simulation.log
    const follows = { logId: id, start, ...(cut !== undefined && { cut: { to: cut } }) }
    copy.source = source
    copy.isJoined = false
    copy.hold = undefined
    copy.simulation.open(follows)
  }

  /** Compares the histories, and cuts what only this one has. */
  async #join(copy: Copy, source: Copy): Promise<void> {
    if (copy.source !== source) await this.#rejoin(copy)
    copy.simulation.settle()
    const { log } = copy.simulation
    const other = source.simulation.log
    const common = lastCommon(log.history, other.history)
    const isThere = common !== undefined && common >= Math.max(log.start, other.start)
    const start = Math.max(log.start, other.start)
    const truth = await commonEnd(copy.simulation, source.simulation, start)
    if (isThere && common !== truth) {
      throw new Error(`the logs have ${truth} in common, and their histories say ${common}`)
    }
    if (!isThere) {
      await this.#beginAnew(copy, source)
      return
    }
    if (common < log.end) await this.#cut(copy, source, common)
    copy.isJoined = true
  }

  async #beginAnew(copy: Copy, source: Copy): Promise<void> {
    const { log } = copy.simulation
    const isBehind = log.end < source.simulation.log.start
    if (!isBehind && this.#inSync.has(copy)) throw new Error('one in sync has nothing in common')
    this.fresh++
    this.#inSync.delete(copy)
    copy.simulation = this.#newSimulation(copy.name)
    await this.#follow(copy, source)
    copy.isJoined = true
  }

  async #cut(copy: Copy, source: Copy, to: LogPosition): Promise<void> {
    this.cuts++
    const { simulation } = copy
    const { start, end } = simulation.log
    const kept = await bytesOf(simulation, start, to)
    const tail = await bytesOf(simulation, to, end)
    await simulation.close()
    for (let isCut = false; !isCut; ) {
      // Without the cut in between, as a start without its master is.
      const isAgain = this.#random.chance(0.8)
      simulation.disk.crashAt(this.#random.chance(0.7) ? 1 + this.#random.int(24) : 0)
      let isOpen = false
      const hasCrashed = simulation.survive(() => {
        const follows = { logId: source.simulation.log.id, start: source.simulation.log.start }
        simulation.open({ ...follows, ...(isAgain && { cut: { to } }) })
        isOpen = true
      })
      if (hasCrashed) {
        this.#crash(copy)
        continue
      }
      simulation.disk.crashAt(0)
      const { log } = simulation
      if (log.end !== to && log.end !== end) throw new Error(`cut at ${to}, it ends at ${log.end}`)
      if (log.damage().length > 0) throw new Error('a cut was taken for damage')
      isCut = isOpen && log.end === to
      if (!isCut) await simulation.close()
    }
    copy.isJoined = false
    if (!(await bytesOf(simulation, start, to)).equals(kept))
      throw new Error('what is kept differs')
    const name = simulation.disk.list('/log').find((one) => one.endsWith(`${to}-${pad(end)}`))
    if (name === undefined) throw new Error(`nothing is kept of ${to} to ${end}`)
    const aside = simulation.disk.contentOf(`/log/${name}`)
    if (!aside.equals(tail)) throw new Error(`${name} holds other bytes than were cut`)
  }

  /** Retention, here and there. */
  #dropOld(): void {
    const copy = this.#random.pick(this.#copies)
    const { log } = copy.simulation
    const segments = log.segments()
    const segment = this.#random.pick(segments.slice(0, 3))
    if (segment.start > this.#acknowledged.length) return
    log.dropBefore(segment.start)
    copy.simulation.settle()
  }

  // Judging

  async #assertAcknowledged(copy: Copy): Promise<void> {
    const end = this.#acknowledged.length
    const from = Math.min(copy.simulation.log.start, end)
    const found = await bytesOf(copy.simulation, from, end)
    if (found.equals(this.#acknowledged.subarray(from))) return
    throw new Error(`copy ${copy.name} lacks some of ${end} bytes that were acknowledged`)
  }

  async #assertSame(copy: Copy): Promise<void> {
    const { log } = copy.simulation
    const master = this.#master.simulation
    const start = Math.max(log.start, master.log.start)
    const [mine, its] = [
      await bytesOf(copy.simulation, start, log.syncedEnd),
      await bytesOf(master, start, master.log.syncedEnd),
    ]
    if (!mine.equals(its)) throw new Error(`copy ${copy.name} is not what the master is`)
    await this.#assertAcknowledged(copy)
  }
}

const pad = (position: number): string => String(position).padStart(20, '0')

async function bytesOf(of: LogSimulation, from: number, to: number): Promise<Buffer> {
  if (to <= from) return Buffer.alloc(0)
  return Buffer.concat(await framesOf(of, logPosition(from))).subarray(0, to - from)
}

/** Of what both have from the position on, the end of the last frame that is the same. */
async function commonEnd(one: LogSimulation, other: LogSimulation, from: number): Promise<number> {
  if (one.log.syncedEnd < from || other.log.syncedEnd < from) return -1
  const at = logPosition(from)
  const [mine, its] = [await framesAt(one, at), await framesAt(other, at)]
  let end = from
  for (let i = 0; i < mine.length && its[i]?.equals(mine[i]!) === true; i++) {
    end = headerAt(mine[i]!, 0)!.position + mine[i]!.length
  }
  return end
}

async function framesAt(of: LogSimulation, from: LogPosition): Promise<Buffer[]> {
  try {
    return await framesOf(of, from)
  } catch (error) {
    // No frame of it starts there: the logs part before.
    if (error instanceof BrokerError && error.code === 'STORE_CORRUPT') return []
    throw error
  }
}
