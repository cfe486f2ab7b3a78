// Certificates that change while the server runs, and how long they are valid yet.
import { copyFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import mqtt from 'mqtt'
import { configOf } from '../src/config.ts'
import { LiveCertificates } from '../src/live-certificates.ts'
import { CERTIFICATE_EXPIRY } from '../src/net/numbers.ts'
import { pem, pemFile } from './support/certificates.ts'
import { FakeClock } from './support/fake-clock.ts'
import { LogLines } from './support/log-lines.ts'
import { spawnServer, startServer } from './support/server.ts'
import { tempDir } from './support/temp-dir.ts'
import { eventually } from './support/waiting.ts'

const YEAR_MS = 365 * 24 * 3_600_000

interface Files {
  readonly certificate: string
  readonly key: string
}

/** Of their own, to be replaced. */
async function filesOf(t: ExecutionContext, certificate: string): Promise<Files> {
  const directory = await tempDir(t)
  const files = { certificate: join(directory, 'own.pem'), key: join(directory, 'own.key') }
  await copyFile(pemFile(certificate), files.certificate)
  await copyFile(pemFile('server.key'), files.key)
  return files
}

function watched(t: ExecutionContext, files: Files, nowMs = Date.UTC(2030, 0)) {
  const log = new LogLines()
  const clock = new FakeClock(nowMs)
  const certificates = new LiveCertificates(configOf({ tls: files }).tls, log, clock)
  t.teardown(() => certificates.close())
  const changes: unknown[] = []
  certificates.onChange(({ cert }) => changes.push(cert))
  const until = (isSo: () => boolean): Promise<true> =>
    eventually(async () => {
      clock.advance(10_000)
      return isSo() || undefined
    })
  return { log, clock, certificates, changes, until }
}

const eventsOf = (log: LogLines, evt: string) => log.lines.filter((line) => line['evt'] === evt)

test('a file that changes is read again, and what dials others shows it too', async (t) => {
  const files = await filesOf(t, 'expired.pem')
  const { certificates, changes, until } = watched(t, files)
  const { dialling } = certificates
  await copyFile(pemFile('server.pem'), files.certificate)
  await until(() => changes.length > 0)
  t.deepEqual(changes, [pem('server.pem')])
  t.is(certificates.dialling, dialling)
  t.is(dialling.cert, pem('server.pem'))
})

test('files that are not right together change nothing until they are', async (t) => {
  const files = await filesOf(t, 'expired.pem')
  const { log, changes, certificates, until } = watched(t, files)
  await copyFile(pemFile('client.pem'), files.certificate)
  await until(() => eventsOf(log, 'tls.reload').length > 0)
  t.like(eventsOf(log, 'tls.reload')[0], { level: 'error' })
  t.is(certificates.identity?.cert, pem('expired.pem'))
  await copyFile(pemFile('client.key'), files.key)
  await until(() => changes.length > 0)
  t.deepEqual(changes, [pem('client.pem')])
})

test('a file that is gone for a moment is no new certificate', async (t) => {
  const files = await filesOf(t, 'server.pem')
  const { certificates } = watched(t, { ...files })
  await writeFile(files.certificate, '')
  certificates.reload()
  t.is(certificates.identity?.cert, pem('server.pem'))
})

test('a file that cannot be looked at changes nothing', async (t) => {
  const files = await filesOf(t, 'server.pem')
  const { log, certificates, until } = watched(t, files)
  await rm(files.certificate)
  await symlink(files.certificate, files.certificate)
  await until(() => eventsOf(log, 'tls.reload').length > 0)
  t.like(eventsOf(log, 'tls.reload')[0], { level: 'error' })
  t.is(certificates.identity?.cert, pem('server.pem'))
})

test('the log says every day that a certificate has expired', async (t) => {
  const { log, clock } = watched(t, await filesOf(t, 'expired.pem'))
  const told = () => eventsOf(log, 'tls.expiry').length
  t.is(told(), 1)
  clock.advance(24 * 3_600_000)
  t.is(told(), 2)
  t.like(eventsOf(log, 'tls.expiry')[0], { level: 'error', setting: 'tls.certificate' })
})

test('the log warns two weeks before a certificate expires', async (t) => {
  const files = await filesOf(t, 'expired.pem')
  const { log, clock } = watched(t, files, Date.UTC(2000, 11, 1))
  t.is(eventsOf(log, 'tls.expiry').length, 0)
  clock.advance(18 * 24 * 3_600_000)
  t.like(eventsOf(log, 'tls.expiry')[0], { level: 'warn' })
})

test('numbers tell when certificates expire', async (t) => {
  const files = await filesOf(t, 'expired.pem')
  const tls = { ...files, ca: pemFile('ca.pem') }
  const { server } = await startServer(t, { config: { tls } })
  const readings = await server.numbers.read()
  const told = readings.filter(({ declared }) => declared === CERTIFICATE_EXPIRY)
  t.deepEqual(told.map(({ labels }) => labels['setting']).toSorted(), ['tls.ca', 'tls.certificate'])
  const own = told.find(({ labels }) => labels['setting'] === 'tls.certificate')
  t.is(own?.value, Date.UTC(2001, 0, 1) / 1000)
  const ca = told.find(({ labels }) => labels['setting'] === 'tls.ca')
  t.true(Number(ca?.value) * 1000 > Date.UTC(2030, 0) + YEAR_MS)
})

test('after SIGHUP new connections get the new certificate, and open ones stay', async (t) => {
  const files = await filesOf(t, 'expired.pem')
  const server = await spawnServer(t, { config: { tls: files } })
  const url = `mqtts://127.0.0.1:${server.port('mqtt')}`
  const trusting = { ca: pem('ca.pem'), reconnectPeriod: 0 }
  const before = await mqtt.connectAsync(url, { ...trusting, rejectUnauthorized: false })
  t.teardown(() => before.end(true))
  await t.throwsAsync(mqtt.connectAsync(url, trusting), { message: /certificate has expired/ })
  await copyFile(pemFile('server.pem'), files.certificate)
  process.kill(server.pid, 'SIGHUP')
  await eventually(async () => server.stderr.includes('"tls.reload"') || undefined)
  const after = await mqtt.connectAsync(url, trusting)
  t.teardown(() => after.end(true))
  await before.publishAsync('orders', 'still here', { qos: 1 })
  t.true(after.connected)
})
