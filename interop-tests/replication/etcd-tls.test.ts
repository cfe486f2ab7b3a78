// Three real members of etcd that speak TLS and ask for certificates, and the brokers that they
// elect.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ConnectionOptions } from 'node:tls'
import type { ExecutionContext } from 'ava'
import { systemClock } from '../../src/clock.ts'
import { EtcdCoordinator } from '../../src/replication/election/etcd-coordinator.ts'
import type { EtcdOptions } from '../../src/replication/election/etcd-http.ts'
import { pem, SERVER_TLS } from '../../test/support/certificates.ts'
import { tempDir } from '../../test/support/temp-dir.ts'
import { eventually } from '../../test/support/waiting.ts'
import { EtcdCluster, etcdMissing } from '../support/etcd-cluster.ts'
import { assertAllThere, electedUnderLoad, untilAll } from '../support/load/loaded-group.ts'
import { needing } from '../support/needing.ts'

const test = needing('etcd over TLS', etcdMissing())
const testUsers = needing('users of etcd over TLS', etcdMissing() ?? opensslMissing())

function opensslMissing(): string | undefined {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' })
    return undefined
  } catch {
    return "there is no 'openssl'"
  }
}

function coordinatorOf(
  t: ExecutionContext,
  { endpoints }: EtcdCluster,
  tls: ConnectionOptions,
  options: Partial<EtcdOptions> = {},
): EtcdCoordinator {
  const group = { prefix: '/trivet', group: 'broker-0', name: 'a' }
  const all = { endpoints, timeoutMs: 2000, tls, ...group, ...options }
  const coordinator = new EtcdCoordinator(all, systemClock)
  t.teardown(() => coordinator.close())
  return coordinator
}

const shown = (name: string): ConnectionOptions => ({
  ...{ ca: pem('ca.pem'), cert: pem(`${name}.pem`), key: pem(`${name}.key`) },
})

test('members answer who shows a certificate of their CA, and no other', async (t) => {
  const cluster = await EtcdCluster.start(await tempDir(t), { tls: SERVER_TLS })
  t.teardown(() => cluster.close())
  const first = { election: 1, master: 'a', inSync: ['a'] }
  const ours = coordinatorOf(t, cluster, shown('client'))
  const lease = await ours.grant(60_000)
  t.true(await ours.take(lease, 0, first))
  t.deepEqual((await ours.read()).state, first)
  const ca = { ca: pem('ca.pem') }
  await t.throwsAsync(coordinatorOf(t, cluster, ca).read(), { code: 'UNREACHABLE' })
  const stranger = coordinatorOf(t, cluster, shown('stranger'))
  await t.throwsAsync(stranger.read(), { code: 'UNREACHABLE' })
  const distrustful = { ...shown('client'), ca: pem('other-ca.pem') }
  await t.throwsAsync(coordinatorOf(t, cluster, distrustful).read(), {
    code: 'UNREACHABLE',
    message: /certificate/,
  })
})

/** A certificate without a common name, trusted by being its own authority. */
async function nameless(t: ExecutionContext): Promise<{ cert: string; key: string }> {
  const directory = await tempDir(t)
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key]
  const use = ['-addext', 'extendedKeyUsage=clientAuth']
  const request = ['req', '-x509', '-subj', '/O=TrivetMQ', ...use, '-out', cert, ...kind]
  execFileSync('openssl', request, { stdio: 'ignore' })
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
}

testUsers('where etcd has users a certificate has no common name', async (t) => {
  const own = await nameless(t)
  const trusted = join(await tempDir(t), 'ca.pem')
  writeFileSync(trusted, pem('ca.pem') + own.cert)
  const tls = { ...SERVER_TLS, ca: trusted }
  const cluster = await EtcdCluster.start(await tempDir(t), { tls })
  t.teardown(() => cluster.close())
  const user = { name: 'root', password: 'secret' }
  await cluster.call('/v3/auth/user/add', user)
  await cluster.call('/v3/auth/role/add', { name: 'root' })
  await cluster.call('/v3/auth/user/grant', { user: 'root', role: 'root' })
  await cluster.call('/v3/auth/enable', {})
  const named = coordinatorOf(t, cluster, shown('client'), { user })
  await t.throwsAsync(named.read(), { code: 'UNREACHABLE', message: /CommonName of client/ })
  const certificate = { ca: pem('ca.pem'), ...own }
  await t.throwsAsync(coordinatorOf(t, cluster, certificate).read(), { code: 'PERMISSION_DENIED' })
  const known = coordinatorOf(t, cluster, certificate, { user })
  t.is((await known.read()).state, undefined)
})

test('copies that show their certificate elect a master, and another when it dies', async (t) => {
  t.timeout(180_000)
  const loaded = await electedUnderLoad(t, {
    etcd: { tls: SERVER_TLS },
    config: { tls: SERVER_TLS },
  })
  const { group, loads } = loaded
  const master = await group.master()
  const lostMs = performance.now()
  await master.kill()
  await eventually(async () => (await group.master()) !== master)
  await untilAll(loads, lostMs)
  await master.start()
  await assertAllThere(t, loaded)
})
