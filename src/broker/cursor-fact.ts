// The durable form of a group's place on one queue: the next offset to hand out and the few before
// it that are not settled yet. Everything below `next` that is not listed is settled, so
// acknowledgements out of order cost nothing and a long queue behind one slow message costs one
// entry.
//
//   u8 version 1 . varint next . varint count . count x { varint gap . varint attempts }
//
// Offsets are ascending; a gap counts from the offset before (the first one from 0). `attempts` are
// the failed deliveries in place, beside those the record itself carries.
import { BrokerError } from '../errors.ts'
import { type QueueOffset, queueOffset } from '../model/positions.ts'

export interface Unsettled {
  readonly offset: QueueOffset
  readonly attempts: number
}

export interface CursorState {
  readonly next: QueueOffset
  /** Ascending, all below `next`. */
  readonly unsettled: readonly Unsettled[]
}

const VERSION = 1
const VARINT_BYTES_MAX = 8

/** Everything below is settled: RocketMQ's committed offset. */
export const committedOf = (state: CursorState): QueueOffset =>
  state.unsettled[0]?.offset ?? state.next

export function encodeCursor(state: CursorState): Buffer {
  const bytes = Buffer.allocUnsafe(1 + VARINT_BYTES_MAX * (2 + 2 * state.unsettled.length))
  bytes[0] = VERSION
  let at = putVarint(bytes, 1, state.next)
  at = putVarint(bytes, at, state.unsettled.length)
  let last = 0
  for (const { offset, attempts } of state.unsettled) {
    at = putVarint(bytes, at, offset - last)
    at = putVarint(bytes, at, attempts)
    last = offset
  }
  return bytes.subarray(0, at)
}

/** @throws BrokerError STORE_CORRUPT */
export function decodeCursor(bytes: Uint8Array): CursorState {
  const reader = { bytes, at: 1 }
  if (bytes[0] !== VERSION) throw corrupt(`version ${bytes[0]} instead of ${VERSION}`)
  const next = getVarint(reader)
  const count = getVarint(reader)
  const unsettled: Unsettled[] = []
  let offset = 0
  for (let i = 0; i < count; i++) {
    offset += getVarint(reader)
    unsettled.push({ offset: queueOffset(offset), attempts: getVarint(reader) })
  }
  if (reader.at !== bytes.length) throw corrupt(`${bytes.length - reader.at} bytes too many`)
  return { next: queueOffset(next), unsettled }
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
