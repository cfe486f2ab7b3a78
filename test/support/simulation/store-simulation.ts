// The real store on a simulated disk and key-value store, driven by a seed: lives of random groups,
// reads, time and trouble, each ended by a crash at a chosen call or a clean close, and compared
// with the model.
import { BrokerError } from '../../../src/errors.ts'
import { ROUNDS_MAX, roundAt, roundsOf } from '../../../src/model/due-rounds.ts'
import { NO_HOST } from '../../../src/model/host.ts'
import { lightQueueTopic } from '../../../src/model/names.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { encodeProperties, PROPERTY } from '../../../src/model/properties.ts'
import { checkRecord, RecordView, recordsOf } from '../../../src/model/record.ts'
import type { FlushMode } from '../../../src/store/log/commit-log.ts'
import { type FollowedStore, openStoreIn } from '../../../src/store/open.ts'
import type { DueEntry, Fact, MessageStore, StoreDraft } from '../../../src/store/store.ts'
import { LogLines } from '../log-lines.ts'
import { Random } from '../random.ts'
import { draft } from '../store/store-contents.ts'
import { MemoryPlace } from './memory-key-value.ts'
import { SimulatedCrash, SimulatedDisk } from './simulated-disk.ts'
import { busyClock, SimulatedProcess, turn } from './simulated-process.ts'
import { SimulatedTurns } from './simulated-turns.ts'
import {
  type Entry,
  type ModelFact,
  type ModelGroup,
  type ModelMessage,
  type Shown,
  StoreModel,
} from './store-model.ts'

export interface StoreSimulationOptions {
  readonly seed: number
  readonly flush?: FlushMode
  /** Segments go by age and size. */
  readonly hasRetention?: boolean
  /** Entries of the key-value store vanish or rot, and its batches fail. */
  readonly hasRot?: boolean
}

type Fate = 'open' | 'acknowledged' | 'refused'

interface Call {
  readonly group: ModelGroup
  fate: Fate
}

/** The last one is used now and then only: retention takes all of it. */
const TOPICS = ['A', 'B', '%RETRY%g', 'C']
const QUEUES = 2
const FILTERS = ['A', '+/t1', '#']
const KEYS = ['k0', 'k1', 'k2']
const MINUTE_MS = 60_000
const START_MS = 1_700_000_000_000
/** Of the wall clock; the first is none. */
const SETTINGS_MS = [0, START_MS, START_MS + 30 * MINUTE_MS, START_MS + 500 * MINUTE_MS]
/** So many without anything due, and work that rests for a real turn has had two. */
const QUIET_TURNS = 130

export class StoreSimulation {
  readonly #options: StoreSimulationOptions
  readonly #random: Random
  readonly #turns: SimulatedTurns
  readonly #place: MemoryPlace
  readonly disk: SimulatedDisk
  clock = busyClock()
  lines = new LogLines()
  #process: SimulatedProcess
  #store: MessageStore | undefined
  /** Groups that are in the log for sure, oldest first. */
  #kept: ModelGroup[] = []
  /** Of this life, in order. */
  #calls: Call[] = []
  #count = 0
  crashes = 0
  drops = 0

  constructor(options: StoreSimulationOptions) {
    this.#options = options
    this.#random = new Random(options.seed)
    this.#turns = new SimulatedTurns(new Random(options.seed + 1))
    const random = new Random(options.seed + 2)
    const { inPool } = this.#turns
    this.disk = new SimulatedDisk({ random, inPool })
    this.#place = new MemoryPlace({ random, inPool })
    this.#process = new SimulatedProcess(this.disk)
  }

  get store(): MessageStore {
    if (this.#store === undefined) throw new Error('no store is open')
    return this.#store
  }

  /** Runs `life`; true when the planned crash ended it. */
  async survive(life: () => Promise<void>): Promise<boolean> {
    try {
      await life()
      return this.disk.isDown
    } catch (error) {
      if (this.disk.isDown || error instanceof SimulatedCrash) return true
      throw error
    }
  }

  /** `follows`: as a replica. */
  async open(follows?: FollowedStore): Promise<void> {
    const { flush = 'sync', hasRetention = false } = this.#options
    this.disk.makeDirectory('/log')
    const process = this.#process
    this.#store = await this.wait(
      openStoreIn({
        logPath: '/log',
        viewsPath: '/views',
        disk: process.disk,
        place: this.#place,
        clock: this.clock,
        log: this.lines,
        storeHost: NO_HOST,
        flush,
        ...(follows !== undefined && { follows }),
        closed() {},
        segmentBytes: 12_288,
        retentionMs: hasRetention ? 10 * MINUTE_MS : Number.MAX_SAFE_INTEGER,
        ...(hasRetention && { retentionBytes: 40_000 }),
        cachedBlocksMax: 6,
        flushEntries: 24,
        logOptions: {
          endOfTurn: (fn) => {
            if (!process.isDead) this.#turns.endOfTurn(fn)
          },
          frameBytesMax: 8192,
          tailBytesMax: 24_576,
          unsyncedBytesMax: 32_768,
          aheadBytes: 2048,
          fillPieceBytes: 2048,
          reserveBytes: 0,
        },
      }),
    )
  }

  /** The value, while the simulation goes on. @throws SimulatedCrash */
  async wait<T>(promise: T | Promise<T>): Promise<T> {
    let isDone = false
    const done = Promise.resolve(promise).finally(() => {
      isDone = true
    })
    done.catch(() => {})
    for (let i = 0, quiet = 0; !isDone; i++) {
      if (this.disk.isDown) throw new SimulatedCrash()
      if (i > 100_000) throw new Error('the simulation never comes to rest')
      quiet = this.#turns.step() ? 0 : quiet + 1
      // The rest waits for the clock, as a build of the views does that is tried again.
      if (quiet % QUIET_TURNS === QUIET_TURNS - 1) this.clock.advance(500)
      await turn()
    }
    return done
  }

  async act(steps: number): Promise<void> {
    for (let i = 0; i < steps; i++) {
      await this.#act()
      if (this.disk.isDown) throw new SimulatedCrash()
    }
  }

  /** Until nothing is due. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_TURNS; ) {
      quiet = this.#turns.step() ? 0 : quiet + 1
      await turn()
      if (this.disk.isDown) throw new SimulatedCrash()
    }
  }

  async close(): Promise<void> {
    this.#place.failures = 0
    await this.wait(this.store.close())
  }

  /** After a crash: what the process knew is gone. */
  restart(kind: 'kill' | 'power'): void {
    this.crashes++
    this.#turns.drop()
    this.#store = undefined
    this.#process.die()
    this.#process = new SimulatedProcess(this.disk)
    this.clock = busyClock(this.clock.now())
    this.#place.crash(kind)
    this.#place.failures = 0
    this.disk.restart(kind)
    if (this.#options.hasRot && this.#random.chance(0.5)) this.#place.rot()
    if (this.#options.hasRetention && this.#random.chance(0.3)) this.#place.wipe()
    for (const call of this.#calls) {
      const mayLose = this.#options.flush === 'async' && kind === 'power'
      if (call.fate === 'acknowledged' && mayLose) call.fate = 'open'
    }
  }

  /**
   * Goes on with what another store was asked for, as its promoted replica: with what had become of
   * that by now.
   */
  inherit(master: StoreSimulation): void {
    this.#kept = master.#kept
    this.#calls = master.#calls.map((call) => ({ ...call }))
    this.#count = master.#count
  }

  /** Builds of the views and retention come to their end: what is shown is of one moment. */
  async rest(): Promise<void> {
    this.#place.failures = 0
    for (; this.store.status().isRebuilding; await this.settle()) this.clock.advance(MINUTE_MS)
    await this.settle()
  }

  /** Compares what the store shows with the groups that must, and those that may, be there. */
  async judge(): Promise<void> {
    const earlier = this.#calls
    this.#calls = []
    const probe = await this.#probe()
    if (this.#options.flush === 'async') await this.#passWindow()
    await this.rest()
    const shown = await this.#look()
    const surely = earlier.filter(({ fate }) => fate === 'acknowledged').length
    const maybe = earlier.filter(({ fate }) => fate !== 'refused').map(({ group }) => group)
    const differences: string[] = []
    for (let count = surely; count <= maybe.length; count++) {
      const groups = [...this.#kept, ...maybe.slice(0, count), probe]
      const difference = StoreModel.of(groups).differenceTo(shown)
      if (difference === undefined) {
        this.#kept = groups
        this.#calls = []
        return
      }
      differences.push(`with ${count} of ${maybe.length}: ${difference}`)
    }
    throw new Error(`what the store shows fits no history:\n${differences.join('\n')}`)
  }

  /** From here on a power cut must not take what is there. */
  async #passWindow(): Promise<void> {
    this.clock.advance(200)
    await this.settle()
  }

  /** Messages that every filter sees, so that each binding shows. */
  async #probe(): Promise<ModelGroup> {
    const number = this.#count++
    const messages = [undefined, 't1'].map((tag, i) => ({
      id: `p${number}m${i}`,
      topic: 'A',
      queueId: 0,
      tag,
      key: 'k0',
      dueMs: undefined,
    }))
    const drafts = messages.map((message) => this.#draftOf(message))
    await this.wait(this.store.append({ messages: drafts }))
    return { ...NOTHING, messages }
  }

  async #act(): Promise<void> {
    const random = this.#random
    const choice = random.int(100)
    if (choice < 40) this.#append()
    else if (choice < 46) this.#bindOrUnbind(random.pick(FILTERS))
    else if (choice < 48) this.#call({ ...NOTHING, drop: random.pick(TOPICS) })
    else if (choice < 52) await this.#fire()
    else if (choice < 88) await this.steps(random.int(8))
    else if (choice < 97) this.clock.advance(random.pick([10, 250, 1500, 20_000]))
    else if (choice < 98) this.#passTime()
    else if (choice < 99) await this.wait(Promise.resolve(this.#readSome()))
    else this.#trouble()
  }

  /** A minute, and now and then the wall clock is set. */
  #passTime(): void {
    if (this.#random.chance(0.5)) this.clock.jump(this.#random.pick(SETTINGS_MS) - this.clock.now())
    this.clock.advance(MINUTE_MS)
  }

  async steps(count: number): Promise<void> {
    for (let i = 0; i <= count; i++) {
      this.#turns.step()
      await turn()
    }
  }

  #trouble(): void {
    if (!this.#options.hasRot) return
    if (this.#random.chance(0.5)) this.#place.failures = 1 + this.#random.int(2)
    else this.#place.rot()
  }

  async #readSome(): Promise<void> {
    const topic = this.#random.pick([
      ...TOPICS,
      ...FILTERS.map((filter) => lightQueueTopic(filter)),
    ])
    await this.store.read({
      topic,
      queueId: 0,
      offset: this.store.range(topic, 0).minOffset,
      maxMessages: 5,
      maxBytes: 1000,
      hashes: undefined,
    })
  }

  #append(): void {
    const random = this.#random
    const number = this.#count++
    const messages: ModelMessage[] = []
    for (let i = random.int(4); i >= 0; i--) messages.push(this.#message(`g${number}m${i}`))
    const facts: ModelFact[] = Array.from({ length: random.int(3) }, (_, i) => ({
      key: `f${random.int(8)}-${i}`,
      value: random.chance(0.3) ? null : `v${number}`,
    }))
    if (random.chance(0.2)) {
      this.#call({ ...NOTHING, messages: [], facts })
      return
    }
    const message = random.int(messages.length)
    const key = `f${random.int(8)}-0`
    if (random.chance(0.3)) facts.push({ key, value: messages[message]!.id, message })
    this.#call({ ...NOTHING, messages, facts })
  }

  /** Only what changes something: the store answers anything else at once, and out of order. */
  #bindOrUnbind(filter: string): void {
    const groups = [...this.#kept, ...this.#calls.map(({ group }) => group)]
    const last = groups.findLast(({ bind, unbind }) => bind === filter || unbind === filter)
    const call = this.#calls.find(({ group }) => group === last)
    if (call !== undefined && call.fate !== 'acknowledged') return
    const isBound = last?.bind !== undefined
    const facts = [{ key: `bound ${filter}`, value: isBound ? null : 'v' }]
    this.#call({ ...NOTHING, facts, ...(isBound ? { unbind: filter } : { bind: filter }) })
  }

  #message(id: string): ModelMessage {
    const random = this.#random
    const tag = random.pick([undefined, 't1', 't2'])
    const isParked = random.chance(0.15)
    const dueMs = this.clock.now() + random.pick([500, 5000, 200_000, 4_000_000])
    return {
      id,
      topic: random.chance(0.02) ? 'C' : random.pick(TOPICS.slice(0, 3)),
      queueId: random.int(QUEUES),
      tag,
      key: random.pick(KEYS),
      dueMs: isParked ? dueMs : undefined,
    }
  }

  async #fire(): Promise<void> {
    const [entry] = this.store.due(this.clock.now(), 1)
    const record = entry && (await this.wait(this.store.readAt(entry.position)))
    if (entry === undefined || record === undefined || !this.store.waits(entry)) return
    const id = idOf(new RecordView(record))
    const message: ModelMessage = {
      id: `${id}-fired`,
      topic: 'A',
      queueId: 0,
      tag: undefined,
      key: 'k0',
      dueMs: undefined,
    }
    const isFired = this.#calls.some(({ group }) => group.fired.includes(id))
    if (isFired) return
    const isPutOff = this.#calls.some(({ group }) => group.putOff?.id === id)
    if (!isPutOff && this.#random.chance(0.5)) return this.#putOff(id, entry, record)
    const call = this.#expect({ ...NOTHING, messages: [message], fired: [id] })
    this.#follow(call, this.store.append({ messages: [this.#draftOf(message)], fired: [entry] }))
  }

  #putOff(id: string, entry: DueEntry, record: Buffer): void {
    const view = new RecordView(record)
    const firstMs = Number(view.property(PROPERTY.dueMs))
    if (roundAt(firstMs, roundsOf(view)!, entry.dueMs) >= ROUNDS_MAX) return
    const dueMs = entry.dueMs + PERIOD_MS
    const call = this.#expect({ ...NOTHING, putOff: { id, dueMs } })
    this.#follow(call, this.store.append({ messages: [], putOff: [{ entry, dueMs }] }))
  }

  #call(group: ModelGroup): void {
    const { messages, facts, bind, unbind, drop } = group
    if (messages.length + facts.length === 0 && !bind && !unbind && !drop) return
    const call = this.#expect(group)
    const { store } = this
    if (bind !== undefined) this.#follow(call, store.bindLightQueue(bind, true, facts.map(factOf)))
    else if (unbind !== undefined) {
      this.#follow(call, store.unbindLightQueue(unbind, true, facts.map(factOf)))
    } else if (drop !== undefined) this.#follow(call, store.dropQueues(drop, facts.map(factOf)))
    else {
      const drafts = messages.map((message) => this.#draftOf(message))
      const written = facts.map((fact) =>
        fact.message === undefined
          ? factOf(fact)
          : { kind: 'f', key: fact.key, message: fact.message },
      )
      this.#follow(call, store.append({ messages: drafts, facts: written }))
    }
  }

  #expect(group: ModelGroup): Call {
    const call: Call = { group, fate: 'open' }
    this.#calls.push(call)
    return call
  }

  #follow(call: Call, promise: Promise<unknown>): void {
    const process = this.#process
    promise.then(
      () => {
        if (!process.isDead && !this.disk.isDown) call.fate = 'acknowledged'
      },
      (error: unknown) => {
        if (process.isDead || this.disk.isDown) return
        if (!(error instanceof BrokerError) || !error.retryable) throw error
        call.fate = 'refused'
      },
    )
  }

  #draftOf({ id, topic, queueId, tag, key, dueMs }: ModelMessage): StoreDraft {
    const tags = tag === undefined ? [] : [['TAGS', tag] as const]
    const properties = encodeProperties([...tags, ['KEYS', `${key} x`]])
    const body = `${id} ${'.'.repeat(this.#random.int(200))}`
    if (dueMs === undefined) return draft(topic, body, { queueId, properties })
    const rounds = { periodMs: PERIOD_MS, round: 0 }
    return draft(topic, body, { queueId, properties, dueMs, rounds })
  }

  async #look(): Promise<Shown> {
    const queues = new Map<string, { min: number; max: number; entries: Entry[] }>()
    for (const topic of TOPICS) {
      for (let id = 0; id < QUEUES; id++)
        queues.set(`${topic}/${id}`, await this.#entries(topic, id))
    }
    for (const filter of FILTERS) {
      const topic = lightQueueTopic(filter)
      queues.set(`${topic}/0`, await this.#entries(topic, 0))
    }
    const parked: string[] = []
    for (const { dueMs, position } of this.store.due(Number.MAX_SAFE_INTEGER, 10_000)) {
      const record = await this.wait(this.store.readAt(position))
      if (record !== undefined && this.store.isDropped(new RecordView(record))) continue
      parked.push(`${dueMs} ${record === undefined ? 'nothing' : idOf(new RecordView(record))}`)
    }
    const keyed = new Map<string, readonly string[]>()
    for (const topic of TOPICS) {
      for (const key of KEYS) {
        // Whatever the clock said when it was stored: up to now is everything.
        const upToNow = { max: 10_000, toMs: this.clock.now() }
        const found = await this.wait(this.store.findByKey(topic, key, upToNow))
        keyed.set(
          `${topic} ${key}`,
          found.map((record) => idOf(new RecordView(record))),
        )
      }
    }
    const facts = new Map([...this.store.facts('f')].map(([key, value]) => [key, shownFact(value)]))
    const { damagedRecords, damage } = this.store.status()
    if (damagedRecords > 0) throw new Error(`${damagedRecords} records are damaged`)
    if (damage.length > 0) throw new Error(`${damage[0]!.reason} at ${damage[0]!.from}`)
    const isWhole = !this.#options.hasRetention
    return { isWhole, queues, facts, parked, keyed }
  }

  async #entries(topic: string, queueId: number) {
    const entries: Entry[] = []
    const { minOffset: min, maxOffset: max } = this.store.range(topic, queueId)
    for (let offset: number = min; offset < max; ) {
      const result = await this.wait(
        Promise.resolve(
          this.store.read({
            topic,
            queueId,
            offset: queueOffset(offset),
            maxMessages: 1 + this.#random.int(40),
            maxBytes: 10_000,
            hashes: undefined,
          }),
        ),
      )
      const records = [...recordsOf(result.records)]
      for (const [i, record] of records.entries()) {
        entries.push({ offset: result.offsets[i]!, id: idOf(record) })
      }
      if (result.nextOffset <= offset) throw new Error(`${topic} does not go on at ${offset}`)
      offset = result.nextOffset
    }
    return { min, max, entries }
  }
}

/** Rounds of parked messages. */
const PERIOD_MS = 700

const NOTHING: ModelGroup = { messages: [], facts: [], fired: [] }

const factOf = ({ key, value }: ModelFact): Fact => ({
  kind: 'f',
  key,
  value: value === null ? null : Buffer.from(value),
})

/** A record's size never begins with a letter. */
function shownFact(value: Buffer): string {
  if (value[0] !== 0) return value.toString()
  const isWhole = checkRecord(value, 0, value.length, true) === value.length
  return isWhole ? idOf(new RecordView(value)) : 'a broken record'
}

const idOf = (record: RecordView): string => record.body.toString().split(' ')[0]!
