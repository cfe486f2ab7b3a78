// The grammar of JMS selectors (Jakarta Messaging 3.8.1.1): OR over AND over NOT over comparison
// over + and - over * and /.
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
import { TokenReader, type TokenRules } from './token-reader.ts'

const RULES: TokenRules = {
  what: 'selector',
  tokenAt: (source, at) => tokenAt(source, at, SELECTOR_TOKENS),
}

/** Each may be a step for each character of a value: 256 of them are 8 million steps at most. */
const OPERATIONS_PER_STEP = 4

const ZERO = constant({ type: 'int', value: 0 }, '0')

export class SelectorParser extends TokenReader {
  /** @throws BrokerError FILTER_INVALID */
  constructor(source: string) {
    super(source, RULES)
  }

  /** The whole text as a condition. @throws BrokerError FILTER_INVALID */
  parse(): Expression {
    const expression = this.#truth(this.#or())
    if (this.token.kind !== 'end') throw this.unexpected('AND, OR or the end')
    return expression
  }

  #or(): Expression {
    return this.deeper(() => this.#junction('OR', true, () => this.#and()))
  }

  #and(): Expression {
    return this.#junction('AND', false, () => this.#not())
  }

  #junction(word: string, decisive: boolean, operand: () => Expression): Expression {
    const first = operand()
    if (!this.is(word)) return first
    const all = [this.#truth(first)]
    while (this.skip(word)) all.push(this.#truth(operand()))
    return junction(decisive, all)
  }

  #not(): Expression {
    if (!this.skip('NOT')) return this.#comparison()
    return this.deeper(() => this.counted(not(this.#truth(this.#not()))))
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
    if (this.skip('IN')) return this.counted(among(left, this.#texts(), isNot))
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

  #texts(): readonly string[] {
    this.expect('(')
    const texts = [this.text()]
    while (this.skip(',')) texts.push(this.text())
    this.expect(')')
    return texts
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
    return this.#primary()
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
    if (kind === 'symbol' || kind === 'end') throw this.unexpected('a value')
    if (kind === 'integer') return this.integer()
    if (kind === 'double') return this.double()
    this.advance()
    if (kind === 'text') return constant(text, `'${text}'`)
    return this.named(text)
  }

  /** A property or a constant that stands as a condition costs as much as a comparison. */
  #truth(of: Expression): Expression {
    return of.kind === 'condition' ? of : this.counted(truth(of))
  }
}
