// The tokens of conditions, in RocketMQ's SQL92 filters (its SelectorParser) and JMS' selectors:
// words in any case, names of properties, numbers, text in single quotes, operators; RocketMQ's
// comments count as blanks.

export interface Token {
  /** `symbol`: an operator or a keyword in capitals, which `text` is. */
  readonly kind: 'symbol' | 'name' | 'integer' | 'double' | 'text' | 'end'
  /** A text without its quotes; an integer without its suffix. */
  readonly text: string
  /** Where it begins, from 0. */
  readonly at: number
}

export interface TokenDialect {
  /** Words that cannot name a property. */
  readonly keywords: ReadonlySet<string>
  /** One pattern, tried at each place; every alternative takes time linear in what it takes. */
  readonly pattern: RegExp
}

const COMMON_WORDS = ['NOT', 'AND', 'OR', 'BETWEEN', 'IN', 'TRUE', 'FALSE', 'NULL', 'IS']

const TEXT = `'(?<text>(?:''|[^'])*)'`
const FRACTION = String.raw`\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+`

/** The pattern comes with its first use: classes of Unicode load tables. */
function dialect(words: readonly string[], tokens: readonly string[], flags: string): TokenDialect {
  let pattern: RegExp | undefined
  return {
    keywords: new Set([...COMMON_WORDS, ...words]),
    get pattern() {
      pattern ??= new RegExp(tokens.join('|'), flags)
      return pattern
    },
  }
}

export const ROCKETMQ_TOKENS = dialect(
  ['CONTAINS', 'STARTSWITH', 'ENDSWITH'],
  [
    String.raw`(?<blank>[ \t\n\r\f]+|--[^\n\r]*|/\*(?:[^*]|\*(?!/))*\*/)`,
    `(?<double>${FRACTION})`,
    String.raw`(?<integer>0|[1-9]\d*)[lL]?`,
    TEXT,
    String.raw`(?<name>[a-zA-Z_$][\w$]*)`,
    '(?<operator><>|<=|>=|[=<>(),+-])',
  ],
  'y',
)

/** JMS' selectors: Java's numbers and names, and the dots of `amqp.` names. */
export const SELECTOR_TOKENS = dialect(
  ['LIKE', 'ESCAPE'],
  [
    String.raw`(?<blank>[ \t\n\r\f]+)`,
    String.raw`(?<double>${FRACTION}|\d+(?=[dDfF]))[dDfF]?`,
    String.raw`(?<integer>0[xX][\da-fA-F]{1,16}|\d+)[lL]?`,
    TEXT,
    String.raw`(?<name>[\p{L}_$][\p{L}\p{N}_$.]*)`,
    '(?<operator><>|<=|>=|[=<>(),+*/-])',
  ],
  'yu',
)

/** The token at or after the place; undefined where none can begin. */
export function tokenAt(
  source: string,
  place: number,
  { pattern, keywords }: TokenDialect,
): { token: Token; next: number } | undefined {
  let at = place
  while (at < source.length) {
    pattern.lastIndex = at
    const groups = pattern.exec(source)?.groups
    if (groups === undefined) return undefined
    if (groups['blank'] === undefined) {
      return { token: tokenOf(groups, at, keywords), next: pattern.lastIndex }
    }
    at = pattern.lastIndex
  }
  return { token: { kind: 'end', text: '', at }, next: at }
}

function tokenOf(
  groups: Record<string, string | undefined>,
  at: number,
  keywords: ReadonlySet<string>,
): Token {
  const { double, integer, text, name, operator } = groups
  if (double !== undefined) return { kind: 'double', text: double, at }
  if (integer !== undefined) return { kind: 'integer', text: integer, at }
  if (text !== undefined) return { kind: 'text', text: text.replaceAll("''", "'"), at }
  if (operator !== undefined) return { kind: 'symbol', text: operator, at }
  const word = name!.toUpperCase()
  return keywords.has(word) ? { kind: 'symbol', text: word, at } : { kind: 'name', text: name!, at }
}
