// What the records of one queue of the state topic come to, read in their order. Every gateway
// reads the same records, so all of them come to the same: which change held, whose an id is.
import type { ErrorCode } from '../../errors.ts'
import { NO_STATE, type State, type StateVersion } from '../../model/state.ts'
import { LEASE_MS } from './silence.ts'
import { ANY_VERSION, type StateRecord } from './state-record.ts'

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
  readonly #heardMs = new Map<string, number>()
  #nowMs = 0

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

  /** @param number the record's place in its queue, counted from 1 */
  apply(record: StateRecord, number: number, storeMs: number): Applied {
    this.#nowMs = Math.max(this.#nowMs, storeMs)
    this.#heardMs.set(record.gateway, this.#nowMs)
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
        return { outcome: { code: 'held', version: NO_STATE }, lost: [] }
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

const NOTHING: Applied = { outcome: { code: 'held', version: NO_STATE }, lost: [] }
