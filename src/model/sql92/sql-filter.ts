// SQL92 filters as RocketMQ's: a condition over the properties of a message.
import type { Properties } from './expression.ts'
import { Parser } from './parser.ts'

export interface SqlFilter {
  readonly kind: 'sql'
  /** As the client wrote it. */
  readonly expression: string
  /** A condition chooses no entries by the hashes of their tags. */
  readonly hashes: undefined
  /** Comparisons and the like (parser.ts): what a message costs. */
  readonly operations: number
  /** False where the condition is not true: unknown, or values that cannot be compared. */
  matches(properties: Properties): boolean
}

/**
 * Compiled once; evaluated in time linear in its length.
 * @throws BrokerError FILTER_INVALID
 */
export function parseSqlFilter(expression: string): SqlFilter {
  const known = compiled.get(expression)
  if (known !== undefined) return known
  const filter = compile(expression)
  if (compiled.size >= COMPILED_MAX) compiled.delete(compiled.keys().next().value!)
  compiled.set(expression, filter)
  return filter
}

/** Consumers send their expression with each pull. */
const compiled = new Map<string, SqlFilter>()
const COMPILED_MAX = 128

function compile(expression: string): SqlFilter {
  const parser = new Parser(expression)
  const condition = parser.parse()
  const { operations } = parser
  const matches = (properties: Properties): boolean => condition.evaluate(properties) === true
  return { kind: 'sql', expression, hashes: undefined, operations, matches }
}
