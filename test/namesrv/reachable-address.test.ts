import test from 'ava'
import { reachableAddress, registeredAddress } from '../../src/namesrv/reachable-address.ts'

test('an address with a host is given as it is', (t) => {
  t.is(reachableAddress('10.0.0.1:10911', '192.168.1.5'), '10.0.0.1:10911')
})

test('an unspecified host becomes the one that the client dialled', (t) => {
  t.is(reachableAddress('0.0.0.0:10911', '192.168.1.5'), '192.168.1.5:10911')
  t.is(reachableAddress('0.0.0.0:10911', '::ffff:192.168.1.5'), '192.168.1.5:10911')
  t.is(reachableAddress('0.0.0.0:10911', '::1'), '127.0.0.1:10911')
  t.is(reachableAddress('0.0.0.0:10911', 'fd00::5'), '[fd00::5]:10911')
})

test('a name server elsewhere is told the address that leads there', (t) => {
  t.is(registeredAddress('10.0.0.1', 10911), '10.0.0.1:10911')
  t.is(registeredAddress('::ffff:10.0.0.1', 10911), '10.0.0.1:10911')
})

test('a name server on the same machine is left to fill in the host', (t) => {
  t.is(registeredAddress('127.0.0.1', 10911), '0.0.0.0:10911')
  t.is(registeredAddress('::1', 10911), '0.0.0.0:10911')
})
