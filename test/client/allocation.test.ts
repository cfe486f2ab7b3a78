import test from 'ava'
import fc from 'fast-check'
import { allocateAveragely, compareQueues, queueKey } from '../../src/client/routes/allocation.ts'

const queuesOf = (count: number, brokerName = 'a') =>
  Array.from({ length: count }, (_, queueId) => ({ topic: 'T', brokerName, queueId }))

const idsOf = (queues: readonly { queueId: number }[]) => queues.map((queue) => queue.queueId)

/** The formula as RocketMQ states it, written another way than the code under test. */
function stated(queues: number, members: number, index: number): number[] {
  const mod = queues % members
  const size =
    queues <= members
      ? 1
      : mod > 0 && index < mod
        ? Math.floor(queues / members) + 1
        : Math.floor(queues / members)
  const start = mod > 0 && index < mod ? index * size : index * size + mod
  const range = Math.min(size, queues - start)
  return Array.from({ length: Math.max(0, range) }, (_, i) => start + i)
}

test('eight queues among three members go three, three, two', (t) => {
  const members = ['m2', 'm0', 'm1']
  const shares = ['m0', 'm1', 'm2'].map((id) => idsOf(allocateAveragely(queuesOf(8), members, id)))
  t.deepEqual(shares, [
    [0, 1, 2],
    [3, 4, 5],
    [6, 7],
  ])
})

test("every member's share is the one that RocketMQ's formula states", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 80 }), (q, m) => {
      const members = Array.from({ length: m }, (_, i) => `m${String(i).padStart(3, '0')}`)
      for (const [index, id] of members.entries()) {
        const share = allocateAveragely(queuesOf(q).reverse(), members, id)
        if (JSON.stringify(idsOf(share)) !== JSON.stringify(stated(q, m, index))) return false
      }
      return true
    }),
  )
  t.pass()
})

test('every queue has exactly one reader, whichever member computes it, in any order', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 40 }),
      (members, count) => {
        const queues = [...queuesOf(count, 'b'), ...queuesOf(3, 'a')]
        const read = members.flatMap((id) =>
          allocateAveragely([...queues].reverse(), [...members].reverse(), id).map(queueKey),
        )
        return read.length === queues.length && new Set(read).size === queues.length
      },
    ),
  )
  t.pass()
})

test('a client that is not among the members reads nothing', (t) => {
  t.deepEqual(allocateAveragely(queuesOf(4), ['other'], 'me'), [])
})

test('queues are ordered by topic, then broker, then id as a number', (t) => {
  const sorted = [
    { topic: 'A', brokerName: 'z', queueId: 9 },
    { topic: 'B', brokerName: 'a', queueId: 2 },
    { topic: 'B', brokerName: 'a', queueId: 10 },
    { topic: 'B', brokerName: 'b', queueId: 0 },
  ]
  t.deepEqual([...sorted].reverse().sort(compareQueues), sorted)
})
