// How a connection ends, as far as its session and its groups are concerned.

export interface Ending {
  /** The client said goodbye in order: its will is not published. */
  readonly isClean: boolean
  /** The connection broke: a message that it held for a group may be the cause. */
  readonly isLost: boolean
}

export const LOST: Ending = { isClean: false, isLost: true }
/** Not the client's doing. */
export const OURS: Ending = { isClean: false, isLost: false }
