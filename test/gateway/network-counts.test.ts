import test from 'ava'
import { NetworkCounts } from '../../src/gateway/access/network-counts.ts'

test('the addresses of one IPv6 network share what it may have, those of another do not', (t) => {
  const counts = new NetworkCounts()
  t.true(counts.take('2001:db8::1', 2))
  t.true(counts.take('2001:db8::2', 2))
  t.false(counts.take('2001:db8::3', 2))
  t.true(counts.take('2001:db8:0:1::3', 2))
  counts.give('2001:db8::1')
  t.true(counts.take('2001:db8::3', 2))
})

test('an IPv4 address in IPv6 form is the IPv4 address', (t) => {
  const counts = new NetworkCounts()
  t.true(counts.take('::ffff:192.0.2.1', 1))
  t.false(counts.take('192.0.2.1', 1))
  t.true(counts.take('::ffff:192.0.2.2', 1))
})
