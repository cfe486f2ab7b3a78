import { isIPv6 } from 'node:net'
import test from 'ava'
import fc from 'fast-check'
import { networkOf } from '../../src/gateway/access/peer-network.ts'

for (const [address, network] of [
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['::FFFF:c000:0207', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['64:ff9b::192.0.2.7', '64:ff9b:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64%eth0'],
  ['fe80::2%eth1', 'fe80:0:0:0::/64%eth1'],
  ['', ''],
  [':::', ':::'],
  ['1:2:3', '1:2:3'],
  ['::ffff:1.2.3', '::ffff:1.2.3'],
] as const) {
  test(`'${address}' counts as '${network}'`, (t) => {
    t.is(networkOf(address), network)
  })
}

test('the last 64 bits make no difference, any of the first does', (t) => {
  const address = fc.ipV6().filter((text) => isIPv6(text) && !text.includes('.'))
  const group = fc.integer({ min: 0, max: 0xffff })
  const all = fc.property(fc.tuple(group, group, group, group), address, (head, other) => {
    const hex = head.map((one) => one.toString(16)).join(':')
    const network = networkOf(`${hex}::1`)
    t.is(networkOf(`${hex}:1:2:3:4`), network)
    const isSame = networkOf(other) === network
    t.is(networkOf(`${hex}::ff`) === networkOf(other), isSame)
  })
  t.notThrows(() => fc.assert(all))
})
