// Which gateways another one takes for gone, by what it reads in one queue of the state topic.
import test from 'ava'
import { LEASE_MS, Silence } from '../../src/cluster/states/silence.ts'

test('a gateway that writes no more while others do is silent once', (t) => {
  const silence = new Silence('own')
  silence.heard('other', 0, true)
  for (let ms = 5_000; ms <= LEASE_MS; ms += 5_000) silence.heard('own', ms, true)
  t.deepEqual(silence.fallen(LEASE_MS), [])
  t.deepEqual(silence.fallen(LEASE_MS + 1), ['other'])
  t.deepEqual(silence.fallen(LEASE_MS + 5_000), [])
})

test('a gateway is not silent because the queue was away', (t) => {
  const silence = new Silence('own')
  for (const gateway of ['other', 'own']) silence.heard(gateway, 0, true)
  const backMs = 100_000
  silence.heard('own', backMs, true)
  t.deepEqual(silence.fallen(backMs), [])
  silence.heard('other', backMs + 5_000, true)
  for (const ms of [5_000, 10_000, 15_000]) silence.heard('own', backMs + ms, true)
  t.deepEqual(silence.fallen(backMs + 15_000), [])
})

test('what a gateway writes for its clients shows that it lives', (t) => {
  const silence = new Silence('own')
  silence.heard('other', 0, true)
  silence.heard('other', LEASE_MS, false)
  for (let ms = 5_000; ms <= 25_000; ms += 5_000) silence.heard('own', ms, true)
  t.deepEqual(silence.fallen(25_000), [])
})
