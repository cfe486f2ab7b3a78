import test from 'ava'
import { BrokerError, ERROR_CODES } from '../../../src/errors.ts'
import {
  AmqpError,
  CONDITION,
  conditionOf,
  describeError,
  shortDescription,
} from '../../../src/gateway/amqp/errors.ts'

test('every code has a condition of the specification', (t) => {
  for (const code of ERROR_CODES) t.regex(conditionOf(code), /^amqp:[a-z:-]+$/)
})

test('an error is described by its condition and its own words', (t) => {
  t.deepEqual(describeError(new BrokerError('TOPIC_NOT_FOUND', 'no topic')), {
    condition: 'amqp:not-found',
    description: 'no topic',
  })
  t.deepEqual(describeError(new AmqpError(CONDITION.handleInUse, 'too much')), {
    condition: 'amqp:session:handle-in-use',
    description: 'too much',
  })
  t.is(describeError(new Error('boom')).condition, 'amqp:internal-error')
})

test("an error's text is cut where a character ends", (t) => {
  t.is(shortDescription('short'), 'short')
  t.is(shortDescription('x'.repeat(400)).length, 320)
  t.is(shortDescription(`x${'é'.repeat(200)}`), `x${'é'.repeat(159)}`)
})
