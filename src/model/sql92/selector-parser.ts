// The grammar of JMS selectors (Jakarta Messaging 3.8.1.1): OR over AND over NOT over comparison
// over + and - over * and /.
import { ConditionParser, type TokenRules } from './condition-parser.ts'
import {
  among,
  constant,
  type Expression,
  filterInvalid,
  isNull,
  junction,
  not,
  type Order,
} from './expression.ts'
import {
  arithmetic,
  comparison,
  equality,
  like,
  type Operator,
  stepsOf,
  truth,
} from './selection.ts'
import { SELECTOR_TOKENS, tokenAt } from './token.ts'

const RULES: TokenRules = {
  what: 'selector',
  tokenAt: (source, at) => tokenAt(source, at, SELECTOR_TOKENS),
}

/** Each may be a step for each character of a value: 256 of them are 8 million steps at most. */
const OPERATIONS_PER_STEP = 4

const ZERO = constant({ type: 'int', value: 0 }, '0')

export class SelectorParser extends ConditionParser {
  /** @throws BrokerError FILTER_INVALID */
  constructor(source: string) {
    super(source, RULES)
  }

  protected override operand(): Expression {
    return this.#not()
  }

  protected override asCondition(of: Expression): Expression {
    return truth(of)
  }

  #not(): Expression {
    if (!this.skip('NOT')) return this.#comparison()
    return this.deeper(() => this.counted(not(this.condition(this.#not()))))
  }

  #comparison(): Expression {
    const left = this.#sum()
    if (this.skip('=')) return this.counted(equality(left, false, this.#sum()))
    if (this.skip('<>')) return this.counted(equality(left, true, this.#sum()))
    const order = this.oneOf(['>', '>=', '<', '<='])
    if (order !== undefined) return this.counted(comparison(left, order as Order, this.#sum()))
    if (this.skip('IS')) {
      const isNot = this.skip('NOT')
      this.expect('NULL')
      if (left.kind !== 'property')
        throw filterInvalid(`'${left.text}' before IS is not a property`)
      return this.counted(isNot ? not(isNull(left)) : isNull(left))
    }
    const isNot = this.skip('NOT')
    if (this.skip('BETWEEN')) return this.#between(left, isNot)
    if (this.skip('IN')) return this.counted(among(left, this.texts(), isNot))
    if (this.skip('LIKE')) return this.#like(left, isNot)
    if (isNot) throw this.unexpected('BETWEEN, IN or LIKE')
    return left
  }

  #between(of: Expression, isNot: boolean): Expression {
    const low = this.#sum()
    this.expect('AND')
    const high = this.#sum()
    this.count(2)
    const within = junction(false, [comparison(of, '>=', low), comparison(of, '<=', high)])
    return isNot ? not(within) : within
  }

  #like(of: Expression, isNot: boolean): Expression {
    const pattern = this.text()
    this.countSearch('LIKE', pattern)
    const escaping = this.skip('ESCAPE') ? this.text() : undefined
    if (escaping !== undefined && escaping.length !== 1) {
      throw filterInvalid('the text after ESCAPE is one character')
    }
    this.count(OPERATIONS_PER_STEP * stepsOf(pattern, escaping ?? ''))
    return like(of, pattern, escaping ?? '', isNot)
  }

  #sum(): Expression {
    return this.#chain(['+', '-'], () => this.#product())
  }

  #product(): Expression {
    return this.#chain(['*', '/'], () => this.#signed())
  }

  #chain(operators: readonly Operator[], operand: () => Expression): Expression {
    let left = operand()
    for (let found = this.oneOf(operators); found !== undefined; found = this.oneOf(operators)) {
      left = this.counted(arithmetic(left, found as Operator, operand()))
    }
    return left
  }

  #signed(): Expression {
    if (this.skip('+')) return this.deeper(() => this.#signed())
    if (this.skip('-'))
      return this.deeper(() => this.counted(arithmetic(ZERO, '-', this.#signed())))
    return this.primary()
  }
}
