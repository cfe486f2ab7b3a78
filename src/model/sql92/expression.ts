// The expressions of SQL92 filters as functions of a message's properties, built with the checks
// that RocketMQ makes when it compiles one. Three-valued: a property that is absent is null.
import { BrokerError } from '../../errors.ts'
import {
  compare,
  compareByOrder,
  compareDigits,
  type Evaluated,
  FAILED,
  negated,
  type SqlNumber,
  type SqlValue,
} from './value.ts'

/** A name that a condition looks for, and its place among those of the condition. */
export interface PropertyName {
  readonly text: string
  readonly index: number
}

/** The properties of one message. */
export interface PropertyLookup {
  /** undefined when the message has none of the name. */
  text(name: PropertyName): string | undefined
  /** The value where it is few digits alone, as nearly all numbers are; -1: `text` says. */
  digits(name: PropertyName): number
}

export interface Expression {
  readonly kind: 'property' | 'constant' | 'condition' | 'other'
  /** Of a constant. */
  readonly value?: SqlValue
  /** Of a property. */
  readonly name?: PropertyName
  /** Its text in messages. */
  readonly text: string
  /** Levels of expressions within it; evaluation recurses so deep. */
  readonly depth: number
  evaluate(properties: PropertyLookup): Evaluated
}

/** Deeper expressions are refused: parsing and evaluation recurse. */
export const SQL_DEPTH_MAX = 200

export const filterInvalid = (text: string): BrokerError => new BrokerError('FILTER_INVALID', text)

const isNumber = (value: SqlValue | undefined): value is SqlNumber =>
  typeof value === 'object' && value !== null

export function nested(
  kind: Expression['kind'],
  text: string,
  within: readonly Expression[],
  evaluate: Expression['evaluate'],
): Expression {
  const depth = 1 + Math.max(...within.map((one) => one.depth))
  if (depth > SQL_DEPTH_MAX) {
    throw filterInvalid(`the SQL92 expression is nested more than ${SQL_DEPTH_MAX} deep`)
  }
  // Texts grow with each level, and stand in messages only.
  return { kind, text: text.slice(0, 80), depth, evaluate }
}

export function constant(value: SqlValue, text: string): Expression {
  return { kind: 'constant', value, text, depth: 1, evaluate: () => value }
}

export function property(name: PropertyName): Expression {
  const evaluate = (properties: PropertyLookup): Evaluated => properties.text(name) ?? null
  return { kind: 'property', text: name.text, name, depth: 1, evaluate }
}

/** What stands where a condition has to: a comparison, TRUE, FALSE, NULL or a property. */
export function condition(of: Expression): Expression {
  if (of.kind === 'condition') return of
  if (of.kind === 'property') {
    // A property is text and never the value TRUE: RocketMQ casts it without reading it.
    return nested('condition', of.text, [of], (properties) =>
      of.evaluate(properties) === null ? null : false,
    )
  }
  const isTruth = of.kind === 'constant' && (of.value === null || typeof of.value === 'boolean')
  if (isTruth) return of
  throw filterInvalid(`'${of.text}' is not a condition`)
}

export function not(of: Expression): Expression {
  return nested('condition', `(NOT ${of.text})`, [of], (properties) => {
    const value = of.evaluate(properties)
    return typeof value === 'boolean' ? !value : value
  })
}

export function negative(of: Expression): Expression {
  return nested('other', `(- ${of.text})`, [of], (properties) => {
    const value = of.evaluate(properties)
    if (value === FAILED) return FAILED
    return isNumber(value) ? negated(value) : null
  })
}

/** AND where `decisive` is false, OR where it is true; in order, until one decides. */
export function junction(decisive: boolean, all: readonly Expression[]): Expression {
  const text = `(${all[0]!.text} ${decisive ? '||' : '&&'} ${all[1]!.text})`
  return nested('condition', text, all, (properties) => {
    let result: Evaluated = !decisive
    for (const one of all) {
      const value = one.evaluate(properties)
      if (value === decisive || value === FAILED) return value
      if (value === null) result = null
    }
    return result
  })
}

export function equal(left: Expression, right: Expression): Expression {
  for (const side of [left, right]) {
    if (side.kind === 'constant' && side.value === null) {
      throw filterInvalid(`'${side.text}' cannot be compared; write IS NULL or IS NOT NULL`)
    }
  }
  const areConstants = left.kind === 'constant' && right.kind === 'constant'
  if (areConstants && typeof left.value === 'boolean' && typeof right.value !== 'boolean') {
    throw filterInvalid(`'${left.text}' cannot be compared with '${right.text}'`)
  }
  return nested('condition', `(${left.text} == ${right.text})`, [left, right], (properties) => {
    const a = left.evaluate(properties)
    if (a === FAILED) return FAILED
    const b = right.evaluate(properties)
    if (b === FAILED) return FAILED
    if (a === null) return b === null ? true : null
    if (b === null) return false
    if (typeof a === 'string' && typeof b === 'string') return a === b
    const order = compare(a, b)
    return order === FAILED ? FAILED : order === 0
  })
}

export function isNull(of: Expression): Expression {
  return nested('condition', `(${of.text} IS NULL)`, [of], (properties) => {
    const value = of.evaluate(properties)
    return value === FAILED ? FAILED : value === null
  })
}

export type Order = '<' | '<=' | '>' | '>='

const HOLDS: Readonly<Record<Order, (order: number) => boolean>> = {
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '>=': (order) => order >= 0,
}

export function ordered(left: Expression, order: Order, right: Expression): Expression {
  for (const side of [left, right]) {
    const isBad = side.kind === 'condition' || (side.kind === 'constant' && !isNumber(side.value))
    if (isBad) throw filterInvalid(`'${side.text}' cannot be compared by ${order}`)
  }
  const holds = HOLDS[order]
  const evaluate = (properties: PropertyLookup): Evaluated => {
    const a = left.evaluate(properties)
    if (a === null || a === FAILED) return a
    const b = right.evaluate(properties)
    if (b === null || b === FAILED) return b
    const found = compareByOrder(a, b)
    return found === FAILED ? FAILED : holds(found)
  }
  const text = `(${left.text} ${order} ${right.text})`
  const { name } = left
  const literal = right.value
  if (name === undefined || !isNumber(literal)) {
    return nested('condition', text, [left, right], evaluate)
  }
  return nested('condition', text, [left, right], (properties) => {
    const found = compareDigits(properties.digits(name), literal)
    return found === undefined ? evaluate(properties) : holds(found)
  })
}

export function between(of: Expression, low: Expression, high: Expression): Expression {
  if (low.kind === 'constant' && high.kind === 'constant') {
    const [from, to] = [low.value!, high.value!]
    const order = from === null || to === null ? FAILED : compare(to, from)
    if (order === FAILED || order < 0) {
      throw filterInvalid(
        `BETWEEN ${low.text} AND ${high.text}: the first value must be at most the second`,
      )
    }
  }
  return junction(false, [ordered(of, '>=', low), ordered(of, '<=', high)])
}

export const notBetween = (of: Expression, low: Expression, high: Expression): Expression =>
  junction(true, [ordered(of, '<', low), ordered(of, '>', high)])

export function among(of: Expression, texts: readonly string[], isNot: boolean): Expression {
  if (of.kind !== 'property') throw filterInvalid(`'${of.text}' before IN is not a property`)
  const wanted = new Set(texts)
  return nested('condition', `${of.text} IN (...)`, [of], (properties) => {
    const value = of.evaluate(properties)
    return typeof value === 'string' ? wanted.has(value) !== isNot : null
  })
}

export type Part = 'CONTAINS' | 'STARTSWITH' | 'ENDSWITH'

const HAS: Readonly<Record<Part, (value: string, part: string) => boolean>> = {
  CONTAINS: (value, part) => value.includes(part),
  STARTSWITH: (value, part) => value.startsWith(part),
  ENDSWITH: (value, part) => value.endsWith(part),
}

/** False, with NOT as well, when the value is absent or no text, or the part is empty. */
export function having(of: Expression, part: Part, text: string, isNot: boolean): Expression {
  const has = HAS[part]
  return nested('condition', `(${of.text} ${part} '${text}')`, [of], (properties) => {
    if (text === '') return false
    const value = of.evaluate(properties)
    if (value === FAILED) return FAILED
    return typeof value === 'string' && has(value, text) !== isNot
  })
}
