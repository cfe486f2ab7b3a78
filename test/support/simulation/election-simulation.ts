// A master and two slaves with real logs on simulated disks, their elections, a model of etcd and a
// network between them that is late, loses, reorders and is cut, one way or both; processes that
// die, stop for a time, and come back; disks that fail. What was acknowledged is never lost, no two
// acknowledge in one epoch or while another holds the lease, and in the end all logs are one.
import { BrokerError } from '../../../src/errors.ts'
import { silentLogger } from '../../../src/log.ts'
import { type LogPosition, logPosition } from '../../../src/model/positions.ts'
import { Election, type LocalLog } from '../../../src/replication/election/election.ts'
import { electionOf } from '../../../src/replication/election/group-state.ts'
import { type LogHistory, lastCommon } from '../../../src/store/log/epochs/history.ts'
import type { AcknowledgementHold, Followed } from '../../../src/store/log/following.ts'
import { headerAt } from '../../../src/store/log/frame.ts'
import { FakeClock } from '../fake-clock.ts'
import { Random } from '../random.ts'
import { LogSimulation } from './log-simulation.ts'
import { SimulatedCrash } from './simulated-disk.ts'
import { SimulatedEtcd } from './simulated-etcd.ts'
import { MachineClock, VirtualTime } from './virtual-time.ts'

const LEASE_MS = 500
const BEHIND_MS = 700
const TROUBLES_PER_SECOND = 3
const FETCH_MS = 40
const BATCH_BYTES = 1500
const WALL_MS = 1_700_000_000_000

interface Fetch {
  readonly slave: string
  readonly election: number
  readonly end: number
  /** Only from a slave that is not joined yet. */
  readonly history: LogHistory | undefined
}

interface Batch {
  readonly election: number
  readonly common: LogPosition | undefined
  readonly bytes: Buffer
  readonly confirmed: number
}

export class ElectionSimulation {
  readonly random: Random
  readonly time = new VirtualTime()
  readonly etcd: SimulatedEtcd
  readonly machines: Machine[]
  /** The log up to the newest frame that was acknowledged. */
  acknowledged: Buffer = Buffer.alloc(0)
  readonly #acknowledgers = new Map<number, string>()
  /** From one machine to another: nothing arrives. */
  readonly cuts = new Set<string>()
  lossShare = 0
  failure: Error | undefined
  sums = { acknowledged: 0, elections: 0, cuts: 0, crashes: 0, fresh: 0, gaveWay: 0 }

  constructor(seed: number) {
    this.random = new Random(seed)
    this.etcd = new SimulatedEtcd(this.time, this.random)
    this.machines = ['a', 'b', 'c'].map((name, index) => new Machine(this, name, index))
  }

  async run(seconds: number): Promise<void> {
    const [first] = this.machines as [Machine, ...Machine[]]
    const id = await first.found()
    for (const machine of this.machines) machine.start(id)
    await this.#for(1500)
    for (let i = 0; i < seconds * TROUBLES_PER_SECOND; i++) {
      this.#trouble()
      await this.#for(1000 / TROUBLES_PER_SECOND)
    }
    await this.#heal()
  }

  async #for(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 50) {
      for (const machine of this.machines) machine.write()
      await this.time.run(Math.min(50, left), () => this.#after())
    }
  }

  #after(): void {
    for (const machine of this.machines) machine.look()
    if (this.failure !== undefined) throw this.failure
  }

  #trouble(): void {
    const { random, etcd } = this
    const master = this.machines.find(({ isReady }) => isReady)
    const any = random.pick(this.machines)
    const machine = random.chance(0.4) ? (master ?? any) : any
    const other = random.pick(this.machines)
    const choice = random.int(100)
    if (choice < 18) machine.die(random.pick(['kill', 'power']), 200 + random.int(2000))
    else if (choice < 26) machine.stop(random.int(1500))
    else if (choice < 40) this.cuts.add(`${machine.name}${other.name}`)
    else if (choice < 48) etcd.cutOff.add(machine.name)
    else if (choice < 54)
      for (const { name } of this.machines) this.cuts.add(`${machine.name}${name}`)
    else if (choice < 60) etcd.lossShare = random.pick([0, 0.1, 0.5, 1])
    else if (choice < 66) this.lossShare = random.pick([0, 0.1, 0.3])
    else if (choice < 72) machine.simulation.clock.jump(random.pick([-60_000, 60_000, 3_600_000]))
    else if (choice < 78) machine.failDisk()
    else this.#mend()
  }

  #mend(): void {
    this.cuts.clear()
    this.etcd.cutOff.clear()
    this.etcd.lossShare = 0
    this.lossShare = 0
  }

  /** With nothing in the way, all get together and take what is written. */
  async #heal(): Promise<void> {
    this.#mend()
    for (const machine of this.machines) machine.mend()
    for (let i = 0; i < 30; i++) {
      await this.#for(1000)
      const master = this.machines.find(({ isReady }) => isReady)
      if (master === undefined || this.etcd.state?.inSync.length !== this.machines.length) continue
      if (this.isQuiet && this.#isEven(master)) return
      this.isQuiet = true
    }
    const states = this.machines.map((machine) => machine.toString())
    throw new Error(
      `they never get together: ${JSON.stringify(this.etcd.state)}\n${states.join('\n')}`,
    )
  }

  /** Nothing is written any more. */
  isQuiet = false

  #isEven(master: Machine): boolean {
    const log = master.simulation.log
    const all = bytesOf(log, 0, log.end)
    for (const { simulation } of this.machines) {
      if (simulation.log.end !== log.end) return false
      if (!bytesOf(simulation.log, 0, log.end).equals(all)) {
        throw new Error('the logs are of one length, and not the same')
      }
    }
    this.assertAcknowledged(master)
    return this.acknowledged.length === log.end
  }

  assertAcknowledged({ name, simulation }: Machine): void {
    const { log } = simulation
    const end = this.acknowledged.length
    if (log.end >= end && bytesOf(log, 0, end).equals(this.acknowledged)) return
    throw new Error(`${name} lacks some of ${end} bytes that were acknowledged`)
  }

  /** @throws when it may not be */
  acknowledge(machine: Machine, to: number): void {
    const { log } = machine.simulation
    if (to <= machine.acknowledgedTo) return
    const holder = this.etcd.holder
    if (holder !== undefined && holder !== machine.name) {
      throw new Error(`${machine.name} acknowledges while ${holder} holds the lease`)
    }
    const other = this.#acknowledgers.get(log.epoch) ?? machine.name
    if (other !== machine.name) throw new Error(`two acknowledge in epoch ${log.epoch}`)
    this.#acknowledgers.set(log.epoch, machine.name)
    const end = Math.min(to, log.end)
    const bytes = bytesOf(log, machine.acknowledgedTo, end)
    const known = this.acknowledged.subarray(machine.acknowledgedTo, end)
    if (!bytes.subarray(0, known.length).equals(known)) {
      throw new Error(`${machine.name} acknowledges another history than was acknowledged before`)
    }
    machine.acknowledgedTo = end
    if (end <= this.acknowledged.length) return
    this.acknowledged = Buffer.concat([this.acknowledged, bytes.subarray(known.length)])
    this.sums.acknowledged++
  }

  /** Late, lost, or overtaken by a later one. */
  send(from: Machine, to: string, deliver: (machine: Machine) => void): void {
    const machine = this.machines.find(({ name }) => name === to)
    if (machine === undefined || this.random.chance(this.lossShare)) return
    const delayMs = this.random.chance(0.1) ? this.random.int(400) : 1 + this.random.int(8)
    this.time.at(delayMs, () => {
      if (!this.cuts.has(`${from.name}${to}`)) machine.receive(() => deliver(machine))
    })
  }

  fail(error: unknown): void {
    this.failure ??= error instanceof Error ? error : new Error(String(error))
  }
}

function bytesOf(log: LogSimulation['log'], from: number, to: number): Buffer {
  const bytes = Buffer.alloc(Math.max(0, to - from))
  if (bytes.length > 0 && !log.readSync(bytes, 0, logPosition(from), bytes.length)) {
    throw new Error(`${from} to ${to} cannot be read`)
  }
  return bytes
}

class Machine {
  readonly #world: ElectionSimulation
  readonly #letter: string
  /** Of the disk that it has now. */
  name: string
  simulation: LogSimulation
  #clock: MachineClock
  #logId = 0
  #mayFound = false
  #election: Election | undefined
  #hold: AcknowledgementHold | undefined
  #follows: { readonly master: string; readonly election: number; isJoined: boolean } | undefined
  readonly #wallMs: number
  #isUp = false
  /** As master of this election, it has acknowledged everything before. */
  acknowledgedTo = 0

  constructor(world: ElectionSimulation, name: string, index: number) {
    this.#world = world
    this.#letter = name
    this.name = name
    this.#wallMs = WALL_MS + index * 977
    this.simulation = this.#newSimulation()
    this.#clock = this.#newClock()
  }

  get isReady(): boolean {
    return this.#isUp && this.#election?.isReady === true
  }

  toString(): string {
    const { log } = this.simulation
    const follows = JSON.stringify(this.#follows)
    return `${this.name}: up ${this.#isUp}, epoch ${log.epoch}, end ${log.syncedEnd}, ready ${this.isReady}, follows ${follows}`
  }

  #newSimulation(): LogSimulation {
    const seed = this.#world.random.int(2 ** 30)
    const simulation = new LogSimulation({ seed, segmentBytes: 6144 })
    simulation.clock = new FakeClock(this.#wallMs)
    return simulation
  }

  /** With an empty disk, and so as another copy. */
  #beginAnew(): void {
    this.#world.sums.fresh++
    this.die('kill', 10)
    this.name = `${this.#letter}${this.#world.sums.fresh}`
    this.simulation = this.#newSimulation()
  }

  /** Quartz and virtual machines: a few percent apart. */
  #newClock(): MachineClock {
    return new MachineClock(this.#world.time, 0.97 + this.#world.random.int(60) / 1000)
  }

  /** The log's id comes from its first opening. */
  async found(): Promise<number> {
    this.simulation.open()
    const { id } = this.simulation.log
    await this.simulation.close()
    return id
  }

  start(logId: number): void {
    this.#logId = logId
    this.#mayFound = this.name === 'a'
    this.#up()
  }

  #up(): void {
    this.#isUp = true
    this.#clock = this.#newClock()
    if (!this.#open({ logId: this.#logId, start: logPosition(0) })) return
    const { etcd, sums } = this.#world
    const coordinator = etcd.coordinatorOf(this.name)
    const log = {
      ...silentLogger,
      info: (fields: { readonly evt: string }) => {
        if (fields.evt === 'election.won') sums.elections++
      },
      error: (fields: { readonly evt: string }) => {
        if (fields.evt === 'election.disk_failed') sums.gaveWay++
      },
    }
    this.#election = new Election(
      { coordinator, copy: this.#copyOf(this.#clock), clock: this.#clock, log },
      { name: this.name, leaseMs: LEASE_MS, behindMs: BEHIND_MS, mayFound: this.#mayFound },
    )
    this.#clock.every(FETCH_MS, () => this.#safely(() => this.#fetch()))
  }

  /** What a process that died still calls does nothing. */
  #copyOf(clock: MachineClock): LocalLog {
    const alive = (): this => {
      if (clock.isDead) throw new SimulatedCrash()
      return this
    }
    return {
      get place() {
        return alive().place
      },
      follow: (master, election) => alive().#followMaster(master.name, election),
      stopFollowing: async () => alive().#stopFollowing(),
      promote: async (epoch) => alive().#promote(epoch),
      acknowledge: (to) => alive().#acknowledge(to),
      demote: async () => alive().#demote(),
    }
  }

  /** false: it does not open, and the process is gone. */
  #open(follows: Followed): boolean {
    try {
      this.simulation.open(follows)
      return true
    } catch (error) {
      const { disk } = this.simulation
      const isOfDisk =
        disk.isDown || (error instanceof Error && 'code' in error && error.code === 'EIO')
      if (!isOfDisk) this.#world.fail(error)
      this.die('power', 300)
      return false
    }
  }

  // Faults

  die(kind: 'kill' | 'power', forMs: number): void {
    if (!this.#isUp) return
    this.#world.sums.crashes++
    this.#isUp = false
    this.#clock.isDead = true
    this.#election = undefined
    this.#hold = undefined
    this.#follows = undefined
    this.simulation.restart(kind)
    for (const call of this.simulation.history.calls)
      if (call.fate === 'open') call.fate = 'refused'
    this.#world.time.at(forMs, () => this.#safely(() => this.#up()))
  }

  stop(forMs: number): void {
    this.#clock.stoppedUntilMs = this.#world.time.nowMs + forMs
  }

  failDisk(): void {
    if (!this.#isUp) return
    const { disk } = this.simulation
    if (this.#world.random.chance(0.5)) disk.crashAt(disk.calls + 1 + this.#world.random.int(20))
    else disk.failAt(disk.calls + 1 + this.#world.random.int(20), 'EIO')
  }

  /** A log that an error of the disk made read-only takes a start to go on. */
  mend(): void {
    this.stop(0)
    if (this.#isUp) this.die('kill', 10)
  }

  look(): void {
    this.#assertMaster()
    if (this.#isUp && this.simulation.disk.isDown)
      this.die(this.#world.random.pick(['kill', 'power']), 500)
  }

  /** Of two that take themselves for the master one is wrong, whatever it does. */
  #assertMaster(): void {
    if (!this.#isUp || this.#election?.election === undefined) return
    const { holder } = this.#world.etcd
    if (holder === undefined || holder === this.name) return
    throw new Error(`${this.name} takes itself for the master while ${holder} holds the lease`)
  }

  receive(fn: () => void): void {
    const waitMs = this.#clock.stoppedUntilMs - this.#world.time.nowMs
    if (waitMs > 0) this.#world.time.at(waitMs, () => this.receive(fn))
    else if (this.#isUp) this.#safely(fn)
  }

  #safely(fn: () => void): void {
    try {
      fn()
    } catch (error) {
      if (error instanceof SimulatedCrash || this.simulation.disk.isDown) return
      // The disk fails, or another history is offered: what follows is asked for again.
      if (error instanceof BrokerError) return
      this.#world.fail(error)
    }
  }

  // Writing

  write(): void {
    const { random, isQuiet } = this.#world
    if (
      isQuiet ||
      !this.isReady ||
      random.chance(0.3) ||
      this.#clock.stoppedUntilMs > this.#world.time.nowMs
    )
      return
    this.#safely(() => {
      if (!this.simulation.log.writable) return
      this.simulation.append([random.int(200)])
      this.#syncLater()
    })
  }

  #syncLater(): void {
    this.#world.time.at(this.#world.random.int(30), () => this.receive(() => this.#sync()))
  }

  #sync(): void {
    this.simulation.settle()
    if (this.#world.random.chance(0.05)) this.simulation.clock.advance(1500)
    const election = this.#election?.election
    if (election !== undefined) {
      this.#election!.confirm(this.name, election, this.simulation.log.syncedEnd)
    }
  }

  // The copy

  get place(): LocalLog['place'] {
    const { epoch, syncedEnd, disk } = this.simulation.log
    return { epoch, end: syncedEnd, disk }
  }

  #followMaster(master: string, election: number): void {
    // What this log has of a later election comes from a later master.
    if (electionOf(this.simulation.log.epoch) > election) return
    this.#follows = { master, election, isJoined: false }
  }

  #stopFollowing(): void {
    this.#follows = undefined
    this.simulation.settle()
  }

  #promote(epoch: number): void {
    this.#follows = undefined
    const { log } = this.simulation
    try {
      this.#world.assertAcknowledged(this)
    } catch (error) {
      this.#world.fail(error)
    }
    log.activate(epoch)
    this.acknowledgedTo = 0
    this.#hold = log.hold()
  }

  #acknowledge(to: number): void {
    if (this.#hold === undefined || !this.#isUp) return
    this.#hold.confirm(logPosition(to))
    try {
      this.#world.acknowledge(this, to)
    } catch (error) {
      this.#world.fail(error)
    }
  }

  /** Starts again, as a slave. */
  async #demote(): Promise<void> {
    if (this.#hold === undefined) return
    this.#hold = undefined
    await this.#reopen(undefined)
  }

  async #reopen(cut: LogPosition | undefined): Promise<void> {
    const clock = this.#clock
    await this.simulation.close()
    if (clock.isDead) return
    const follows = { logId: this.#logId, start: logPosition(0) }
    this.#open({ ...follows, ...(cut !== undefined && { cut: { to: cut } }) })
  }

  // Shipping

  #fetch(): void {
    const follows = this.#follows
    if (follows === undefined) return
    const { log } = this.simulation
    const { master, election, isJoined } = follows
    const history = isJoined ? undefined : log.history
    const fetch = { slave: this.name, election, end: log.syncedEnd, history }
    this.#world.send(this, master, (other) => other.#answer(this, fetch))
  }

  #answer(slave: Machine, { election, end, history }: Fetch): void {
    if (this.#election?.election !== election || this.#hold === undefined) return
    const { log } = this.simulation
    const common = history && lastCommon(history, log.history)
    if (history === undefined) this.#election.confirm(slave.name, election, end)
    const bytes = history === undefined ? this.#framesAt(end) : Buffer.alloc(0)
    const batch = { election, common, bytes, confirmed: log.confirmedTo }
    this.#world.send(this, slave.name, (other) => other.#take(this.name, batch, end))
  }

  #framesAt(from: number): Buffer {
    const { disk, log } = this.simulation
    const segment = log.segments().findLast(({ start }) => start <= from)
    if (segment === undefined) return Buffer.alloc(0)
    const all = disk.contentOf(`/log/${segment.name}`)
    const stop = Math.min(
      segment === log.segments().at(-1) ? log.syncedEnd : segment.end,
      log.syncedEnd,
    )
    const bytes = all.subarray(from - segment.start, Math.max(from, stop) - segment.start)
    let at = 0
    while (at < bytes.length && at < BATCH_BYTES) at += headerAt(bytes, at)?.length ?? bytes.length
    return Buffer.from(bytes.subarray(0, at))
  }

  #take(master: string, { election, common, bytes, confirmed }: Batch, end: number): void {
    const follows = this.#follows
    if (follows?.master !== master || follows.election !== election) return
    const { log } = this.simulation
    if (!follows.isJoined) {
      // Nothing shows that the logs have anything in common: some of the histories is lost.
      if (common === undefined) this.#beginAnew()
      else if (common < log.syncedEnd) this.#cut(common, follows)
      else follows.isJoined = true
      return
    }
    if (end !== log.end || bytes.length === 0) return
    for (let at = 0; at < bytes.length; ) at += log.appendFrame(bytes, at, () => {})
    this.#world.time.at(this.#world.random.int(20), () =>
      this.receive(() => {
        this.simulation.settle()
        log.wasConfirmed(logPosition(confirmed))
      }),
    )
  }

  #cut(to: LogPosition, follows: { isJoined: boolean }): void {
    this.#world.sums.cuts++
    const clock = this.#clock
    this.#reopen(to).then(
      () => {
        if (!clock.isDead) follows.isJoined = true
      },
      (error: unknown) => {
        if (!clock.isDead && !this.simulation.disk.isDown) this.#world.fail(error)
      },
    )
  }
}
