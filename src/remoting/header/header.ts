// The header of a remoting command, whichever of the two codecs wrote it.

/** Header fields by their RocketMQ name; a Map, because names come from the wire. */
export type Fields = ReadonlyMap<string, string>

export const NO_FIELDS: Fields = new Map()
export interface Header {
  /** Request code, or response code in a response. */
  readonly code: number
  readonly language: string
  readonly version: number
  /** Correlation id, chosen by the requester; each direction has its own. */
  readonly opaque: number
  readonly flag: number
  /** Error text of a response. */
  readonly remark: string | undefined
  readonly fields: Fields
}
