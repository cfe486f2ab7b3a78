import test from 'ava'
import fc from 'fast-check'
import {
  dueKey,
  factKey,
  minuteKey,
  parseDueKey,
  parseFactKey,
  parseMinuteKey,
  parseQueueKey,
  parseRunKey,
  prefixRange,
  queueKey,
  runKey,
  writeBlockKey,
} from '../../src/store/views/keys.ts'

const POSITION_MAX = Number.MAX_SAFE_INTEGER
const position = fc.nat(POSITION_MAX)
const dueMs = fc.nat(2 ** 48 - 1)
const topic = fc.string({ unit: 'binary', minLength: 1 }).filter((text) => !text.includes('\u0000'))

const sign = (n: number): number => Math.sign(n)

test('keys of parked messages sort by due time, then position, and are read back', (t) => {
  fc.assert(
    fc.property(dueMs, position, dueMs, position, (due, at, otherDue, otherAt) => {
      t.deepEqual(parseDueKey(dueKey(due, at)), { dueMs: due, position: at })
      const order = sign(due - otherDue) || sign(at - otherAt)
      t.is(sign(dueKey(due, at).compare(dueKey(otherDue, otherAt))), order)
    }),
  )
})

test('keys of blocks sort by queue, then block', (t) => {
  const number = fc.nat(2 ** 32 - 1)
  const block = fc.nat(2 ** 48 - 1)
  fc.assert(
    fc.property(number, block, number, block, (queue, at, otherQueue, otherAt) => {
      const key = writeBlockKey(Buffer.alloc(11), queue, at)
      const other = writeBlockKey(Buffer.alloc(11), otherQueue, otherAt)
      t.is(sign(key.compare(other)), sign(queue - otherQueue) || sign(at - otherAt))
    }),
  )
})

test('every other key is read back as it was made', (t) => {
  fc.assert(
    fc.property(topic, fc.nat(2 ** 32 - 1), position, dueMs, (name, queueId, at, minute) => {
      t.deepEqual(parseQueueKey(queueKey(name, queueId)), { topic: name, queueId })
      t.deepEqual(parseFactKey(factKey('kind', name)), { kind: 'kind', key: name })
      t.is(parseRunKey(runKey(at)), at)
      t.is(parseMinuteKey(minuteKey(minute)), minute)
    }),
  )
})

test('a prefix holds all keys of its kind and no other', (t) => {
  const [from, to] = prefixRange('Q')
  for (const key of [queueKey('a', 0), queueKey('\u{10ffff}', 2 ** 32 - 1)]) {
    t.true(from.compare(key) <= 0 && key.compare(to) < 0)
  }
  for (const key of [factKey('a', 'b'), runKey(1), Buffer.from('R')]) {
    t.false(from.compare(key) <= 0 && key.compare(to) < 0)
  }
})
