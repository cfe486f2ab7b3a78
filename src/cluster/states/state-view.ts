// What the records of one queue of the state topic come to, read in their order. Every gateway
// reads the same records, so all of them come to the same: which change held, whose an id is.
import type { ErrorCode } from '../../errors.ts'
import { NO_STATE, type State, type StateVersion } from '../../model/state.ts'
import { LEASE_MS } from './silence.ts'
import { ANY_VERSION, type StateRecord } from './state-record.ts'

/**
 * More time than that between two records is a time without the queue's broker, in which no gateway
 * could be heard.
 */
const STEP_MS_MAX = 10_000
/** What is gone is remembered so long, for records that were meant to repeat what was before. */
const FORGOTTEN_MS = 600_000

/** All that a view is, as records that would bring it about. */
export interface ViewImage {
  readonly nowMs: number
  readonly seenMs: number
  readonly heard: readonly (readonly [gateway: string, atMs: number])[]
  readonly entries: readonly StateRecord[]
}

/** A claim by its number, and the process that made it. */
export interface Owner {
  readonly number: number
  readonly gateway: string
}

interface Entry {
  value: Buffer | undefined
  /** Of the value, or of its removal. */
  version: number
  owner: Owner | undefined
  /** The last one that waits until the owner has released the id. */
  waiting: Owner | undefined
}

/** What became of a record. */
export type StateOutcome =
  | { readonly code: Extract<ErrorCode, 'STATE_CONFLICT' | 'CLAIM_LOST'> }
  | { readonly code: 'held'; readonly version: StateVersion }
  /** A claim that has the id, has to wait for it, or found it owned. */
  | { readonly code: 'owned' | 'waits' | 'taken'; readonly number: number }

export interface Applied {
  readonly outcome: StateOutcome
  /** Claims that another one has passed or followed. */
  readonly lost: readonly Owner[]
  /** The one that waited and has the id now. */
  readonly owner?: Owner | undefined
}

export class StateView {
  readonly #entries = new Map<string, Entry>()
  /** When each gateway was last heard of, by the queue's times. */
  readonly #heardMs: Map<string, number>
  /** States that are gone, and since when; the oldest first. */
  readonly #gone: Map<string, number>
  /** The queue's time, without what its broker was away. */
  #nowMs: number
  #seenMs: number

  constructor(image?: ViewImage) {
    this.#nowMs = image?.nowMs ?? 0
    this.#seenMs = image?.seenMs ?? 0
    this.#heardMs = new Map(image?.heard)
    const gone: [string, number][] = []
    for (const { kind, id, number, expected, gateway, value } of image?.entries ?? []) {
      const entry = this.#entry(id)
      if (kind === 'owned') entry.owner = { number, gateway }
      else if (kind === 'claim') entry.waiting = { number, gateway }
      else entry.version = number
      if (kind === 'kept') entry.value = value
      if (kind === 'remove' && expected > 0) gone.push([id, expected])
    }
    this.#gone = new Map(gone.sort(([, one], [, other]) => one - other))
  }

  /** What was given out stays as it is. */
  image(): ViewImage {
    const entries: StateRecord[] = []
    const none = { gateway: '', nonce: 0, number: 0, expected: 0, value: EMPTY }
    for (const [id, { value, version: number, owner, waiting }] of this.#entries) {
      if (value !== undefined) entries.push({ ...none, kind: 'kept', id, number, value })
      else {
        const expected = this.#gone.get(id) ?? 0
        entries.push({ ...none, kind: 'remove', id, number, expected })
      }
      if (owner !== undefined) entries.push({ ...none, kind: 'owned', id, ...owner })
      if (waiting !== undefined) entries.push({ ...none, kind: 'claim', id, ...waiting })
    }
    return { nowMs: this.#nowMs, seenMs: this.#seenMs, heard: [...this.#heardMs], entries }
  }

  /** Of the gateways that live, is it the first? */
  isFirst(gateway: string): boolean {
    const living = [...this.#heardMs.keys()].filter((name) => this.#isAlive(name))
    return living.every((name) => gateway <= name)
  }

  get size(): number {
    return this.#entries.size
  }

  get(id: string): State | undefined {
    const entry = this.#entries.get(id)
    if (entry?.value === undefined) return undefined
    return { value: entry.value, version: entry.version as StateVersion }
  }

  /** Of the value, or of what is not there. */
  version(id: string): StateVersion {
    return this.get(id)?.version ?? NO_STATE
  }

  /** The newest that is known of it, its removal too. */
  newest(id: string): StateVersion {
    return (this.#entries.get(id)?.version ?? NO_STATE) as StateVersion
  }

  owner(id: string): Owner | undefined {
    const owner = this.#entries.get(id)?.owner
    return owner !== undefined && this.#isAlive(owner.gateway) ? owner : undefined
  }

  *ids(): Generator<string> {
    for (const [id, { value }] of this.#entries) if (value !== undefined) yield id
  }

  /** States that are there and whose last owner was that gateway; undefined: that have none. */
  *leftBy(gateway: string | undefined): Generator<string> {
    for (const [id, { value, owner }] of this.#entries) {
      if (value !== undefined && owner?.gateway === gateway) yield id
    }
  }

  /** Is it there, and is no gateway its owner, or waits to be? */
  isFree(id: string): boolean {
    const { value, waiting } = this.#entries.get(id) ?? {}
    return value !== undefined && waiting === undefined && this.owner(id) === undefined
  }

  /** By the queue's own times. */
  get nowMs(): number {
    return this.#nowMs
  }

  /** The newest of the queue's store times. */
  get seenMs(): number {
    return this.#seenMs
  }

  /** @param number the record's place in its queue, counted from 1 */
  apply(record: StateRecord, number: number, storeMs: number): Applied {
    if (this.#seenMs === 0) this.#nowMs = storeMs
    else this.#nowMs += Math.min(Math.max(0, storeMs - this.#seenMs), STEP_MS_MAX)
    this.#seenMs = Math.max(this.#seenMs, storeMs)
    this.#heardMs.set(record.gateway, this.#nowMs)
    const applied = this.#apply(record, number)
    this.#forget(record.id)
    return applied
  }

  #apply(record: StateRecord, number: number): Applied {
    switch (record.kind) {
      case 'put':
      case 'remove':
        return { outcome: this.#change(record, number), lost: [] }
      case 'kept':
        return this.#keep(record)
      case 'claim':
      case 'claimFree':
        return this.#claim(record, number)
      case 'take':
        return this.#take(record)
      case 'release':
        return this.#release(record)
      case 'owned':
        return this.#confirm(record)
      case 'beat':
      case 'layout':
      case 'snapshot':
      case 'snapshotEnd':
        return { outcome: { code: 'held', version: NO_STATE }, lost: [] }
    }
  }

  /** What is gone for long, and gateways that were not heard for as long. */
  #forget(id: string): void {
    const entry = this.#entries.get(id)
    this.#gone.delete(id)
    if (entry !== undefined && isGone(entry)) this.#gone.set(id, this.#nowMs)
    const sinceMs = this.#nowMs - FORGOTTEN_MS
    for (const [gone, atMs] of this.#gone) {
      if (atMs >= sinceMs) break
      this.#gone.delete(gone)
      this.#entries.delete(gone)
    }
    for (const [gateway, atMs] of this.#heardMs) {
      if (atMs >= sinceMs) continue
      this.#heardMs.delete(gateway)
      this.#disown(gateway)
    }
  }

  #disown(gateway: string): void {
    for (const [id, entry] of this.#entries) {
      if (entry.owner?.gateway === gateway) entry.owner = undefined
      if (entry.waiting?.gateway === gateway) entry.waiting = undefined
      if (isGone(entry) && !this.#gone.has(id)) this.#gone.set(id, this.#nowMs)
    }
  }

  #entry(id: string): Entry {
    let entry = this.#entries.get(id)
    if (entry === undefined) {
      entry = { value: undefined, version: NO_STATE, owner: undefined, waiting: undefined }
      this.#entries.set(id, entry)
    }
    return entry
  }

  #isAlive(gateway: string): boolean {
    return this.#nowMs - (this.#heardMs.get(gateway) ?? Number.NEGATIVE_INFINITY) <= LEASE_MS
  }

  #change({ kind, id, number: claim, expected, value }: StateRecord, number: number): StateOutcome {
    const entry = this.#entry(id)
    if (claim !== 0 && entry.owner?.number !== claim) return { code: 'CLAIM_LOST' }
    if (expected !== ANY_VERSION && expected !== this.version(id)) return { code: 'STATE_CONFLICT' }
    entry.value = kind === 'put' ? value : undefined
    entry.version = number
    return { code: 'held', version: number as StateVersion }
  }

  /** News only to a reader that compaction has left without the record that it repeats. */
  #keep({ id, number: version, value }: StateRecord): Applied {
    const entry = this.#entry(id)
    if (version > entry.version) {
      entry.value = value
      entry.version = version
    }
    return { outcome: { code: 'held', version: version as StateVersion }, lost: [] }
  }

  #claim({ kind, id, gateway }: StateRecord, number: number): Applied {
    const entry = this.#entry(id)
    const claim = { number, gateway }
    const owner = this.owner(id)
    if (owner === undefined) {
      const lost = [entry.owner, entry.waiting].filter((one) => one !== undefined)
      entry.owner = claim
      entry.waiting = undefined
      return { outcome: { code: 'owned', number }, lost }
    }
    if (kind === 'claimFree') return { outcome: { code: 'taken', number }, lost: [] }
    const lost = entry.waiting === undefined ? [owner] : [owner, entry.waiting]
    entry.waiting = claim
    return { outcome: { code: 'waits', number }, lost }
  }

  #take({ id, number }: StateRecord): Applied {
    const entry = this.#entry(id)
    if (entry.waiting?.number !== number) return NOTHING
    return this.#next(entry)
  }

  #release({ id, number }: StateRecord): Applied {
    const entry = this.#entry(id)
    if (entry.waiting?.number === number) entry.waiting = undefined
    if (entry.owner?.number !== number) return NOTHING
    return this.#next(entry)
  }

  #next(entry: Entry): Applied {
    entry.owner = entry.waiting
    entry.waiting = undefined
    return { ...NOTHING, owner: entry.owner }
  }

  #confirm({ id, number, gateway }: StateRecord): Applied {
    const entry = this.#entry(id)
    if (number > (entry.owner?.number ?? 0) && entry.waiting === undefined) {
      entry.owner = { number, gateway }
    }
    return NOTHING
  }
}

const isGone = ({ value, owner, waiting }: Entry): boolean =>
  value === undefined && owner === undefined && waiting === undefined

const EMPTY = Buffer.alloc(0)

const NOTHING: Applied = { outcome: { code: 'held', version: NO_STATE }, lost: [] }
