// The bytes that an escaped JSON string stands for, written straight as UTF-8: message properties
// come full of \u0001 and \u0002 and go to the log as bytes, so no string is ever made of them.
const BACKSLASH = 92
const LETTER_U = 117
const SIMPLE = new Map([
  [34, 34],
  [92, 92],
  [47, 47],
  [98, 8],
  [102, 12],
  [110, 10],
  [114, 13],
  [116, 9],
])
const HEX_DIGITS = 4
const ZERO = 48
const REPLACEMENT = 0xfffd

/**
 * Writes the unescaped form of `bytes[from, to)` at `target[at...]`, which is never longer.
 * @returns where it ends, or -1 for an illegal escape
 */
export function unescapeJson(
  bytes: Uint8Array,
  from: number,
  to: number,
  target: Uint8Array,
  at: number,
): number {
  let out = at
  let i = from
  while (i < to) {
    const c = bytes[i]!
    if (c !== BACKSLASH) {
      target[out++] = c
      i++
      continue
    }
    if (i + 6 <= to && isSeparator(bytes, i)) {
      target[out++] = bytes[i + 5]! - ZERO
      i += 6
      continue
    }
    const kind = bytes[i + 1]
    if (kind !== LETTER_U) {
      const plain = i + 1 < to ? SIMPLE.get(kind!) : undefined
      if (plain === undefined) return -1
      target[out++] = plain
      i += 2
      continue
    }
    const unit = hexAt(bytes, i + 2, to)
    if (unit === -1) return -1
    i += 2 + HEX_DIGITS
    if (unit < 0x80) {
      target[out++] = unit
      continue
    }
    const low = isHighSurrogate(unit) ? lowSurrogateAt(bytes, i, to) : -1
    if (low !== -1) i += 2 + HEX_DIGITS
    out = putCodePoint(target, out, codePointOf(unit, low))
  }
  return out
}

/** \u0001 or \u0002, as nearly every escape of properties is. */
function isSeparator(bytes: Uint8Array, at: number): boolean {
  const last = bytes[at + 5]
  return (
    (last === ZERO + 1 || last === ZERO + 2) &&
    bytes[at + 4] === ZERO &&
    bytes[at + 3] === ZERO &&
    bytes[at + 2] === ZERO &&
    bytes[at + 1] === LETTER_U
  )
}

function hexAt(bytes: Uint8Array, at: number, to: number): number {
  if (at + HEX_DIGITS > to) return -1
  let value = 0
  for (let i = at; i < at + HEX_DIGITS; i++) {
    const digit = hexDigit(bytes[i]!)
    if (digit === -1) return -1
    value = value * 16 + digit
  }
  return value
}

/** Value of an ASCII hex digit, or -1. */
export function hexDigit(c: number): number {
  if (c >= 48 && c <= 57) return c - 48
  const lower = c | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff

function lowSurrogateAt(bytes: Uint8Array, at: number, to: number): number {
  if (bytes[at] !== BACKSLASH || bytes[at + 1] !== LETTER_U) return -1
  const unit = hexAt(bytes, at + 2, to)
  return unit >= 0xdc00 && unit <= 0xdfff ? unit : -1
}

/** A surrogate without its partner is what Buffer.from makes of it. */
function codePointOf(unit: number, low: number): number {
  if (low !== -1) return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
  return unit >= 0xd800 && unit <= 0xdfff ? REPLACEMENT : unit
}

function putCodePoint(target: Uint8Array, at: number, point: number): number {
  let out = at
  if (point < 0x800) {
    target[out++] = 0xc0 | (point >> 6)
  } else if (point < 0x10000) {
    target[out++] = 0xe0 | (point >> 12)
    target[out++] = 0x80 | ((point >> 6) & 63)
  } else {
    target[out++] = 0xf0 | (point >> 18)
    target[out++] = 0x80 | ((point >> 12) & 63)
    target[out++] = 0x80 | ((point >> 6) & 63)
  }
  target[out++] = 0x80 | (point & 63)
  return out
}
