import test from 'ava'
import { BrokerError } from '../../src/errors.ts'
import { type PublishBatch, PublishLine } from '../../src/gateway/net/publish-line.ts'
import { NO_HOST } from '../../src/model/host.ts'
import { type NewMessage, newMessage, type PublishResult } from '../../src/model/message.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import { Traffic } from '../../src/port/traffic.ts'
import { FakeClock } from '../support/fake-clock.ts'

const place = { topic: 'T', queueId: 0, createTopic: false }
const message = (body: string): NewMessage =>
  newMessage(place, undefined, Buffer.from(body), Buffer.alloc(0), NO_HOST, 0)
const RESULT = {} as PublishResult

class Batch implements PublishBatch {
  messages: NewMessage[] = []
  bytes = 0
  text = ''
  readonly #answered: (batch: Batch, results: readonly PublishResult[]) => void

  constructor(answered: (batch: Batch, results: readonly PublishResult[]) => void) {
    this.#answered = answered
  }

  add(body: string): void {
    this.messages.push(message(body))
    this.text += body
    this.bytes += body.length
  }

  settle(results: readonly PublishResult[]): void {
    this.#answered(this, results)
  }
}

/** A line over a broker that answers call by call, as the test says. */
function lineOf(unstoredBytesMax = 100) {
  const calls: { settle: (results: PublishResult[]) => void; fail: (error: unknown) => void }[] = []
  const answers: string[] = []
  const changes: boolean[] = []
  const answered = (batch: Batch, results: readonly PublishResult[]): void => {
    const codes = results.map((result) => (result instanceof BrokerError ? result.code : 'stored'))
    answers.push(`${batch.text} ${codes.join(' ')}`)
  }
  const line: PublishLine<Batch> = new PublishLine({
    clock: new FakeClock(),
    traffic: new Traffic(new Numbers(), 'mqtt'),
    unstoredBytesMax,
    newBatch: () => new Batch(answered),
    publish: () => new Promise((settle, fail) => calls.push({ settle, fail })),
    changed: () => changes.push(line.isFull),
  })
  const chunk = (...bodies: string[]): void => {
    for (const body of bodies) line.batch.add(body)
    line.flush()
  }
  return { line, calls, answers, changes, chunk, answered }
}

test('the messages of a chunk are one publish, and a chunk without messages is none', (t) => {
  const { calls, chunk } = lineOf()
  chunk('a', 'b')
  chunk()
  t.is(calls.length, 1)
})

test('batches are answered in the order in which they came, whichever call settles first', async (t) => {
  const { line, calls, answers, chunk } = lineOf()
  chunk('a')
  chunk('b', 'c')
  calls[1]!.settle([RESULT, RESULT])
  await Promise.resolve()
  t.deepEqual(answers, [])
  calls[0]!.settle([RESULT])
  await line.whenIdle()
  t.deepEqual(answers, ['a stored', 'bc stored stored'])
})

test('what does not go to the broker is answered behind what went before', async (t) => {
  const { line, calls, answers, chunk, answered } = lineOf()
  const refused = new BrokerError('PERMISSION_DENIED', 'no')
  chunk('a')
  line.answer(new Batch(answered), [refused])
  t.deepEqual(answers, [])
  calls[0]!.settle([RESULT])
  await line.whenIdle()
  t.deepEqual(answers, ['a stored', ' PERMISSION_DENIED'])
  line.answer(new Batch(answered), [refused])
  t.is(answers.length, 3, 'at once where nothing waits')
})

test('a call that fails, or answers for too few, refuses each of its messages', async (t) => {
  const { line, calls, answers, chunk } = lineOf()
  chunk('a', 'b')
  chunk('c', 'd')
  calls[0]!.fail(new BrokerError('BUSY', 'later'))
  calls[1]!.settle([RESULT])
  await line.whenIdle()
  t.deepEqual(answers, ['ab BUSY BUSY', 'cd INTERNAL INTERNAL'])
})

test('beyond its limit the line is full, until half of that is stored', async (t) => {
  const { line, calls, changes, chunk } = lineOf(100)
  chunk('x'.repeat(100))
  chunk('x')
  chunk('x'.repeat(40))
  t.true(line.isFull)
  calls[0]!.settle([RESULT])
  await new Promise((resolve) => setImmediate(resolve))
  t.false(line.isFull)
  line.grow(line.last!, 60)
  t.true(line.isFull)
  calls[1]!.settle([RESULT])
  calls[2]!.settle([RESULT])
  await line.whenIdle()
  t.deepEqual(changes, [true, false, true, false])
})

test('the line is idle once everything that came is answered, also what had not been flushed', async (t) => {
  const { line, calls, answers } = lineOf()
  line.batch.add('a')
  const idle = line.whenIdle()
  t.false(line.isIdle)
  calls[0]!.settle([RESULT])
  await idle
  t.true(line.isIdle)
  t.deepEqual(answers, ['a stored'])
})
