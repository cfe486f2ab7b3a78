// The coordinator on three real members of etcd: what the election relies on, and what a member that
// dies or stops does to it.
import type { ExecutionContext } from 'ava'
import { systemClock } from '../../src/clock.ts'
import { EtcdCoordinator } from '../../src/replication/election/etcd-coordinator.ts'
import type { EtcdOptions } from '../../src/replication/election/etcd-http.ts'
import type { GroupState } from '../../src/replication/election/group-state.ts'
import { tempDir } from '../../test/support/temp-dir.ts'
import { answered, EtcdCluster, etcdMissing } from '../support/etcd-cluster.ts'
import { needing } from '../support/needing.ts'

const test = needing('elections by etcd', etcdMissing())
const first: GroupState = { election: 1, master: 'a', inSync: ['a'] }

async function started(t: ExecutionContext): Promise<EtcdCluster> {
  const cluster = await EtcdCluster.start(await tempDir(t))
  t.teardown(() => cluster.close())
  return cluster
}

function coordinatorOf(
  t: ExecutionContext,
  { endpoints }: EtcdCluster,
  name: string,
  options: Partial<EtcdOptions> = {},
): EtcdCoordinator {
  const group = { prefix: '/trivet/ü', group: 'broker-0', name }
  const coordinator = new EtcdCoordinator(
    { endpoints, timeoutMs: 2000, ...group, ...options },
    systemClock,
  )
  t.teardown(() => coordinator.close())
  return coordinator
}

test('state and mastership change only from what was seen, and by the holder', async (t) => {
  const cluster = await started(t)
  const [a, b] = [coordinatorOf(t, cluster, 'a'), coordinatorOf(t, cluster, 'b')]
  const nothing = await a.read()
  t.deepEqual(nothing, { revision: 0, state: undefined, holder: undefined, candidates: [] })
  const [ours, theirs] = [await a.grant(5000), await b.grant(5000)]
  t.is(ours.ttlMs, 5000)
  t.true(await a.take(ours, 0, first))
  t.false(await b.take(theirs, 0, { ...first, master: 'b' }))
  const seen = await b.read()
  t.deepEqual(seen.state, first)
  t.deepEqual(seen.holder, { name: 'a', lease: ours.id })
  t.false(await b.take(theirs, seen.revision, { ...first, master: 'b' }))
  const both = { ...first, inSync: ['a', 'b'] }
  t.is(await b.replace(theirs, seen.revision, both), undefined)
  t.is(await a.replace(ours, seen.revision - 1, both), undefined)
  const revision = await a.replace(ours, seen.revision, both)
  t.like(await b.read(), { revision, state: both })
})

test('a lease says how long it is: not as short as it may be asked for', async (t) => {
  const a = coordinatorOf(t, await started(t), 'a')
  t.is((await a.grant(1000)).ttlMs, 2000)
  t.is((await a.grant(2500)).ttlMs, 3000)
})

test('a copy is there for as long as its lease, and so is the mastership', async (t) => {
  const cluster = await started(t)
  const [a, b] = [coordinatorOf(t, cluster, 'a'), coordinatorOf(t, cluster, 'b')]
  const [ours, theirs] = [await a.grant(60_000), await b.grant(60_000)]
  await a.announce(ours, { name: 'a', epoch: 1024, end: 4711 })
  await b.announce(theirs, { name: 'b', epoch: 1024, end: 4000 })
  t.true(await a.take(ours, 0, first))
  t.deepEqual(
    (await b.read()).candidates.map(({ name, end }) => [name, end]),
    [
      ['a', 4711],
      ['b', 4000],
    ],
  )
  t.true(await a.keepAlive(ours))
  await a.revoke(ours)
  await a.revoke(ours)
  t.false(await a.keepAlive(ours))
  await t.throwsAsync(a.announce(ours, { name: 'a', epoch: 1, end: 1 }), { code: 'ABORTED' })
  const seen = await b.read()
  t.like(seen, { holder: undefined, state: first })
  t.deepEqual(
    seen.candidates.map(({ name }) => name),
    ['b'],
  )
  t.false(await a.take(ours, seen.revision, { ...first, election: 2 }))
  t.true(await b.take(theirs, seen.revision, { ...first, election: 2, master: 'b' }))
})

test('with one member dead or silent the others answer; without a majority there is no answer', async (t) => {
  const cluster = await started(t)
  const a = coordinatorOf(t, cluster, 'a')
  const lease = await a.grant(60_000)
  cluster.kill(0)
  t.true(await answered(() => a.keepAlive(lease)))
  await t.notThrowsAsync(answered(() => a.read()))
  cluster.stop(1)
  await t.throwsAsync(a.take(lease, 0, first), { code: 'UNREACHABLE' })
  await t.throwsAsync(a.read(), { code: 'UNREACHABLE' })
})

test('a user is known by name and password, and again after the token is forgotten', async (t) => {
  const cluster = await started(t)
  await cluster.call('/v3/auth/user/add', { name: 'root', password: 'secret' })
  await cluster.call('/v3/auth/role/add', { name: 'root' })
  await cluster.call('/v3/auth/user/grant', { user: 'root', role: 'root' })
  await cluster.call('/v3/auth/enable', {})
  const user = { name: 'root', password: 'secret' }
  const a = coordinatorOf(t, cluster, 'a', { user })
  const lease = await a.grant(60_000)
  t.true(await a.take(lease, 0, first))
  t.deepEqual((await a.read()).state, first)
  const wrong = coordinatorOf(t, cluster, 'b', { user: { ...user, password: 'guess' } })
  await t.throwsAsync(wrong.read(), { code: 'PERMISSION_DENIED' })
  const none = coordinatorOf(t, cluster, 'c')
  await t.throwsAsync(none.read(), { code: 'PERMISSION_DENIED' })
})
