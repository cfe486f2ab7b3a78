import { deflateSync } from 'node:zlib'
import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { Inflation } from '../../../src/gateway/remoting/inflation.ts'

const body = deflateSync(Buffer.alloc(100_000, 'text'))

test('the bodies of one chunk are inflated up to a sum, and the next chunk has its own', (t) => {
  const inflation = new Inflation(250_000)
  const inflated = (): number | undefined => inflation.inflate(body)?.length
  t.deepEqual([inflated(), inflated(), inflated()], [100_000, 100_000, undefined])
  inflation.reset()
  t.is(inflated(), 100_000)
})

test('many small bodies have their share as well', (t) => {
  const inflation = new Inflation(64 * 1024)
  const small = deflateSync(Buffer.from('small'))
  const results = Array.from({ length: 9 }, () => inflation.inflate(small)?.toString())
  t.deepEqual(results, [...new Array<string>(8).fill('small'), undefined])
})

test('what is no zlib stream is an invalid message, in words', (t) => {
  const error = t.throws(() => new Inflation().inflate(Buffer.from('no zlib')), {
    instanceOf: BrokerError,
  })
  t.is(error.code, 'MESSAGE_INVALID')
  t.regex(error.message, /cannot be inflated: incorrect header check$/)
})
