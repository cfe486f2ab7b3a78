import test from 'ava'
import fc from 'fast-check'
import {
  remaining,
  serialAdd,
  serialDiff,
  serialNext,
} from '../../../src/gateway/amqp/codec/serial.ts'

const U32 = fc.nat(0xffff_ffff)

test('serial numbers wrap at 2^32', (t) => {
  t.is(serialNext(0xffff_ffff), 0)
  t.is(serialDiff(2, 0xffff_fffe), 4)
  t.is(serialDiff(0xffff_fffe, 2), -4)
})

test('what is added is found again as a difference', (t) => {
  fc.assert(
    fc.property(U32, fc.nat(0x7fff_ffff), (n, by) => {
      t.is(serialDiff(serialAdd(n, by), n), by)
    }),
  )
})

test('what remains of any uint is right wherever the counts stand', (t) => {
  t.is(remaining(0x8000_0000, 0, 0), 0x8000_0000)
  t.is(remaining(0xffff_ffff, 3, 0), 0xffff_fffc)
  t.is(remaining(5, 8, 0), 0)
  fc.assert(
    fc.property(U32, U32, fc.nat(1_000_000), (allowed, seen, sent) => {
      t.is(remaining(allowed, serialAdd(seen, sent), seen), Math.max(0, allowed - sent))
    }),
  )
})
