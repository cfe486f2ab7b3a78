import test from 'ava'
import fc from 'fast-check'
import { serialAdd, serialDiff, serialNext } from '../../../src/gateway/amqp/serial.ts'

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
