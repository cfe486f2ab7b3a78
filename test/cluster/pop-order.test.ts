// What POPs that are under way at one time are answered with, in the order of each queue.
import test from 'ava'
import type { PoppedRecord } from '../../src/client/calls/pop-calls.ts'
import { PopOrder } from '../../src/cluster/receive/pop-order.ts'

interface Place {
  readonly queueId?: number
  readonly retryKind?: string
}

const popped = (offsets: readonly number[], { queueId = 0, retryKind = '0' }: Place = {}) =>
  offsets.map(
    (queueOffset) =>
      ({ record: { queueOffset }, handle: { queueId, retryKind } }) as unknown as PoppedRecord,
  )

const offsetsOf = (ready: readonly PoppedRecord[]): number[] =>
  ready.map(({ record }) => record.queueOffset)

function opened() {
  const order = new PopOrder()
  const open = (name = 'broker-a') => order.open(name)
  const answered = (pop: ReturnType<typeof open>, offsets: readonly number[], place?: Place) =>
    offsetsOf(order.answered(pop, popped(offsets, place)))
  return { order, open, answered }
}

test('what comes first waits for what may stand before it', (t) => {
  const { order, open, answered } = opened()
  const [first, second] = [open(), open()]
  t.deepEqual(answered(second, [2, 3]), [])
  t.is(order.waiting, 2)
  t.deepEqual(answered(first, [0, 1]), [0, 1, 2, 3])
  t.is(order.waiting, 0)
})

test('what comes next in its queue waits for nothing', (t) => {
  const { open, answered } = opened()
  t.deepEqual(answered(open(), [0, 1]), [0, 1])
  const [first, second] = [open(), open()]
  t.deepEqual(answered(first, [2, 3]), [2, 3])
  t.deepEqual(answered(second, [4]), [4])
})

test('what has a gap before it waits for those that were sent before it came, and no others', (t) => {
  const { open, answered } = opened()
  t.deepEqual(answered(open(), [0]), [0])
  const [first, second] = [open(), open()]
  t.deepEqual(answered(second, [7, 9]), [])
  const third = open()
  t.deepEqual(answered(first, []), [7, 9])
  t.deepEqual(answered(third, [12]), [12])
})

test('what stands before others waits no longer than they', (t) => {
  const { open, answered } = opened()
  const [first, second, third] = [open(), open(), open()]
  t.deepEqual(answered(third, [20]), [])
  const fourth = open()
  t.deepEqual(answered(second, [10]), [])
  t.deepEqual(answered(first, [5]), [5, 10, 20])
  t.deepEqual(answered(fourth, [30]), [30])
})

test('other queues, brokers and the retry topic wait for themselves', (t) => {
  const { open, answered } = opened()
  for (const queueId of [0, 1]) answered(open(), [0], { queueId })
  answered(open(), [0], { retryKind: '1' })
  const [first, second, third] = [open(), open(), open()]
  t.deepEqual(answered(second, [2]), [])
  t.deepEqual(answered(third, [1], { queueId: 1 }), [1])
  t.deepEqual(answered(open('broker-b'), [8]), [8])
  t.deepEqual(answered(open(), [1], { retryKind: '1' }), [1])
  t.deepEqual(answered(first, [1]), [1, 2])
})

test('a message that comes again is behind nothing, and holds nothing up', (t) => {
  const { open, answered } = opened()
  t.deepEqual(answered(open(), [0, 1, 2]), [0, 1, 2])
  const [first, second] = [open(), open()]
  t.deepEqual(answered(second, [1, 7]), [])
  t.deepEqual(answered(first, [3, 4]), [1, 3, 4, 7])
  t.deepEqual(answered(open(), [8]), [8])
})

test('an answer that does not come any more is waited for no longer', (t) => {
  const { order, open, answered } = opened()
  const first = open()
  t.deepEqual(answered(open(), [5]), [])
  t.deepEqual(order.answered(first, []).length, 1)
  open()
  t.deepEqual(answered(open(), [9]), [])
  t.deepEqual(offsetsOf(order.takeAll()), [9])
  t.is(order.waiting, 0)
})
