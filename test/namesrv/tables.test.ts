import test from 'ava'
import { BrokerError } from '../../src/errors.ts'
import type { TopicDefinition } from '../../src/model/topic.ts'
import { ClosedTopics } from '../../src/namesrv/closed-topics.ts'
import { KeyValues } from '../../src/namesrv/key-values.ts'
import { reachableAddress, registeredAddress } from '../../src/namesrv/reachable-address.ts'
import { Registrations } from '../../src/namesrv/registrations.ts'

test('registrations are read one after the other', async (t) => {
  const registrations = new Registrations()
  const steps: string[] = []
  let finish = (): void => {}
  const first = registrations.run(1, async () => {
    steps.push('first begins')
    await new Promise<void>((resolve) => {
      finish = resolve
    })
    steps.push('first ends')
  })
  const second = registrations.run(1, async () => {
    steps.push('second')
  })
  await Promise.resolve()
  finish()
  await Promise.all([first, second])
  t.deepEqual(steps, ['first begins', 'first ends', 'second'])
})

test('a registration that fails holds up none', async (t) => {
  const registrations = new Registrations()
  const first = registrations.run(1, () => Promise.reject(new Error('no table')))
  const second = registrations.run(1, async () => 'read')
  await t.throwsAsync(first, { message: 'no table' })
  t.is(await second, 'read')
})

test('registrations that wait are bounded, and a single one may be as large as it likes', async (t) => {
  const registrations = new Registrations(10)
  const first = registrations.run(11, async () => 'read')
  const late = registrations.run(1, async () => 'read')
  await t.throwsAsync(late, { code: 'BUSY' })
  t.is(await first, 'read')
  t.is(await registrations.run(10, async () => 'read'), 'read')
})

const topic = (name: string, perm = 6): TopicDefinition => ({
  ...{ name, readQueues: 4, writeQueues: 4, perm, ordered: false, sysFlag: 0 },
})

test('a closed topic lacks the permission to write, whatever else its broker gives it', (t) => {
  const closed = new ClosedTopics(10)
  closed.close('broker-a', [topic('A', 7)])
  t.is(closed.asClosed('broker-a', topic('A', 7)).perm, 5)
  t.is(closed.asClosed('broker-a', topic('B')).perm, 6)
  t.is(closed.asClosed('broker-b', topic('A', 7)).perm, 7)
})

test('of more topics than there is room for, the brokers that were closed first are forgotten', (t) => {
  const closed = new ClosedTopics(2)
  closed.close('broker-a', [topic('A')])
  closed.close('broker-b', [topic('A')])
  closed.close('broker-a', [topic('A')])
  closed.close('broker-c', [topic('A')])
  const perms = ['a', 'b', 'c'].map((one) => closed.asClosed(`broker-${one}`, topic('A')).perm)
  t.deepEqual(perms, [4, 6, 4])
})

test('configuration values are kept by namespace and key', (t) => {
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

test('the number of configuration values is bounded, and a deleted one makes room', (t) => {
  const values = new KeyValues()
  for (let i = 0; i < 10_000; i++) values.put('N', `${i}`, '')
  t.throws(() => values.put('N', 'more', ''), { instanceOf: BrokerError, message: /10000 values/ })
  values.put('N', '0', 'changed')
  values.delete('N', '0')
  t.notThrows(() => values.put('N', 'more', ''))
})

test('the size of configuration values is bounded, and a deleted or shorter one makes room', (t) => {
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
