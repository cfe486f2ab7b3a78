import test from 'ava'
import fc from 'fast-check'
import { committedOf, decodeCursor, encodeCursor } from '../../src/broker/facts/cursor-fact.ts'
import { BrokerError } from '../../src/errors.ts'
import { queueOffset } from '../../src/model/positions.ts'

const state = fc
  .tuple(
    fc.uniqueArray(fc.nat(1_000_000), { maxLength: 50 }),
    fc.integer({ min: 0, max: 2 ** 52 }),
    fc.infiniteStream(fc.nat(300)),
  )
  .map(([offsets, base, attempts]) => {
    const sorted = offsets.sort((a, b) => a - b).map((offset) => queueOffset(base + offset))
    return {
      next: queueOffset((sorted.at(-1) ?? base) + 1),
      unsettled: sorted.map((offset) => ({ offset, attempts: attempts.next().value as number })),
    }
  })

test('every place of a group is read back as it was written', (t) => {
  fc.assert(
    fc.property(state, (place) => {
      t.deepEqual(decodeCursor(encodeCursor(place)), { state: place, move: undefined })
    }),
  )
})

const offset = fc.integer({ min: 0, max: 2 ** 52 }).map(queueOffset)
const move = fc.record({ to: offset, reached: fc.option(offset, { nil: undefined }) })

test('a reset that members have to follow is read back with the place', (t) => {
  fc.assert(
    fc.property(state, move, (place, reset) => {
      t.deepEqual(decodeCursor(encodeCursor(place, reset)), { state: place, move: reset })
    }),
  )
})

test('a place with nothing in hand takes few bytes', (t) => {
  t.true(encodeCursor({ next: queueOffset(2 ** 40), unsettled: [] }).length <= 10)
})

test('the committed offset is the first that is not settled', (t) => {
  const unsettled = [{ offset: queueOffset(5), attempts: 0 }]
  t.is(committedOf({ next: queueOffset(9), unsettled }), queueOffset(5))
  t.is(committedOf({ next: queueOffset(9), unsettled: [] }), queueOffset(9))
})

test('bytes that are no place are refused, whatever they are', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        const place = decodeCursor(bytes)
        t.deepEqual(decodeCursor(encodeCursor(place.state, place.move)), place)
      } catch (error) {
        t.is(BrokerError.from(error).code, 'STORE_CORRUPT')
      }
    }),
  )
})
