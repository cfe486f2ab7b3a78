// The expressions of JMS selectors where they differ from RocketMQ's: values that cannot be
// compared are false, whatever is compared with a missing property is unknown, and there are LIKE
// and arithmetic. A property is text here too, and takes the type of what it is compared with.
import {
  type Expression,
  filterInvalid,
  nested,
  type Order,
  type PropertyLookup,
} from './expression.ts'
import {
  type Evaluated,
  integerOf,
  orderOfNumbers,
  readDouble,
  type SqlNumber,
  type SqlValue,
} from './value.ts'

/** A property that stands as a condition is a boolean one; other values are not true. */
export function truth(of: Expression): Expression {
  if (of.kind === 'condition') return of
  if (of.kind === 'property') {
    return nested('condition', of.text, [of], (properties) => {
      const value = of.evaluate(properties)
      return value === null ? null : value === 'true'
    })
  }
  if (of.kind === 'constant' && typeof of.value === 'boolean') return of
  throw filterInvalid(`'${of.text}' is not a condition`)
}

/** undefined: they cannot be equal or unequal, one of them is no value of the other's type. */
function areEqual(left: Expression, right: Expression, a: SqlValue, b: SqlValue) {
  if (typeof a === 'string' && typeof b === 'string') {
    if (a === b || left.kind !== 'property' || right.kind !== 'property') return a === b
    // Two properties: text, or numbers that are written otherwise.
    const [x, y] = [numberIn(a), numberIn(b)]
    return x !== undefined && y !== undefined && orderOfNumbers(x, y) === 0
  }
  if (typeof a === 'boolean' || typeof b === 'boolean') {
    const [x, y] = [booleanIn(a), booleanIn(b)]
    return x === undefined || y === undefined ? undefined : x === y
  }
  const [x, y] = [numberIn(a), numberIn(b)]
  return x === undefined || y === undefined ? undefined : orderOfNumbers(x, y) === 0
}

export function equality(left: Expression, isNot: boolean, right: Expression): Expression {
  for (const side of [left, right]) checkOperand(side, false)
  const text = `(${left.text} ${isNot ? '<>' : '='} ${right.text})`
  return nested('condition', text, [left, right], (properties) => {
    const [a, b] = [valueIn(left, properties), valueIn(right, properties)]
    if (a === null || b === null) return null
    const found = areEqual(left, right, a, b)
    return found === undefined ? false : found !== isNot
  })
}

const HOLDS: Readonly<Record<Order, (order: number) => boolean>> = {
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '>=': (order) => order >= 0,
}

export function comparison(left: Expression, order: Order, right: Expression): Expression {
  for (const side of [left, right]) checkOperand(side, true)
  const holds = HOLDS[order]
  const text = `(${left.text} ${order} ${right.text})`
  return nested('condition', text, [left, right], (properties) => {
    const [a, b] = [valueIn(left, properties), valueIn(right, properties)]
    if (a === null || b === null) return null
    const [x, y] = [numberIn(a), numberIn(b)]
    return x !== undefined && y !== undefined && holds(orderOfNumbers(x, y))
  })
}

/** JMS compares text by = and <> alone. */
function checkOperand(of: Expression, isNumeric: boolean): void {
  const isText = of.kind === 'constant' && typeof of.value !== 'object'
  if (of.kind !== 'condition' && !(isNumeric && isText)) return
  throw filterInvalid(`'${of.text}' cannot be compared so`)
}

export type Operator = '+' | '-' | '*' | '/'

const CALCULATES: Readonly<Record<Operator, (a: number, b: number) => number>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
}

/** Of integers an integer, as Java's; unknown where there is no number. */
export function arithmetic(left: Expression, operator: Operator, right: Expression): Expression {
  for (const side of [left, right]) checkOperand(side, true)
  const calculate = CALCULATES[operator]
  const text = `(${left.text} ${operator} ${right.text})`
  return nested('other', text, [left, right], (properties) => {
    const a = numberIn(valueIn(left, properties))
    const b = numberIn(valueIn(right, properties))
    if (a === undefined || b === undefined) return null
    const value = calculate(Number(a.value), Number(b.value))
    if (a.type === 'double' || b.type === 'double') return { type: 'double', value }
    if (!Number.isFinite(value)) return null
    const whole = Math.trunc(value)
    return { type: Number.isSafeInteger(whole) ? 'long' : 'double', value: whole }
  })
}

export function like(
  of: Expression,
  pattern: string,
  escaping: string,
  isNot: boolean,
): Expression {
  if (of.kind !== 'property') throw filterInvalid(`'${of.text}' before LIKE is not a property`)
  const matches = likePattern(pattern, escaping)
  return nested('condition', `${of.text} LIKE '...'`, [of], (properties) => {
    const value = of.evaluate(properties)
    return typeof value === 'string' ? matches(value) !== isNot : null
  })
}

/** A piece of a pattern between two '%': characters, -1 for any one. */
type Piece = readonly number[]

const ANY = -1

/** Takes the first place of each piece, which is enough; so no place is looked at twice for one. */
function likePattern(pattern: string, escaping: string): (text: string) => boolean {
  const pieces = piecesOf(pattern, escaping)
  const [first, ...rest] = pieces as [Piece, ...Piece[]]
  const last = rest.pop()
  if (last === undefined) return (text) => text.length === first.length && isAt(text, 0, first)
  // The engine's search takes no step for each character of both, as ours does where any may stand.
  const texts = rest.map((piece) =>
    piece.includes(ANY) ? undefined : String.fromCharCode(...piece),
  )
  return (text) => {
    const end = text.length - last.length
    if (first.length > end || !isAt(text, 0, first) || !isAt(text, end, last)) return false
    let at = first.length
    for (const [i, piece] of rest.entries()) {
      const found =
        texts[i] === undefined ? placeOf(text, at, end, piece) : text.indexOf(texts[i], at)
      if (found < 0 || found + piece.length > end) return false
      at = found + piece.length
    }
    return true
  }
}

function piecesOf(pattern: string, escaping: string): Piece[] {
  const pieces: number[][] = [[]]
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i]!
    if (character === escaping) {
      if (++i === pattern.length) throw filterInvalid('LIKE has nothing behind its last escape')
      pieces.at(-1)!.push(pattern.charCodeAt(i))
    } else if (character === '%') pieces.push([])
    else pieces.at(-1)!.push(character === '_' ? ANY : character.charCodeAt(0))
  }
  return pieces
}

/** -1: it is nowhere before `end`. */
function placeOf(text: string, from: number, end: number, piece: Piece): number {
  for (let at = from; at + piece.length <= end; at++) if (isAt(text, at, piece)) return at
  return -1
}

/** Characters of the pieces that are looked for step by step: '_' between two '%'. */
export function stepsOf(pattern: string, escaping: string): number {
  const between = piecesOf(pattern, escaping).slice(1, -1)
  return between.reduce((sum, piece) => sum + (piece.includes(ANY) ? piece.length : 0), 0)
}

function isAt(text: string, at: number, piece: Piece): boolean {
  for (let i = 0; i < piece.length; i++) {
    if (piece[i] !== ANY && piece[i] !== text.charCodeAt(at + i)) return false
  }
  return true
}

/** No expression of a selector fails: what cannot be done is false or unknown. */
const valueIn = (of: Expression, properties: PropertyLookup): SqlValue => {
  const value: Evaluated = of.evaluate(properties)
  return typeof value === 'symbol' ? null : value
}

function booleanIn(value: SqlValue): boolean | undefined {
  if (typeof value === 'boolean') return value
  return value === 'true' ? true : value === 'false' ? false : undefined
}

function numberIn(value: SqlValue): SqlNumber | undefined {
  if (value === null || typeof value === 'boolean') return undefined
  if (typeof value === 'object') return value
  if (/^[+-]?\d{1,19}$/.test(value)) {
    const digits = integerOf(value)
    if (digits !== undefined) return digits
  }
  const double = readDouble(value)
  return double === undefined ? undefined : { type: 'double', value: double }
}
