// Big-endian integers over plain byte arrays. Four byte stores beat Buffer's checked writers
// several times over and need no DataView beside the buffer.

const TWO_32 = 4_294_967_296

export function putU16(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 8
  b[at + 1] = value
}

export function putU32(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 24
  b[at + 1] = value >>> 16
  b[at + 2] = value >>> 8
  b[at + 3] = value
}

/** A 64-bit field that holds a non-negative integer below 2^53. */
export function putU64(b: Uint8Array, at: number, value: number): void {
  putU32(b, at, (value / TWO_32) >>> 0)
  putU32(b, at + 4, value >>> 0)
}

export const getU16 = (b: Uint8Array, at: number): number => (b[at]! << 8) | b[at + 1]!

export const getI32 = (b: Uint8Array, at: number): number =>
  (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!

export const getU32 = (b: Uint8Array, at: number): number => getI32(b, at) >>> 0

/** Exact below 2^53; a negative or larger value comes back rounded, callers check their range. */
export const getU64 = (b: Uint8Array, at: number): number =>
  getU32(b, at) * TWO_32 + getU32(b, at + 4)

let viewed: Uint8Array = new Uint8Array(0)
let view = new DataView(viewed.buffer)

/**
 * A view of the bytes, for many words one after the other: one load each. The last one is kept, as
 * records that follow each other lie in one buffer.
 */
export function viewOf(bytes: Uint8Array): DataView {
  if (bytes === viewed) return view
  viewed = bytes
  view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return view
}

/** As `putU64`. */
export function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value / TWO_32)
  view.setUint32(at + 4, value)
}

/** `bytes[start, end)`, not a copy: a third of the price of a Buffer's `subarray`. */
export const partOf = (bytes: Uint8Array, start: number, end: number): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start)

/** Below this, a loop costs less than a view of the bytes and a call into Node. */
const LOOPED_BYTES_MAX = 96

/** Copies `source[start, end)` to `target[at...]`. @returns where it ends there */
export function copyBytes(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  start: number,
  end: number,
): number {
  if (end - start > LOOPED_BYTES_MAX) target.set(partOf(source, start, end), at)
  else for (let i = start, to = at; i < end; i++, to++) target[to] = source[i]!
  return at + end - start
}

/** Text of names that mostly are the same one after the other: that of the last is kept. */
export class LastText {
  #text = ''

  /** `bytes[start, end)`, of Latin-1. */
  textOf(bytes: Buffer, start: number, end: number): string {
    const text = this.#text
    let i = end - start === text.length ? start : end + 1
    while (i < end && bytes[i] === text.charCodeAt(i - start)) i++
    if (i !== end) this.#text = bytes.latin1Slice(start, end)
    return this.#text
  }
}
