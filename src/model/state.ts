// Durable state of front-ends, as it crosses the Broker port (`States`).

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
