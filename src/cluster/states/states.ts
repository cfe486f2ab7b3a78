// States of the Broker port in the cluster itself: a topic that is compacted, whose records every
// gateway reads. An id belongs to one queue, so its records have one order, and that order decides.
import { createHash, randomUUID } from 'node:crypto'
import { type Clock, Slice, type Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { NewMessage, PublishResult, PullRequest, PullResult } from '../../model/message.ts'
import {
  CLAIM_HANDOVER_MS,
  type Claim,
  checkStateSize,
  claimLost,
  type State,
  type StateChange,
  type StateEntry,
  type StateGuard,
  type StateNews,
  StatePage,
  type StateVersion,
  stateConflict,
} from '../../model/state.ts'
import type { States } from '../../port/states.ts'
import { StateQueue } from './state-queue.ts'
import { ANY_VERSION, type StateRecord } from './state-record.ts'
import { encodeLayout, type StateLayout } from './state-topic.ts'
import type { Applied, Owner, StateView } from './state-view.ts'

const SOON_MS = 250
/** A gateway says so often that it lives. */
const BEAT_MS = 5_000
/** An owner that does not release is passed over; what says so may be lost. */
const TAKES_MAX = 3

interface Parts {
  readonly clock: Clock
  readonly layout: StateLayout
  publish(messages: readonly NewMessage[]): Promise<readonly PublishResult[]>
  /** One answer of the broker, as it is. */
  pull(request: PullRequest): Promise<PullResult>
  find(brokerName: string, key: string): Promise<readonly Buffer[]>
  remake(brokerName: string): Promise<boolean>
}

/** What is kept of an id until it is written. */
interface Soon {
  readonly value: Buffer
  readonly claim: Claim | undefined
}

/** A claim of this gateway. */
interface Held {
  /** Undefined once it was called. */
  lost: (() => void) | undefined
  /** While it waits for the owner before. */
  waiting?: { owned(): void; passed(): void } | undefined
  /** A newer claim came while it waited. */
  isPassed?: boolean
}

export class ClusterStates implements States {
  readonly #clock: Clock
  /** This process: claims end with it. */
  readonly #gateway = randomUUID()
  readonly #queues: readonly StateQueue[]
  readonly #soon = new Map<string, Soon>()
  readonly #held = new Map<string, Held>()
  readonly #watchers = new Set<{ prefix: string; changed: (news: StateNews) => void }>()
  readonly #freeWatchers = new Set<{ prefix: string; freed: (id: string) => void }>()
  readonly #beats: Timer
  #flushing: Timer | undefined
  #isClosed = false

  constructor({ clock, layout, publish, pull, find, remake }: Parts) {
    this.#clock = clock
    const applied = (record: StateRecord, what: Applied, queue: StateQueue): void =>
      this.#onApplied(record, what, queue)
    const freed = (id: string): void => this.#onFreed(id)
    const value = encodeLayout(layout.queues)
    const parts = {
      ...{ clock, gateway: this.#gateway, publish, pull, find, remake, applied, freed },
      renewed: (before: StateView, queue: StateQueue) => this.#onRenewed(before, queue),
      brokerNames: [...new Set(layout.queues.map(({ brokerName }) => brokerName))],
      layout: value,
    }
    this.#queues = layout.queues.map((queue) => new StateQueue(queue, parts))
    if (layout.isNew) {
      for (const queue of this.#queues) void queue.tell({ kind: 'layout', id: '', value })
    }
    this.#beats = clock.every(BEAT_MS, () => this.#beat())
    this.#beat()
  }

  async load(id: string): Promise<State | undefined> {
    checkStateSize(id, 0)
    const queue = this.#queueOf(id)
    await queue.read()
    await this.#flushOne(id)
    return queue.view.get(id)
  }

  async save(id: string, value: Uint8Array, guard?: StateGuard): Promise<StateVersion> {
    return this.#change('put', id, Buffer.from(value), guard)
  }

  async saveSoon(id: string, value: Uint8Array, claim?: Claim): Promise<void> {
    checkStateSize(id, value.length)
    const isOwned = claim === undefined || (claim.id === id && this.#isOwner(claim))
    if (!isOwned) throw claimLost(id)
    this.#soon.set(id, { value: Buffer.from(value), claim })
    this.#flushSoon()
  }

  async delete(id: string, guard?: StateGuard): Promise<void> {
    await this.#change('remove', id, EMPTY, guard)
  }

  async *list(prefix: string): AsyncIterable<readonly StateEntry[]> {
    await this.#flushAll()
    const slice = new Slice(this.#clock)
    const page = new StatePage()
    const reading = await Promise.allSettled(this.#queues.map((queue) => queue.read()))
    for (const [at, queue] of this.#queues.entries()) {
      if (reading[at]!.status === 'rejected') continue
      for (const id of [...queue.view.ids()]) {
        const state = id.startsWith(prefix) ? queue.view.get(id) : undefined
        if (slice.isOver) await slice.rest()
        if (state === undefined) continue
        page.add({ id, ...state })
        if (page.isFull) yield page.take()
      }
    }
    if (!page.isEmpty) yield page.take()
  }

  watch(prefix: string, changed: (news: StateNews) => void): Disposable {
    const watcher = { prefix, changed }
    this.#watchers.add(watcher)
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) }
  }

  async claim(id: string, lost: () => void): Promise<Claim> {
    const claim = await this.#claim('claim', id, lost)
    return claim!
  }

  claimFree(id: string, lost: () => void): Promise<Claim | undefined> {
    return this.#claim('claimFree', id, lost)
  }

  watchFree(prefix: string, freed: (id: string) => void): Disposable {
    const watcher = { prefix, freed }
    this.#freeWatchers.add(watcher)
    return { [Symbol.dispose]: () => void this.#freeWatchers.delete(watcher) }
  }

  async release(claim: Claim): Promise<void> {
    this.#held.delete(keyOf(claim.id, claim.number))
    void this.#flushOne(claim.id)
    await this.#queueOf(claim.id).append({ kind: 'release', ...claim })
  }

  /** As far as is known here. @throws ARGUMENT_INVALID, STATE_CONFLICT, CLAIM_LOST */
  check({ id, state, expected, claim }: StateChange): void {
    checkStateSize(id, state instanceof Uint8Array ? state.length : 0)
    const { view } = this.#queueOf(id)
    if (claim !== undefined && (claim.id !== id || !this.#isOwner(claim))) throw claimLost(id)
    if (expected !== undefined && expected !== view.version(id)) throw stateConflict(id)
  }

  /**
   * Before a message is stored whose state could not be written. undefined: its broker is there,
   * as far as is known. Rejects with UNREACHABLE.
   */
  untilHere(id: string): Promise<void> | undefined {
    return this.#queueOf(id).untilHere()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#beats.cancel()
    this.#flushing?.cancel()
    await this.#flushAll()
    for (const queue of this.#queues) queue.close()
  }

  /**
   * One change, in the order of the calls.
   * @throws ARGUMENT_INVALID, STATE_CONFLICT, CLAIM_LOST; it may hold after TIMED_OUT, UNREACHABLE,
   * CLOSED
   */
  async #change(
    kind: 'put' | 'remove',
    id: string,
    value: Buffer,
    guard: StateGuard = {},
  ): Promise<StateVersion> {
    checkStateSize(id, value.length)
    const { expected = ANY_VERSION, claim } = guard
    if (claim !== undefined && claim.id !== id) throw claimLost(id)
    void this.#flushOne(id)
    const number = claim?.number ?? 0
    const outcome = await this.#queueOf(id).append({ kind, id, value, expected, number })
    if (outcome.code === 'held') return outcome.version
    throw outcome.code === 'STATE_CONFLICT' ? stateConflict(id) : claimLost(id)
  }

  async #claim(
    kind: 'claim' | 'claimFree',
    id: string,
    lost: () => void,
  ): Promise<Claim | undefined> {
    checkStateSize(id, 0)
    const queue = this.#queueOf(id)
    const held: Held = { lost }
    const outcome = await queue.append({ kind, id }, (read) => {
      if (read.code === 'owned' || read.code === 'waits')
        this.#held.set(keyOf(id, read.number), held)
    })
    if (outcome.code === 'taken') return undefined
    if (outcome.code !== 'owned' && outcome.code !== 'waits') throw claimLost(id)
    const claim = { id, number: outcome.number }
    if (outcome.code === 'waits') await this.#untilOwner(queue, claim, held)
    void queue.tell({ kind: 'owned', ...claim })
    return claim
  }

  /** @throws CLAIM_LOST when a newer claim came */
  async #untilOwner(queue: StateQueue, claim: Claim, held: Held): Promise<void> {
    let tries = 0
    let giveUp = (): void => {}
    const take = this.#clock.every(CLAIM_HANDOVER_MS, () => {
      if (tries++ < TAKES_MAX) void queue.tell({ kind: 'take', ...claim })
      else giveUp()
    })
    try {
      await new Promise<void>((resolve, reject) => {
        giveUp = (): void => {
          this.#held.delete(keyOf(claim.id, claim.number))
          void queue.tell({ kind: 'release', ...claim })
          reject(notTaken(claim.id))
        }
        if (held.isPassed) return reject(claimLost(claim.id))
        if (this.#isOwner(claim)) return resolve()
        held.waiting = { owned: resolve, passed: () => reject(claimLost(claim.id)) }
      })
    } finally {
      take.cancel()
      held.waiting = undefined
    }
  }

  #onApplied(record: StateRecord, { outcome, lost, owner }: Applied, queue: StateQueue): void {
    const { id, kind, gateway } = record
    for (const claim of lost) if (claim.gateway === this.#gateway) this.#onLost(id, claim)
    if (outcome.code === 'owned' || outcome.code === 'waits') {
      // Its call was given up before it was read.
      const isKnown = this.#held.has(keyOf(id, outcome.number))
      if (gateway === this.#gateway && !isKnown) {
        void queue.tell({ kind: 'release', id, number: outcome.number })
      }
    }
    if (owner?.gateway === this.#gateway) {
      this.#held.get(keyOf(id, owner.number))?.waiting?.owned()
    }
    if (kind !== 'put' && kind !== 'remove' && kind !== 'kept') return
    if (outcome.code === 'held') this.#tell(id, queue)
    else if (gateway === this.#gateway) this.#repair(id, queue)
  }

  /** A newer claim came: one that waits is passed, the owner is asked to release the id. */
  #onLost(id: string, { number }: Owner): void {
    const held = this.#held.get(keyOf(id, number))
    if (held === undefined) return
    const { lost, waiting } = held
    if (waiting !== undefined || !this.#isOwner({ id, number })) {
      held.isPassed = true
      waiting?.passed()
      if (waiting !== undefined) this.#held.delete(keyOf(id, number))
    }
    if (waiting !== undefined) return
    held.lost = undefined
    // Never within the call that claims.
    if (lost !== undefined) setImmediate(lost)
  }

  /** States and claims that are not there any more, or others. */
  #onRenewed(before: StateView, queue: StateQueue): void {
    for (const id of new Set([...before.ids(), ...queue.view.ids()])) {
      if (before.newest(id) !== queue.view.newest(id)) this.#tell(id, queue)
    }
    for (const key of [...this.#held.keys()]) {
      const at = key.indexOf('/')
      const [number, id] = [Number(key.slice(0, at)), key.slice(at + 1)]
      if (this.#queueOf(id) === queue && !this.#isOwner({ id, number })) {
        this.#onLost(id, { number, gateway: this.#gateway })
      }
    }
  }

  #onFreed(id: string): void {
    for (const { prefix, freed } of this.#freeWatchers) if (id.startsWith(prefix)) freed(id)
  }

  #tell(id: string, queue: StateQueue): void {
    for (const { prefix, changed } of this.#watchers) {
      if (!id.startsWith(prefix)) continue
      const { view } = queue
      changed({ id, value: view.get(id)?.value, version: view.newest(id) })
    }
  }

  /** What was refused is the newest record of its key, which a compaction would keep alone. */
  #repair(id: string, queue: StateQueue): void {
    const state = queue.view.get(id)
    if (state === undefined) return
    void queue.tell({ kind: 'kept', id, number: state.version, value: state.value })
  }

  #isOwner({ id, number }: Claim): boolean {
    return this.#queueOf(id).view.owner(id)?.number === number
  }

  #queueOf(id: string): StateQueue {
    const digest = createHash('sha256').update(id).digest()
    return this.#queues[digest.readUInt32BE(0) % this.#queues.length]!
  }

  async #flushAll(): Promise<void> {
    await Promise.all([...this.#soon.keys()].map((id) => this.#flushOne(id)))
  }

  /** Never rejects: what a broker does not take now is kept, unless it was overtaken. */
  async #flushOne(id: string): Promise<void> {
    const soon = this.#soon.get(id)
    if (soon === undefined) return
    this.#soon.delete(id)
    const { value, claim } = soon
    const asked = { kind: 'put', id, value, number: claim?.number ?? 0 } as const
    await this.#queueOf(id)
      .append(asked)
      .catch(() => this.#again(id, soon))
  }

  #again(id: string, soon: Soon): void {
    if (this.#soon.has(id) || this.#isClosed) return
    this.#soon.set(id, soon)
    this.#flushSoon()
  }

  #flushSoon(): void {
    this.#flushing ??= this.#clock.after(SOON_MS, () => {
      this.#flushing = undefined
      void this.#flushAll()
    })
  }

  #beat(): void {
    for (const queue of this.#queues) void queue.tell({ kind: 'beat', id: '' })
  }
}

const EMPTY = Buffer.alloc(0)

const keyOf = (id: string, number: number): string => `${number}/${id}`

const notTaken = (id: string): BrokerError =>
  new BrokerError('TIMED_OUT', `the state '${id.slice(0, 80)}' could not be taken over in time`)
