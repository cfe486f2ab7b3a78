// RocketMQ's grammar of SQL92 filters (its SelectorParser.jj): OR over AND over equality over
// comparison over sign and NOT. As there, NOT binds closer than a comparison.
import {
  among,
  between,
  condition,
  constant,
  type Expression,
  equal,
  filterInvalid,
  having,
  isNull,
  junction,
  negative,
  not,
  notBetween,
  type Order,
  ordered,
  type Part,
  property,
  SQL_DEPTH_MAX,
} from './expression.ts'
import { type Token, tokenAt } from './token.ts'
import { integerOf } from './value.ts'

/** Longer expressions are refused. */
export const SQL_CHARS_MAX = 16_384
/** Comparisons, bare conditions, NOTs and listed values of one expression: what a message costs. */
export const SQL_OPERATIONS_MAX = 1_024
/** Longer text to look for is refused: finding it may cost its length for each character. */
export const SQL_CONTAINS_CHARS_MAX = 512
/** So many characters of it count as one more operation. */
const CONTAINS_CHARS_PER_OPERATION = 8

export class Parser {
  /** Operations counted so far. */
  operations = 0
  readonly #source: string
  #token: Token
  #next: number
  #depth = 0

  /** @throws BrokerError FILTER_INVALID */
  constructor(source: string) {
    if (source.length > SQL_CHARS_MAX) {
      throw filterInvalid(
        `the SQL92 expression has ${source.length} characters; at most ${SQL_CHARS_MAX} are taken`,
      )
    }
    this.#source = source
    const { token, next } = this.#read(0)
    this.#token = token
    this.#next = next
  }

  /** The whole text as a condition. @throws BrokerError FILTER_INVALID */
  parse(): Expression {
    const expression = this.#condition(this.#or())
    // RocketMQ ignores what follows the first complete expression, and so half of a filter.
    if (this.#token.kind !== 'end') throw this.#unexpected('AND, OR or the end')
    return expression
  }

  #or(): Expression {
    if (++this.#depth > SQL_DEPTH_MAX) throw this.#tooDeep()
    const expression = this.#junction('OR', true, () => this.#and())
    this.#depth--
    return expression
  }

  #and(): Expression {
    return this.#junction('AND', false, () => this.#equality())
  }

  #junction(word: string, decisive: boolean, operand: () => Expression): Expression {
    const first = operand()
    if (!this.#is(word)) return first
    const all = [this.#condition(first)]
    while (this.#skip(word)) all.push(this.#condition(operand()))
    return junction(decisive, all)
  }

  #equality(): Expression {
    let left = this.#comparison()
    for (;;) {
      if (this.#skip('=')) left = this.#counted(equal(left, this.#comparison()))
      else if (this.#skip('<>')) left = this.#counted(not(equal(left, this.#comparison())))
      else if (this.#skip('IS')) {
        const isNot = this.#skip('NOT')
        this.#expect('NULL')
        left = this.#counted(isNot ? not(isNull(left)) : isNull(left))
      } else return left
    }
  }

  #comparison(): Expression {
    let left = this.#signed()
    for (;;) {
      const order = this.#oneOf(['>', '>=', '<', '<='])
      if (order !== undefined) left = this.#counted(ordered(left, order as Order, this.#signed()))
      else if (this.#isPredicate()) left = this.#counted(this.#predicate(left))
      else return left
    }
  }

  #isPredicate(): boolean {
    return ['NOT', 'BETWEEN', 'IN', 'CONTAINS', 'STARTSWITH', 'ENDSWITH'].some((word) =>
      this.#is(word),
    )
  }

  #predicate(left: Expression): Expression {
    const isNot = this.#skip('NOT')
    if (this.#skip('BETWEEN')) {
      const low = this.#signed()
      this.#expect('AND')
      return (isNot ? notBetween : between)(left, low, this.#signed())
    }
    if (this.#skip('IN')) return among(left, this.#texts(), isNot)
    const part = this.#oneOf(['CONTAINS', 'STARTSWITH', 'ENDSWITH'])
    if (part === undefined) throw this.#unexpected('BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH')
    const text = this.#text()
    if (part === 'CONTAINS') this.#countContains(text)
    return having(left, part as Part, text, isNot)
  }

  #texts(): readonly string[] {
    this.#expect('(')
    const texts = [this.#text()]
    while (this.#skip(',')) texts.push(this.#text())
    this.#expect(')')
    return texts
  }

  #signed(): Expression {
    if (++this.#depth > SQL_DEPTH_MAX) throw this.#tooDeep()
    const expression = this.#unary()
    this.#depth--
    return expression
  }

  #unary(): Expression {
    if (this.#skip('+')) return this.#signed()
    if (this.#skip('-')) return negative(this.#signed())
    if (this.#skip('NOT')) return this.#counted(not(condition(this.#signed())))
    return this.#primary()
  }

  /** A property or a constant that stands as a condition costs as much as a comparison. */
  #condition(of: Expression): Expression {
    return of.kind === 'condition' ? of : this.#counted(condition(of))
  }

  #primary(): Expression {
    const { kind, text } = this.#token
    if (this.#skip('(')) {
      const within = this.#or()
      this.#expect(')')
      return within
    }
    if (this.#skip('TRUE')) return constant(true, 'TRUE')
    if (this.#skip('FALSE')) return constant(false, 'FALSE')
    if (this.#skip('NULL')) return constant(null, 'NULL')
    if (kind === 'symbol' || kind === 'end') throw this.#unexpected('a value')
    if (kind === 'integer') return this.#integer()
    if (kind === 'double') return this.#double()
    this.#advance()
    if (kind === 'text') return constant(text, `'${text}'`)
    return property(text)
  }

  #integer(): Expression {
    const { text } = this.#token
    const value = integerOf(text)
    if (value === undefined) throw filterInvalid(`the integer ${text} has more than 64 bits`)
    this.#advance()
    return constant(value, text)
  }

  #double(): Expression {
    const { text } = this.#token
    const value = Number(text)
    if (!Number.isFinite(value)) throw filterInvalid(`the number ${text} is too large`)
    this.#advance()
    return constant({ type: 'double', value }, text)
  }

  #text(): string {
    if (this.#token.kind !== 'text') throw this.#unexpected('text in single quotes')
    const { text } = this.#token
    this.#count()
    this.#advance()
    return text
  }

  #counted(expression: Expression): Expression {
    this.#count()
    return expression
  }

  #countContains({ length }: string): void {
    if (length > SQL_CONTAINS_CHARS_MAX) {
      throw filterInvalid(
        `a text after CONTAINS has ${length} characters; at most ${SQL_CONTAINS_CHARS_MAX} are taken`,
      )
    }
    this.#count(Math.floor(length / CONTAINS_CHARS_PER_OPERATION))
  }

  #count(operations = 1): void {
    this.operations += operations
    if (this.operations <= SQL_OPERATIONS_MAX) return
    throw filterInvalid(
      `the SQL92 expression has more than ${SQL_OPERATIONS_MAX} comparisons and values`,
    )
  }

  #is(symbol: string): boolean {
    return this.#token.kind === 'symbol' && this.#token.text === symbol
  }

  #skip(symbol: string): boolean {
    if (!this.#is(symbol)) return false
    this.#advance()
    return true
  }

  #oneOf(symbols: readonly string[]): string | undefined {
    return symbols.find((symbol) => this.#skip(symbol))
  }

  #expect(symbol: string): void {
    if (!this.#skip(symbol)) throw this.#unexpected(`'${symbol}'`)
  }

  #advance(): void {
    const { token, next } = this.#read(this.#next)
    this.#token = token
    this.#next = next
  }

  #read(place: number): { token: Token; next: number } {
    const found = tokenAt(this.#source, place)
    if (found !== undefined) return found
    const rest = this.#source.slice(place).trimStart()
    const character = this.#source.length - rest.length + 1
    throw filterInvalid(
      `the SQL92 expression has ${JSON.stringify(rest.slice(0, 1))} at character ${character}, ` +
        `which begins no name, number, text or operator`,
    )
  }

  #unexpected(wanted: string): Error {
    const { kind, text, at } = this.#token
    const found = kind === 'end' ? 'ends' : `has ${JSON.stringify(text.slice(0, 40))}`
    return filterInvalid(`the SQL92 expression ${found} at character ${at + 1}; expected ${wanted}`)
  }

  #tooDeep(): Error {
    return filterInvalid(`the SQL92 expression is nested more than ${SQL_DEPTH_MAX} deep`)
  }
}
