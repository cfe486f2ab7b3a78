// RocketMQ's grammar of SQL92 filters (its SelectorParser.jj): OR over AND over equality over
// comparison over sign and NOT. As there, NOT binds closer than a comparison.
import {
  among,
  between,
  condition,
  constant,
  type Expression,
  equal,
  having,
  isNull,
  junction,
  negative,
  not,
  notBetween,
  type Order,
  ordered,
  type Part,
} from './expression.ts'
import { ROCKETMQ_TOKENS, tokenAt } from './token.ts'
import { TokenReader, type TokenRules } from './token-reader.ts'

const RULES: TokenRules = {
  what: 'SQL92 expression',
  tokenAt: (source, at) => tokenAt(source, at, ROCKETMQ_TOKENS),
}

export class Parser extends TokenReader {
  /** @throws BrokerError FILTER_INVALID */
  constructor(source: string) {
    super(source, RULES)
  }

  /** The whole text as a condition. @throws BrokerError FILTER_INVALID */
  parse(): Expression {
    const expression = this.#condition(this.#or())
    // RocketMQ ignores what follows the first complete expression, and so half of a filter.
    if (this.token.kind !== 'end') throw this.unexpected('AND, OR or the end')
    return expression
  }

  #or(): Expression {
    return this.deeper(() => this.#junction('OR', true, () => this.#and()))
  }

  #and(): Expression {
    return this.#junction('AND', false, () => this.#equality())
  }

  #junction(word: string, decisive: boolean, operand: () => Expression): Expression {
    const first = operand()
    if (!this.is(word)) return first
    const all = [this.#condition(first)]
    while (this.skip(word)) all.push(this.#condition(operand()))
    return junction(decisive, all)
  }

  #equality(): Expression {
    let left = this.#comparison()
    for (;;) {
      if (this.skip('=')) left = this.counted(equal(left, this.#comparison()))
      else if (this.skip('<>')) left = this.counted(not(equal(left, this.#comparison())))
      else if (this.skip('IS')) {
        const isNot = this.skip('NOT')
        this.expect('NULL')
        left = this.counted(isNot ? not(isNull(left)) : isNull(left))
      } else return left
    }
  }

  #comparison(): Expression {
    let left = this.#signed()
    for (;;) {
      const order = this.oneOf(['>', '>=', '<', '<='])
      if (order !== undefined) left = this.counted(ordered(left, order as Order, this.#signed()))
      else if (this.#isPredicate()) left = this.counted(this.#predicate(left))
      else return left
    }
  }

  #isPredicate(): boolean {
    return ['NOT', 'BETWEEN', 'IN', 'CONTAINS', 'STARTSWITH', 'ENDSWITH'].some((word) =>
      this.is(word),
    )
  }

  #predicate(left: Expression): Expression {
    const isNot = this.skip('NOT')
    if (this.skip('BETWEEN')) {
      const low = this.#signed()
      this.expect('AND')
      return (isNot ? notBetween : between)(left, low, this.#signed())
    }
    if (this.skip('IN')) return among(left, this.#texts(), isNot)
    const part = this.oneOf(['CONTAINS', 'STARTSWITH', 'ENDSWITH'])
    if (part === undefined) throw this.unexpected('BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH')
    const text = this.text()
    if (part === 'CONTAINS') this.countSearch(part, text)
    return having(left, part as Part, text, isNot)
  }

  #texts(): readonly string[] {
    this.expect('(')
    const texts = [this.text()]
    while (this.skip(',')) texts.push(this.text())
    this.expect(')')
    return texts
  }

  #signed(): Expression {
    return this.deeper(() => this.#unary())
  }

  #unary(): Expression {
    if (this.skip('+')) return this.#signed()
    if (this.skip('-')) return negative(this.#signed())
    if (this.skip('NOT')) return this.counted(not(condition(this.#signed())))
    return this.#primary()
  }

  /** A property or a constant that stands as a condition costs as much as a comparison. */
  #condition(of: Expression): Expression {
    return of.kind === 'condition' ? of : this.counted(condition(of))
  }

  #primary(): Expression {
    const { kind, text } = this.token
    if (this.skip('(')) {
      const within = this.#or()
      this.expect(')')
      return within
    }
    if (this.skip('TRUE')) return constant(true, 'TRUE')
    if (this.skip('FALSE')) return constant(false, 'FALSE')
    if (this.skip('NULL')) return constant(null, 'NULL')
    if (kind === 'symbol' || kind === 'end') throw this.unexpected('a value')
    if (kind === 'integer') return this.integer()
    if (kind === 'double') return this.double()
    this.advance()
    if (kind === 'text') return constant(text, `'${text}'`)
    return this.named(text)
  }
}
