import test from 'ava'
import { BrokerError } from '../../src/errors.ts'
import { KeyValues } from '../../src/namesrv/key-values.ts'

test('values are kept by namespace and key', (t) => {
  const values = new KeyValues()
  values.put('N', 'a', '1')
  values.put('N', 'a', '2')
  values.put('M', 'a', '3')
  t.is(values.get('N', 'a'), '2')
  values.delete('N', 'a')
  values.delete('N', 'a')
  t.is(values.list('N'), undefined)
  t.deepEqual([...values.list('M')!], [['a', '3']])
})

test('their number is bounded, and a deleted one makes room', (t) => {
  const values = new KeyValues()
  for (let i = 0; i < 10_000; i++) values.put('N', `${i}`, '')
  t.throws(() => values.put('N', 'more', ''), { instanceOf: BrokerError, message: /10000 values/ })
  values.put('N', '0', 'changed')
  values.delete('N', '0')
  t.notThrows(() => values.put('N', 'more', ''))
})

test('their size is bounded, and a deleted or shorter one makes room', (t) => {
  const values = new KeyValues()
  const long = 'v'.repeat(200_000)
  const putMany = (): void => {
    for (let i = 0; i < 100; i++) values.put('N', `${i}`, long)
  }
  t.throws(putMany, { instanceOf: BrokerError, message: /over 16777216 characters/ })
  t.is(values.list('N')?.size, 83)
  values.put('N', '0', 'short')
  values.delete('N', '1')
  values.put('N', 'one', long)
  values.put('N', 'two', long)
  t.throws(() => values.put('N', 'three', long), { instanceOf: BrokerError })
})
