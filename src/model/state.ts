// Durable state of front-ends, as it crosses the Broker port (`States`), and what every broker
// holds it to: how long ids and values may be, how a listing comes in pages, and what is said when
// a change does not hold.
import { BrokerError } from '../errors.ts'
import { BODY_BYTES_MAX } from './limits.ts'

/**
 * Which value of an id: each change of the id, a deletion too, has a greater one than all before
 * it. Versions of two ids say nothing of each other, nor do those of two runs of the broker.
 */
export type StateVersion = number & { readonly __brand: 'StateVersion' }

/** The version of what is not there. */
export const NO_STATE = 0 as StateVersion

export interface State {
  readonly value: Buffer
  readonly version: StateVersion
}

export interface StateEntry extends State {
  readonly id: string
}

/** The newest that is known of an id; without a value it is deleted. */
export interface StateNews {
  readonly id: string
  readonly value: Buffer | undefined
  readonly version: StateVersion
}

/** How long the owner of an id has to save and release it when another claims it. */
export const CLAIM_HANDOVER_MS = 5_000

/** The ownership of an id: a later claim takes it over. */
export interface Claim {
  readonly id: string
  /** Greater than that of every earlier claim of the id. */
  readonly number: number
}

/** On what a change depends; it is refused, and nothing changes, when that does not hold. */
export interface StateGuard {
  /** The version that it replaces. @throws STATE_CONFLICT */
  readonly expected?: StateVersion | undefined
  /** A claim of the id that the caller still holds. @throws CLAIM_LOST */
  readonly claim?: Claim | undefined
}

/** State that changes together with messages. */
export interface StateChange extends StateGuard {
  readonly id: string
  /** `message`: the message that the change belongs to, whole, as the log has it. null: deleted. */
  readonly state: Uint8Array | 'message' | null
  /**
   * Index of the message it belongs to; without one it belongs to all that are published with it.
   */
  readonly message?: number | undefined
}

/**
 * A topic name as long as records have room for, as a retained message has it, behind its
 * front-end's prefix.
 */
const ID_CHARS_MAX = 32_000 + 64
/** A retained message is whole, with its properties and what surrounds it in a record. */
const STATE_BYTES_MAX = BODY_BYTES_MAX + 128 * 1024
/** A page of a listing is full with so many. */
const PAGE_ENTRIES = 1024
const PAGE_BYTES = 1024 * 1024

/** @throws BrokerError ARGUMENT_INVALID */
export function checkStateSize(id: string, valueBytes: number): void {
  if (id.length > 0 && id.length <= ID_CHARS_MAX && valueBytes <= STATE_BYTES_MAX) return
  throw new BrokerError(
    'ARGUMENT_INVALID',
    `the id of a state has 1 to ${ID_CHARS_MAX} characters and its value ${STATE_BYTES_MAX} bytes at most; ` +
      `these have ${id.length} and ${valueBytes}`,
  )
}

export const stateConflict = (id: string): BrokerError =>
  new BrokerError(
    'STATE_CONFLICT',
    `the state '${id.slice(0, 300)}' has been changed; load it and decide again`,
  )

export const claimLost = (id: string): BrokerError =>
  new BrokerError('CLAIM_LOST', `'${id.slice(0, 300)}' was claimed anew and is another's now`)

/** The entries of a listing that are not handed out yet. */
export class StatePage {
  #entries: StateEntry[] = []
  #bytes = 0

  get isEmpty(): boolean {
    return this.#entries.length === 0
  }

  get isFull(): boolean {
    return this.#entries.length >= PAGE_ENTRIES || this.#bytes >= PAGE_BYTES
  }

  add(entry: StateEntry): void {
    this.#entries.push(entry)
    this.#bytes += entry.value.length
  }

  /** What there is; the next page begins. */
  take(): readonly StateEntry[] {
    const entries = this.#entries
    this.#entries = []
    this.#bytes = 0
    return entries
  }
}
