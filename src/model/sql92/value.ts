// Values of SQL92 filters, and how RocketMQ compares them: as its ComparisonExpression does. A
// property is always text, and takes the type of the literal that it is compared with; text that is
// no number of that type ends the evaluation, and the message does not match.

/** A literal's type decides what text it can be compared with: 5 reads '7', and not '7.5'. */
export interface SqlNumber {
  readonly type: 'int' | 'long' | 'double'
  /** A bigint where a double could not hold the integer. */
  readonly value: number | bigint
}

/** Ends the evaluation without a match: values that RocketMQ cannot compare. */
export const FAILED = Symbol('failed')

export type SqlValue = string | boolean | null | SqlNumber

export type Evaluated = SqlValue | typeof FAILED

const INT_MAX = 2_147_483_647
const INT_MIN = -2_147_483_648
const LONG_MAX = 2n ** 63n - 1n
const LONG_MIN = -(2n ** 63n)

/** An integer literal of digits; undefined when it is none of 64 bits. */
export function integerOf(digits: string): SqlNumber | undefined {
  const value = readInteger(digits)
  if (value === undefined) return undefined
  return { type: value >= INT_MIN && value <= INT_MAX ? 'int' : 'long', value }
}

export function negated({ type, value }: SqlNumber): SqlNumber {
  return { type, value: type !== 'double' && value === 0 ? 0 : -value }
}

/** Each digit has one place in it: two would cost the square of a long text's length. */
const DOUBLE = /^([+-]?)(NaN|Infinity|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)[fFdD]?$/

/** Longer text is taken for no number: reading it costs as much as it is long. */
export const NUMBER_CHARS_MAX = 1_024

/** As Java's Double.valueOf, without its hexadecimal form; undefined when it is no number. */
export function readDouble(text: string): number | undefined {
  if (text.length > NUMBER_CHARS_MAX) return undefined
  const found = DOUBLE.exec(trimmed(text))
  if (found === null) return undefined
  const [, sign, size] = found
  return sign === '-' ? -Number(size) : Number(size)
}

/** Java's String.trim: blanks and control characters go. */
function trimmed(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && text.charCodeAt(start) <= 0x20) start++
  while (start < end && text.charCodeAt(end - 1) <= 0x20) end--
  return text.slice(start, end)
}

/** More than these a double may not hold. */
export const FEW_DIGITS = 15

/** Digits alone, as nearly all numbers are; -1: any other, or more than a double surely has. */
function fewDigits(text: string): number {
  if (text.length === 0 || text.length > FEW_DIGITS) return -1
  let value = 0
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48
    if (digit < 0 || digit > 9) return -1
    value = value * 10 + digit
  }
  return value
}

/** As Java's Long.valueOf; undefined when it is no integer of 64 bits. */
function readInteger(text: string): number | bigint | undefined {
  const few = fewDigits(text)
  if (few !== -1) return few
  if (text.length > NUMBER_CHARS_MAX) return undefined
  if (!/^[+-]?\d+$/.test(text)) return undefined
  const value = Number(text)
  if (Number.isSafeInteger(value)) return value === 0 ? 0 : value
  const digits = text.replace(/^([+-]?)0+/, '$1')
  // More digits than 64 bits have; BigInt's time grows with their square.
  if (digits.length > 20) return undefined
  const large = BigInt(digits.startsWith('+') ? digits.slice(1) : digits)
  return large >= LONG_MIN && large <= LONG_MAX ? large : undefined
}

/** The text as a number of the type, as Java's valueOf of it would read it. */
function numberOf(text: string, type: SqlNumber['type']): SqlNumber | undefined {
  const value = type === 'double' ? readDouble(text) : readInteger(text)
  if (value === undefined) return undefined
  if (type === 'int' && (value < INT_MIN || value > INT_MAX)) return undefined
  return { type, value }
}

/** Java's Boolean.valueOf. */
const booleanOf = (text: string): boolean => text.length === 4 && text.toLowerCase() === 'true'

const orderOf = (a: number | bigint | boolean, b: number | bigint | boolean): number =>
  a < b ? -1 : a > b ? 1 : 0

/** As Java's Double.compareTo: not-a-number is the greatest and equals itself, -0 is below 0. */
function orderOfDoubles(a: number, b: number): number {
  if (a < b) return -1
  if (a > b) return 1
  if (Object.is(a, b)) return 0
  if (Number.isNaN(a)) return 1
  if (Number.isNaN(b)) return -1
  return Object.is(a, -0) ? -1 : 1
}

export function orderOfNumbers(a: SqlNumber, b: SqlNumber): number {
  return a.type === 'double' || b.type === 'double'
    ? orderOfDoubles(Number(a.value), Number(b.value))
    : orderOf(a.value, b.value)
}

/** Of a text of few digits, or -1, without an object for it; undefined: not so easily. */
export function compareDigits(few: number, { type, value }: SqlNumber): number | undefined {
  // A double may be -0, which differs from 0.
  const isPlain = few !== -1 && typeof value === 'number' && (type !== 'double' || value !== 0)
  return isPlain && (type !== 'int' || few <= INT_MAX) ? few - value : undefined
}

function compareText(text: string, literal: SqlNumber): number | typeof FAILED {
  const order = compareDigits(fewDigits(text), literal)
  if (order !== undefined) return order
  const number = numberOf(text, literal.type)
  return number === undefined ? FAILED : orderOfNumbers(number, literal)
}

/**
 * Below, at or above zero; FAILED where RocketMQ ends the evaluation. A boolean and a number are
 * never equal.
 */
export function compare(
  left: Exclude<SqlValue, null>,
  right: Exclude<SqlValue, null>,
): number | typeof FAILED {
  if (typeof left === 'string') {
    if (typeof right === 'string') return left === right ? 0 : left < right ? -1 : 1
    if (typeof right === 'boolean') return orderOf(booleanOf(left), right)
    return compareText(left, right)
  }
  if (typeof left === 'boolean') {
    if (typeof right === 'boolean') return orderOf(left, right)
    return typeof right === 'string' ? FAILED : -1
  }
  if (typeof right === 'boolean') return -1
  if (typeof right !== 'string') return orderOfNumbers(left, right)
  const number = numberOf(right, left.type)
  return number === undefined ? FAILED : orderOfNumbers(left, number)
}

/** For <, <=, > and >=: two texts are compared as numbers. */
export function compareByOrder(
  left: Exclude<SqlValue, null>,
  right: Exclude<SqlValue, null>,
): number | typeof FAILED {
  if (typeof left !== 'string' || typeof right !== 'string') return compare(left, right)
  const a = readDouble(left)
  const b = readDouble(right)
  return a === undefined || b === undefined ? FAILED : orderOfDoubles(a, b)
}
