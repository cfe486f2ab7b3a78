// The tokens of RocketMQ's SQL92 filters (its SelectorParser): words in any case, names of
// properties, numbers, text in single quotes, operators; comments count as blanks.

/** Words that cannot name a property. */
const KEYWORDS = new Set([
  'NOT',
  'AND',
  'OR',
  'BETWEEN',
  'IN',
  'TRUE',
  'FALSE',
  'NULL',
  'IS',
  'CONTAINS',
  'STARTSWITH',
  'ENDSWITH',
])

export interface Token {
  /** `symbol`: an operator or a keyword in capitals, which `text` is. */
  readonly kind: 'symbol' | 'name' | 'integer' | 'double' | 'text' | 'end'
  /** A text without its quotes; an integer without its suffix. */
  readonly text: string
  /** Where it begins, from 0. */
  readonly at: number
}

/** One pattern, tried at each place; every alternative takes time linear in what it takes. */
const PATTERN = new RegExp(
  [
    String.raw`(?<blank>[ \t\n\r\f]+|--[^\n\r]*|/\*(?:[^*]|\*(?!/))*\*/)`,
    String.raw`(?<double>\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)`,
    String.raw`(?<integer>0|[1-9]\d*)[lL]?`,
    `'(?<text>(?:''|[^'])*)'`,
    String.raw`(?<name>[a-zA-Z_$][\w$]*)`,
    '(?<operator><>|<=|>=|[=<>(),+-])',
  ].join('|'),
  'y',
)

/** The token at or after the place; undefined where none can begin. */
export function tokenAt(source: string, place: number): { token: Token; next: number } | undefined {
  let at = place
  while (at < source.length) {
    PATTERN.lastIndex = at
    const groups = PATTERN.exec(source)?.groups
    if (groups === undefined) return undefined
    if (groups['blank'] === undefined) {
      return { token: tokenOf(groups, at), next: PATTERN.lastIndex }
    }
    at = PATTERN.lastIndex
  }
  return { token: { kind: 'end', text: '', at }, next: at }
}

function tokenOf(groups: Record<string, string | undefined>, at: number): Token {
  const { double, integer, text, name, operator } = groups
  if (double !== undefined) return { kind: 'double', text: double, at }
  if (integer !== undefined) return { kind: 'integer', text: integer, at }
  if (text !== undefined) return { kind: 'text', text: text.replaceAll("''", "'"), at }
  if (operator !== undefined) return { kind: 'symbol', text: operator, at }
  const word = name!.toUpperCase()
  return KEYWORDS.has(word) ? { kind: 'symbol', text: word, at } : { kind: 'name', text: name!, at }
}
