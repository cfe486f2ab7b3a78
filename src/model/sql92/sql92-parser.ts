// RocketMQ's grammar of SQL92 filters (its SelectorParser.jj): OR over AND over equality over
// comparison over sign and NOT. As there, NOT binds closer than a comparison.
import { ConditionParser, type TokenRules } from './condition-parser.ts'
import {
  among,
  between,
  condition,
  constant,
  type Expression,
  equal,
  having,
  isNull,
  negative,
  not,
  notBetween,
  type Order,
  ordered,
  type Part,
} from './expression.ts'
import { ROCKETMQ_TOKENS, tokenAt } from './token.ts'

const RULES: TokenRules = {
  what: 'SQL92 expression',
  tokenAt: (source, at) => tokenAt(source, at, ROCKETMQ_TOKENS),
}

export class Sql92Parser extends ConditionParser {
  /** @throws BrokerError FILTER_INVALID */
  constructor(source: string) {
    super(source, RULES)
  }

  protected override operand(): Expression {
    return this.#equality()
  }

  protected override asCondition(of: Expression): Expression {
    return condition(of)
  }

  protected override primary(): Expression {
    return this.skip('NULL') ? constant(null, 'NULL') : super.primary()
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
    if (this.skip('IN')) return among(left, this.texts(), isNot)
    const part = this.oneOf(['CONTAINS', 'STARTSWITH', 'ENDSWITH'])
    if (part === undefined) throw this.unexpected('BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH')
    const text = this.text()
    if (part === 'CONTAINS') this.countSearch(part, text)
    return having(left, part as Part, text, isNot)
  }

  #signed(): Expression {
    return this.deeper(() => this.#unary())
  }

  #unary(): Expression {
    if (this.skip('+')) return this.#signed()
    if (this.skip('-')) return negative(this.#signed())
    if (this.skip('NOT')) return this.counted(not(condition(this.#signed())))
    return this.primary()
  }
}
