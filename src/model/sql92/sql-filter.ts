// Conditions over the properties of a message: RocketMQ's SQL92 filters, and JMS' selectors.
import type { PropertyLookup } from './expression.ts'
import { SelectorParser } from './selector-parser.ts'
import { Sql92Parser } from './sql92-parser.ts'

export interface SqlFilter {
  readonly kind: 'sql'
  /** RocketMQ's SQL92, or a message selector of JMS, whose names are message-filter.ts'. */
  readonly dialect: 'rocketmq' | 'jms'
  /** As the client wrote it. */
  readonly expression: string
  /** A condition chooses no entries by the hashes of their tags. */
  readonly hashes: undefined
  /** Comparisons and the like (condition-parser.ts): what a message costs. */
  readonly operations: number
  /** Properties that it looks at. */
  readonly names: number
  /** False where the condition is not true: unknown, or values that cannot be compared. */
  matches(properties: PropertyLookup): boolean
}

/**
 * Compiled once; evaluated in time linear in its length.
 * @throws BrokerError FILTER_INVALID
 */
export const parseSqlFilter = (expression: string): SqlFilter =>
  known(rocketmq, expression, () => new Sql92Parser(expression))

/** As `parseSqlFilter`. */
export const parseSelector = (expression: string): SqlFilter =>
  known(jms, expression, () => new SelectorParser(expression))

/** Consumers send their expression with each pull. */
interface Compiled {
  readonly dialect: SqlFilter['dialect']
  readonly filters: Map<string, SqlFilter>
}

const rocketmq: Compiled = { dialect: 'rocketmq', filters: new Map() }
const jms: Compiled = { dialect: 'jms', filters: new Map() }
const COMPILED_MAX = 128

function known(
  { dialect, filters }: Compiled,
  expression: string,
  open: () => Sql92Parser | SelectorParser,
): SqlFilter {
  const found = filters.get(expression)
  if (found !== undefined) return found
  const parser = open()
  const condition = parser.parse()
  const { operations } = parser
  const matches = (properties: PropertyLookup): boolean => condition.evaluate(properties) === true
  const filter: SqlFilter = {
    ...{ kind: 'sql', dialect, expression, hashes: undefined },
    ...{ operations, names: parser.names.size, matches },
  }
  if (filters.size >= COMPILED_MAX) filters.delete(filters.keys().next().value!)
  filters.set(expression, filter)
  return filter
}
