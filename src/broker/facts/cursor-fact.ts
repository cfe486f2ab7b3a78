// The durable form of a group's place on one queue: the next offset to hand out and the few before
// it that are not settled yet. Everything below `next` that is not listed is settled, so
// acknowledgements out of order cost nothing and a long queue behind one slow message costs one
// entry.
//
//   u8 version . varint next . varint count . count x { varint gap . varint attempts }
//   version 2, after a reset that members have to follow yet:
//   . varint to . varint reached + 1 (0: none)
//
// Offsets are ascending; a gap counts from the offset before (the first one from 0). `attempts` are
// the failed deliveries in place, beside those the record itself carries. Version 1 is written
// while there is no reset.
import { BrokerError } from '../../errors.ts'
import { type QueueOffset, queueOffset } from '../../model/positions.ts'

export interface UnsettledOffset {
  readonly offset: QueueOffset
  readonly attempts: number
}

export interface CursorState {
  readonly next: QueueOffset
  /** Ascending, all below `next`. */
  readonly unsettled: readonly UnsettledOffset[]
}

/**
 * A reset of a group: where to, and up to where readers that went on from there were given
 * messages.
 */
export interface Move {
  readonly to: QueueOffset
  /** undefined: none was sent there yet. */
  readonly reached: QueueOffset | undefined
}

export interface StoredCursor {
  readonly state: CursorState
  readonly move: Move | undefined
}

const VERSION = 1
const VERSION_MOVED = 2
const VARINT_BYTES_MAX = 8

/** Everything below is settled: RocketMQ's committed offset. */
export const committedOf = (state: CursorState): QueueOffset =>
  state.unsettled[0]?.offset ?? state.next

export function encodeCursor(state: CursorState, move?: Move): Buffer {
  const bytes = Buffer.allocUnsafe(1 + VARINT_BYTES_MAX * (4 + 2 * state.unsettled.length))
  bytes[0] = move === undefined ? VERSION : VERSION_MOVED
  let at = putVarint(bytes, 1, state.next)
  at = putVarint(bytes, at, state.unsettled.length)
  let last = 0
  for (const { offset, attempts } of state.unsettled) {
    at = putVarint(bytes, at, offset - last)
    at = putVarint(bytes, at, attempts)
    last = offset
  }
  if (move !== undefined) {
    at = putVarint(bytes, at, move.to)
    at = putVarint(bytes, at, move.reached === undefined ? 0 : move.reached + 1)
  }
  return bytes.subarray(0, at)
}

/** @throws BrokerError STORE_CORRUPT */
export function decodeCursor(bytes: Uint8Array): StoredCursor {
  const reader = { bytes, at: 1 }
  const [version] = bytes
  if (version !== VERSION && version !== VERSION_MOVED) {
    throw corrupt(`version ${version} instead of ${VERSION} or ${VERSION_MOVED}`)
  }
  const next = getVarint(reader)
  const count = getVarint(reader)
  const unsettled: UnsettledOffset[] = []
  let offset = 0
  for (let i = 0; i < count; i++) {
    offset += getVarint(reader)
    unsettled.push({ offset: queueOffset(offset), attempts: getVarint(reader) })
  }
  const move = version === VERSION_MOVED ? getMove(reader) : undefined
  if (reader.at !== bytes.length) throw corrupt(`${bytes.length - reader.at} bytes too many`)
  return { state: { next: queueOffset(next), unsettled }, move }
}

function getMove(reader: { readonly bytes: Uint8Array; at: number }): Move {
  const to = queueOffset(getVarint(reader))
  const reached = getVarint(reader)
  return { to, reached: reached === 0 ? undefined : queueOffset(reached - 1) }
}

function putVarint(bytes: Uint8Array, at: number, value: number): number {
  let rest = value
  let to = at
  while (rest > 127) {
    bytes[to++] = (rest % 128) + 128
    rest = Math.floor(rest / 128)
  }
  bytes[to] = rest
  return to + 1
}

function getVarint(reader: { readonly bytes: Uint8Array; at: number }): number {
  let value = 0
  let scale = 1
  for (;;) {
    const byte = reader.bytes[reader.at++]
    if (byte === undefined || scale > Number.MAX_SAFE_INTEGER) throw corrupt('a broken number')
    value += (byte & 127) * scale
    if (byte < 128) return value
    scale *= 128
  }
}

const corrupt = (what: string): BrokerError =>
  new BrokerError('STORE_CORRUPT', `a stored cursor has ${what}`)
