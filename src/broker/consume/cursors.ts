// Where every group stands on every queue: committed offsets of members that read by position, and
// behind the same durable fact the place of a group that receives per message. Kept at once,
// durable soon after.
import type { Logger } from '../../log.ts'
import type { PullRequest } from '../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../model/positions.ts'
import type { Fact, MessageStore } from '../../store/store.ts'
import {
  type CursorState,
  committedOf,
  decodeCursor,
  encodeCursor,
  type Move,
} from '../facts/cursor-fact.ts'
import { FACT, type FactWriter, type LazyFact } from '../facts/fact-writer.ts'

/** A group that receives per message keeps its place itself; the cursor asks for it. */
export interface PlaceKeeper {
  /** undefined while a transfer is under way that brings its own fact. */
  state(): CursorState | undefined
  /** Everything below is settled. */
  committed(): QueueOffset
  available(): Available
  /** Settles every message below the offset. Never goes back: moving backwards is `restart`. */
  commit(offset: QueueOffset): void
  /** Forgets the deliveries in flight and goes on at the offset, forward or back. */
  restart(offset: QueueOffset): void
  readonly inFlight: number
}

/**
 * A reset of a group whose members read by position: they keep places of their own and commit them,
 * so each cursor remembers where it was moved until a reader has been sent there and commits from
 * there, also over restarts.
 */
interface Moved extends Move {
  reached: QueueOffset | undefined
  /**
   * Readers that know of it. Another one at the old place, as after a connection that broke, does
   * not yet.
   */
  readonly told: WeakSet<object>
}

/** Of the place that its sender had before the reset. */
const isLate = ({ to, reached }: Moved, offset: QueueOffset): boolean =>
  offset < to || offset > (reached ?? to)

/**
 * Up to `to` consumers that receive per message had the queue, and settled what is not listed as
 * unsettled: readers by position pass over it, and a commit within takes back nothing of it.
 */
interface Handed {
  readonly from: QueueOffset
  readonly to: QueueOffset
}

/** What a reader is to be given: nothing before, and nothing from there on. */
export interface Wanted {
  readonly from: QueueOffset
  /** undefined: no end. */
  readonly until: QueueOffset | undefined
}

/** The offsets that a group could be handed now. */
export interface Available {
  /** Waits to be handed out again; ascending. */
  readonly waiting: readonly QueueOffset[]
  /** First offset that was never handed out. */
  readonly next: QueueOffset
}

export class Cursor implements LazyFact {
  readonly group: string
  readonly topic: string
  readonly queueId: number
  /** As loaded or committed; a group that receives per message goes on from here. */
  stored: CursorState | undefined
  place: PlaceKeeper | undefined
  moved: Moved | undefined
  handed: Handed | undefined
  /** Where members began that have committed nothing yet, and may leave before they do. */
  begun: QueueOffset | undefined
  /** Its topic or group was deleted: what still holds it must not bring it back. */
  isGone = false

  constructor(group: string, topic: string, queueId: number) {
    this.group = group
    this.topic = topic
    this.queueId = queueId
  }

  get committed(): QueueOffset | undefined {
    if (this.place !== undefined) return this.place.committed()
    return this.stored && committedOf(this.stored)
  }

  /** undefined for a group that was never here. */
  get available(): Available | undefined {
    if (this.place !== undefined) return this.place.available()
    const { stored } = this
    return stored && { waiting: stored.unsettled.map(({ offset }) => offset), next: stored.next }
  }

  fact(): Fact | undefined {
    if (this.isGone) return undefined
    const state = this.place === undefined ? this.stored : this.place.state()
    return state && this.factOf(state)
  }

  factOf(state: CursorState): Fact {
    const value = this.isGone ? null : encodeCursor(state, this.#moveOf(state))
    return { kind: FACT.cursor, key: this.#key, value }
  }

  /**
   * A group that receives per message went on from where it was moved: there is nothing to follow
   * any more.
   */
  #moveOf(state: CursorState): Move | undefined {
    return committedOf(state) === this.moved?.to ? this.moved : undefined
  }

  /** Does it have a place? One that was only asked for has none. */
  get isSomewhere(): boolean {
    return this.place !== undefined || this.stored !== undefined
  }

  factGone(): Fact {
    return { kind: FACT.cursor, key: this.#key, value: null }
  }

  /** Group names have no '/', queue ids are digits: the topic may hold anything. */
  get #key(): string {
    return `${this.group}/${this.queueId}/${this.topic}`
  }
}

const KEY = /^([^/]+)\/(\d+)\/(.+)$/s

export class CursorTable {
  readonly #store: MessageStore
  readonly #facts: FactWriter
  readonly #log: Logger
  /** By group, then by topic and queue. */
  readonly #cursors = new Map<string, Map<string, Cursor[]>>()
  /** Those that have `moved`: mostly none, so that a pull asks no more than that. */
  readonly #moving = new Set<Cursor>()
  /** Those that have `handed`. */
  readonly #handed = new Set<Cursor>()

  constructor(store: MessageStore, facts: FactWriter, log: Logger) {
    this.#store = store
    this.#facts = facts
    this.#log = log
    for (const [key, value] of store.facts(FACT.cursor)) this.follow(key, value)
  }

  /** What the log says of it, which another broker may have written. */
  follow(key: string, value: Buffer | undefined): void {
    const [, group, queueId, topic] = KEY.exec(key) ?? []
    if (group === undefined || topic === undefined) {
      const text = 'a stored cursor has a key that cannot be read'
      this.#log.error({ evt: 'cursor.unreadable', key }, text)
      return
    }
    const cursor = this.at(group, topic, Number(queueId))
    if (cursor.moved !== undefined) this.#settleMove(cursor)
    this.#forgetHanded(cursor)
    cursor.stored = undefined
    if (value !== undefined) this.#load(cursor, value)
  }

  #load(cursor: Cursor, value: Uint8Array): void {
    const { state, move } = decodeCursor(value)
    cursor.stored = state
    if (move !== undefined) this.#startMove(cursor, move)
    if (state.unsettled.length > 0) this.handOver(cursor, committedOf(state))
  }

  /** The one cursor of this group on this queue. */
  at(group: string, topic: string, queueId: number): Cursor {
    let topics = this.#cursors.get(group)
    if (topics === undefined) {
      topics = new Map()
      this.#cursors.set(group, topics)
    }
    let queues = topics.get(topic)
    if (queues === undefined) {
      queues = []
      topics.set(topic, queues)
    }
    let cursor = queues[queueId]
    if (cursor === undefined) queues[queueId] = cursor = new Cursor(group, topic, queueId)
    return cursor
  }

  committed(group: string, topic: string, queueId: number): QueueOffset | undefined {
    return this.#find(group, topic, queueId)?.committed
  }

  available(group: string, topic: string, queueId: number): Available {
    const cursor = this.#find(group, topic, queueId)
    return cursor?.available ?? { waiting: [], next: this.#store.range(topic, queueId).minOffset }
  }

  /**
   * A member begins there. Returns where the group began, as long as it has committed nothing: what
   * came since is to be consumed, whichever member gets the queue.
   */
  begin(group: string, topic: string, queueId: number, offset: QueueOffset): QueueOffset {
    const cursor = this.at(group, topic, queueId)
    if (cursor.isSomewhere) return cursor.committed!
    if (cursor.begun === undefined || offset < cursor.begun) cursor.begun = offset
    return cursor.begun
  }

  /** Where the reader is to go on instead, because its group was moved: each is told once. */
  movedTo({ group, reader, topic, queueId, offset }: PullRequest): QueueOffset | undefined {
    if (this.#moving.size === 0 || group === undefined || reader === undefined) return undefined
    const cursor = this.#find(group, topic, queueId)
    const moved = cursor?.moved
    if (cursor === undefined || moved === undefined) return undefined
    const isElsewhere = isLate(moved, offset)
    // A member that receives per message took the group on, or a reader that knows of the move went
    // on elsewhere.
    if (cursor.committed !== moved.to || (isElsewhere && moved.told.has(reader))) {
      this.#settleMove(cursor)
      this.#facts.mark(cursor)
      return undefined
    }
    moved.told.add(reader)
    this.#reach(cursor, moved, moved.to)
    return isElsewhere ? moved.to : undefined
  }

  /** The reader was given everything from its offset to below `next`. */
  given({ group, topic, queueId, offset }: PullRequest, next: QueueOffset): void {
    if (this.#moving.size === 0 || group === undefined) return
    const cursor = this.#find(group, topic, queueId)
    const moved = cursor?.moved
    if (cursor === undefined || moved?.reached === undefined || isLate(moved, offset)) return
    this.#reach(cursor, moved, next)
  }

  /** The group's consumers per message had the queue from there on. */
  handOver(cursor: Cursor, from: QueueOffset): void {
    const to = cursor.stored?.next
    if (to === undefined || from >= to) return
    cursor.handed = { from, to }
    this.#handed.add(cursor)
  }

  /** What a reader of the group at this offset is to be given; undefined: everything. */
  wanted({ group, topic, queueId }: PullRequest, offset: QueueOffset): Wanted | undefined {
    if (this.#handed.size === 0 || group === undefined) return undefined
    const cursor = this.#find(group, topic, queueId)
    const { handed, stored, place } = cursor ?? {}
    if (handed === undefined || stored === undefined || place !== undefined) return undefined
    if (offset < handed.from || offset >= handed.to) return undefined
    const at = stored.unsettled.findIndex((entry) => entry.offset >= offset)
    const from = stored.unsettled[at]?.offset ?? handed.to
    let until = from
    for (let i = at; stored.unsettled[i]?.offset === until; i++) until = queueOffset(until + 1)
    return { from, until: until >= handed.to ? undefined : until }
  }

  /**
   * True for a group that receives per message. A late commit of a place before a reset changes
   * nothing.
   */
  commit(group: string, topic: string, queueId: number, offset: QueueOffset): boolean {
    const cursor = this.at(group, topic, queueId)
    const { place, stored, moved, handed } = cursor
    let isSettled = false
    if (moved !== undefined && place === undefined) {
      if (isLate(moved, offset)) return false
      isSettled = moved.reached !== undefined
      if (isSettled) this.#settleMove(cursor)
    }
    if (place !== undefined) place.commit(offset)
    else if (handed !== undefined && offset >= handed.from && offset < handed.to) {
      const { next, unsettled } = stored!
      cursor.stored = { next, unsettled: unsettled.filter((entry) => entry.offset >= offset) }
    } else if (stored?.next === offset && stored.unsettled.length === 0 && !isSettled) return false
    else {
      cursor.stored = { next: offset, unsettled: [] }
      this.#forgetHanded(cursor)
    }
    this.#facts.mark(cursor)
    // Where a group starts must be in the log before the messages that come after.
    if (stored === undefined) void this.#facts.writeFirst([cursor])
    return place !== undefined
  }

  async reset(group: string, topic: string, queueId: number, offset: QueueOffset): Promise<void> {
    const cursor = this.at(group, topic, queueId)
    if (cursor.place !== undefined) cursor.place.restart(offset)
    else this.#startMove(cursor, { to: offset, reached: undefined })
    cursor.stored = { next: offset, unsettled: [] }
    this.#forgetHanded(cursor)
    const fact = cursor.fact()
    if (fact === undefined) this.#facts.mark(cursor)
    else await this.#facts.write([fact])
  }

  async byTime(
    topic: string,
    queueId: number,
    timestampMs: number,
    boundary: 'lower' | 'upper',
  ): Promise<QueueOffset> {
    const { minOffset } = this.#store.range(topic, queueId)
    if (boundary === 'lower') return this.#store.offsetByTime(topic, queueId, timestampMs)
    const after = await this.#store.offsetByTime(topic, queueId, timestampMs + 1)
    return queueOffset(Math.max(minOffset, after - 1))
  }

  /** Topics that the group has cursors on, each with the number of queues up to the last one. */
  *topicsOf(group: string): Generator<readonly [topic: string, queues: number]> {
    for (const [topic, cursors] of this.#cursors.get(group) ?? []) {
      if (cursors.some((cursor) => cursor?.isSomewhere)) yield [topic, cursors.length]
    }
  }

  /** Forgets a deleted topic; the facts that make it durable, to be read when they are written. */
  dropTopic(topic: string): Iterable<Fact> {
    const dropped: Cursor[] = []
    for (const topics of this.#cursors.values()) {
      for (const cursor of topics.get(topic) ?? []) if (cursor !== undefined) dropped.push(cursor)
      topics.delete(topic)
    }
    return this.#drop(dropped)
  }

  /**
   * The same of all topics that are no more: a deletion that a crash cut off did not get to their
   * places.
   */
  dropOrphans(isThere: (topic: string) => boolean): Fact[] {
    const names = new Set<string>()
    for (const topics of this.#cursors.values()) {
      for (const topic of topics.keys()) if (!isThere(topic)) names.add(topic)
    }
    return [...names].flatMap((topic) => [...this.dropTopic(topic)])
  }

  dropGroup(group: string): Iterable<Fact> {
    const dropped: Cursor[] = []
    for (const cursors of this.#cursors.get(group)?.values() ?? []) {
      for (const cursor of cursors) if (cursor !== undefined) dropped.push(cursor)
    }
    this.#cursors.delete(group)
    return this.#drop(dropped)
  }

  #find(group: string, topic: string, queueId: number): Cursor | undefined {
    return this.#cursors.get(group)?.get(topic)?.[queueId]
  }

  #drop(dropped: readonly Cursor[]): Iterable<Fact> {
    for (const cursor of dropped) {
      if (cursor.moved !== undefined) this.#settleMove(cursor)
      this.#forgetHanded(cursor)
      cursor.isGone = true
    }
    return this.#dropFacts(dropped)
  }

  /** Much later perhaps: what was made again under the name has a place of its own by then. */
  *#dropFacts(dropped: readonly Cursor[]): Generator<Fact> {
    for (const cursor of dropped) {
      const again = this.#find(cursor.group, cursor.topic, cursor.queueId)
      if (again?.isSomewhere !== true) yield cursor.factGone()
      else {
        const fact = again.fact()
        if (fact !== undefined) yield fact
      }
    }
  }

  #startMove(cursor: Cursor, move: Move): void {
    cursor.moved = { ...move, told: new WeakSet() }
    this.#moving.add(cursor)
  }

  #reach(cursor: Cursor, moved: Moved, offset: QueueOffset): void {
    if (moved.reached !== undefined && offset <= moved.reached) return
    moved.reached = offset
    this.#facts.mark(cursor)
  }

  #forgetHanded(cursor: Cursor): void {
    if (cursor.handed === undefined) return
    cursor.handed = undefined
    this.#handed.delete(cursor)
  }

  #settleMove(cursor: Cursor): void {
    cursor.moved = undefined
    this.#moving.delete(cursor)
  }
}
