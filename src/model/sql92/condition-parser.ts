// What the grammars of conditions share: OR over AND, values, lists of texts, one token of
// look-ahead, and the bounds of an expression.
import {
  constant,
  type Expression,
  filterInvalid,
  junction,
  type PropertyName,
  property,
  SQL_DEPTH_MAX,
} from './expression.ts'
import type { Token } from './token.ts'
import { integerOf } from './value.ts'

/** Longer expressions are refused. */
export const SQL_CHARS_MAX = 16_384
/** Comparisons, bare conditions, NOTs and listed values of one expression: what a message costs. */
export const SQL_OPERATIONS_MAX = 1_024
/** Longer text to look for is refused: finding it may cost its length for each character. */
export const SQL_CONTAINS_CHARS_MAX = 512
/** So many characters of it count as one more operation. */
const CONTAINS_CHARS_PER_OPERATION = 8
/** And a look through a whole value, which may have 32 KiB, counts as so many more. */
const CONTAINS_OPERATIONS = 8

export interface TokenRules {
  /** The kind of expression, in messages. */
  readonly what: string
  readonly tokenAt: (source: string, at: number) => { token: Token; next: number } | undefined
}

export abstract class ConditionParser {
  /** Operations counted so far. */
  operations = 0
  /** Of the properties that it looks at. */
  readonly names = new Map<string, PropertyName>()
  protected token: Token
  readonly #source: string
  readonly #rules: TokenRules
  #next: number
  #depth = 0

  /** @throws BrokerError FILTER_INVALID */
  constructor(source: string, rules: TokenRules) {
    if (source.length > SQL_CHARS_MAX) {
      throw filterInvalid(
        `the ${rules.what} has ${source.length} characters; at most ${SQL_CHARS_MAX} are taken`,
      )
    }
    this.#source = source
    this.#rules = rules
    const { token, next } = this.#read(0)
    this.token = token
    this.#next = next
  }

  /** An operand of AND. */
  protected abstract operand(): Expression

  /** What stands where a condition has to. @throws BrokerError FILTER_INVALID */
  protected abstract asCondition(of: Expression): Expression

  /** The whole text as a condition. @throws BrokerError FILTER_INVALID */
  parse(): Expression {
    const expression = this.condition(this.#or())
    // RocketMQ ignores what follows the first complete expression, and so half of a filter.
    if (this.token.kind !== 'end') throw this.unexpected('AND, OR or the end')
    return expression
  }

  #or(): Expression {
    return this.deeper(() => this.#junction('OR', true, () => this.#and()))
  }

  #and(): Expression {
    return this.#junction('AND', false, () => this.operand())
  }

  #junction(word: string, decisive: boolean, operand: () => Expression): Expression {
    const first = operand()
    if (!this.is(word)) return first
    const all = [this.condition(first)]
    while (this.skip(word)) all.push(this.condition(operand()))
    return junction(decisive, all)
  }

  /** A property or a constant that stands as a condition costs as much as a comparison. */
  protected condition(of: Expression): Expression {
    return of.kind === 'condition' ? of : this.counted(this.asCondition(of))
  }

  protected primary(): Expression {
    const { kind, text } = this.token
    if (this.skip('(')) {
      const within = this.#or()
      this.expect(')')
      return within
    }
    if (this.skip('TRUE')) return constant(true, 'TRUE')
    if (this.skip('FALSE')) return constant(false, 'FALSE')
    if (kind === 'symbol' || kind === 'end') throw this.unexpected('a value')
    if (kind === 'integer') return this.#integer()
    if (kind === 'double') return this.#double()
    this.advance()
    if (kind === 'text') return constant(text, `'${text}'`)
    return property(this.#name(text))
  }

  #name(text: string): PropertyName {
    const known = this.names.get(text)
    if (known !== undefined) return known
    const name = { text, index: this.names.size }
    this.names.set(text, name)
    return name
  }

  protected texts(): readonly string[] {
    this.expect('(')
    const texts = [this.text()]
    while (this.skip(',')) texts.push(this.text())
    this.expect(')')
    return texts
  }

  protected is(symbol: string): boolean {
    return this.token.kind === 'symbol' && this.token.text === symbol
  }

  protected skip(symbol: string): boolean {
    if (!this.is(symbol)) return false
    this.advance()
    return true
  }

  protected oneOf(symbols: readonly string[]): string | undefined {
    return symbols.find((symbol) => this.skip(symbol))
  }

  protected expect(symbol: string): void {
    if (!this.skip(symbol)) throw this.unexpected(`'${symbol}'`)
  }

  protected advance(): void {
    const { token, next } = this.#read(this.#next)
    this.token = token
    this.#next = next
  }

  protected text(): string {
    if (this.token.kind !== 'text') throw this.unexpected('text in single quotes')
    const { text } = this.token
    this.count()
    this.advance()
    return text
  }

  #integer(): Expression {
    const { text } = this.token
    const value = integerOf(/^0x/i.test(text) ? String(BigInt(text)) : text)
    if (value === undefined) throw filterInvalid(`the integer ${text} has more than 64 bits`)
    this.advance()
    return constant(value, text)
  }

  #double(): Expression {
    const { text } = this.token
    const value = Number(text)
    if (!Number.isFinite(value)) throw filterInvalid(`the number ${text} is too large`)
    this.advance()
    return constant({ type: 'double', value }, text)
  }

  /** Parses one level deeper. */
  protected deeper(parse: () => Expression): Expression {
    if (++this.#depth > SQL_DEPTH_MAX) {
      throw filterInvalid(`the ${this.#rules.what} is nested more than ${SQL_DEPTH_MAX} deep`)
    }
    const expression = parse()
    this.#depth--
    return expression
  }

  protected counted(expression: Expression): Expression {
    this.count()
    return expression
  }

  /** A text that is looked for anywhere in a value. */
  protected countSearch(word: string, { length }: string): void {
    if (length > SQL_CONTAINS_CHARS_MAX) {
      throw filterInvalid(
        `a text after ${word} has ${length} characters; at most ${SQL_CONTAINS_CHARS_MAX} are taken`,
      )
    }
    this.count(CONTAINS_OPERATIONS + Math.floor(length / CONTAINS_CHARS_PER_OPERATION))
  }

  protected count(operations = 1): void {
    this.operations += operations
    if (this.operations <= SQL_OPERATIONS_MAX) return
    throw filterInvalid(
      `the ${this.#rules.what} has more than ${SQL_OPERATIONS_MAX} comparisons and values`,
    )
  }

  protected unexpected(wanted: string): Error {
    const { kind, text, at } = this.token
    const found = kind === 'end' ? 'ends' : `has ${JSON.stringify(text.slice(0, 40))}`
    const what = this.#rules.what
    return filterInvalid(`the ${what} ${found} at character ${at + 1}; expected ${wanted}`)
  }

  #read(place: number): { token: Token; next: number } {
    const found = this.#rules.tokenAt(this.#source, place)
    if (found !== undefined) return found
    const rest = this.#source.slice(place).trimStart()
    const character = this.#source.length - rest.length + 1
    throw filterInvalid(
      `the ${this.#rules.what} has ${JSON.stringify(rest.slice(0, 1))} at character ${character}, ` +
        `which begins no name, number, text or operator`,
    )
  }
}
