import { once } from 'node:events'
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  bulkOf,
  checkDirectory,
  kindOf,
  roomOf,
  syncsOf,
} from '../../../src/cli/operate/check-directory.ts'
import { expiryOf, filesOf, memoryOf } from '../../../src/cli/operate/check-machine.ts'
import { clockOf } from '../../../src/cli/operate/check-peers.ts'
import type { Finding } from '../../../src/cli/operate/finding.ts'
import { Progress } from '../../../src/cli/operate/progress.ts'
import { systemClock } from '../../../src/clock.ts'
import { runCommand } from '../../support/command-line.ts'
import { RecordedTerminal } from '../../support/recorded-terminal.ts'
import { startServer } from '../../support/server.ts'
import { diskDir } from '../../support/temp-dir.ts'

interface Told {
  readonly code: number
  readonly isRunning: boolean
  readonly findings: readonly Finding[]
}

/** `ports`: of listeners; the others are switched off. */
async function doctor(t: ExecutionContext, config: object, ...argv: string[]): Promise<Told> {
  const path = join(await diskDir(t), 'trivet.json')
  writeFileSync(path, JSON.stringify(config))
  chmodSync(path, 0o600)
  const { code, terminal } = await runCommand(['doctor', '--config', path, '--json', ...argv])
  const [line = '{}'] = terminal.printed
  return { code, ...(JSON.parse(line) as Omit<Told, 'code'>) }
}

const MQTT_ALONE = {
  nameServer: { enabled: false },
  remoting: { enabled: false },
  amqp: { enabled: false },
  http: { enabled: false },
}

const of = (told: Told, check: string): readonly Finding[] =>
  told.findings.filter((one) => one.check === check)

async function listening(t: ExecutionContext): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

test('before the first start a port that is taken has failed, with what to do', async (t) => {
  const port = await listening(t)
  const dataDir = join(await diskDir(t), 'data')
  const told = await doctor(t, { ...MQTT_ALONE, dataDir, mqtt: { port } })
  t.is(told.code, 1)
  t.false(told.isRunning)
  t.deepEqual(of(told, 'port'), [
    {
      check: 'port',
      state: 'failed',
      text: `127.0.0.1:${port} cannot be had for mqtt (EADDRINUSE)`,
      advice: 'another process listens there: stop it (ss -ltnp shows it), or set mqtt.port',
    },
  ])
})

test('the disk is measured, and nothing is left of it', async (t) => {
  const dataDir = await diskDir(t)
  chmodSync(dataDir, 0o700)
  const told = await doctor(t, { ...MQTT_ALONE, dataDir, mqtt: { port: 0 } })
  t.regex(of(told, 'sync')[0]!.text, /a sync takes \d+\.\d\d ms/)
  t.true(of(told, 'disk').some(({ text }) => /the disk takes .*iB a second/.test(text)))
  t.is(of(told, 'directory')[0]!.state, 'ok')
  t.deepEqual(readdirSync(dataDir), [])
})

test('a disk that is nearly full is told, and nothing is written to it', async (t) => {
  const dataDir = await diskDir(t)
  const free = 150 * 1024 * 1024
  const progress = new Progress(new RecordedTerminal(), systemClock)
  const findings = await checkDirectory(dataDir, systemClock, progress, () => free)
  t.true(findings.some(({ text }) => /^150.0 MiB of .* are free$/.test(text)))
  t.false(findings.some(({ check }) => check === 'sync'))
})

test('a directory that others may read is told', async (t) => {
  const dataDir = join(await diskDir(t), 'data')
  mkdirSync(dataDir)
  chmodSync(dataDir, 0o755)
  const told = await doctor(t, { ...MQTT_ALONE, dataDir, mqtt: { port: 0 } })
  t.like(of(told, 'directory')[0], { state: 'warning', advice: `chmod 700 '${dataDir}'` })
})

test('beside a broker that runs its ports answer, and its clock is compared', async (t) => {
  const { config, port, server } = await startServer(t)
  t.truthy(server)
  const told = await doctor(t, {
    dataDir: config.dataDir,
    nameServer: { port: port('nameServer') },
    remoting: { port: port('remoting'), vipChannel: false },
    mqtt: { port: port('mqtt') },
    amqp: { port: port('amqp') },
    http: { port: port('http') },
  })
  t.true(told.isRunning)
  t.deepEqual(
    of(told, 'port').map(({ state }) => state),
    ['ok', 'ok', 'ok', 'ok', 'ok'],
  )
  t.deepEqual(
    of(told, 'clock').map(({ state }) => state),
    ['ok'],
  )
  const moved = await doctor(t, { ...MQTT_ALONE, dataDir: config.dataDir, mqtt: { port: 1 } })
  t.regex(
    of(moved, 'port')[0]!.text,
    /the broker runs, and mqtt does not answer at 127\.0\.0\.1:1 /,
  )
})

test('an advertised name that is none, or leads clients to themselves, has failed', async (t) => {
  const users = { ann: { secretKey: 'sesame', admin: true } }
  const base = { ...MQTT_ALONE, users, dataDir: await diskDir(t) }
  const mqtt = { host: '0.0.0.0', port: 0 }
  const unknown = await doctor(t, { ...base, mqtt: { ...mqtt, advertisedHost: 'mq.invalid' } })
  t.regex(
    of(unknown, 'advertised')[0]!.text,
    /told mq\.invalid, a name that this machine does not know/,
  )
  const own = await doctor(t, { ...base, mqtt: { ...mqtt, advertisedHost: 'localhost' } })
  t.like(of(own, 'advertised')[0], { state: 'failed' })
  t.regex(
    of(own, 'advertised')[0]!.text,
    /those of other machines look for the broker on themselves/,
  )
  t.like(of(own, 'exposure')[0], {
    state: 'warning',
    text: 'passwords and messages cross the network in the clear',
  })
})

test('open to the network without users has failed', async (t) => {
  const told = await doctor(t, {
    ...MQTT_ALONE,
    dataDir: await diskDir(t),
    mqtt: { host: '0.0.0.0', port: 0 },
  })
  t.like(of(told, 'exposure')[0], { state: 'failed' })
  t.regex(of(told, 'exposure')[0]!.advice!, /Add users/)
})

test('on a terminal each finding is a sentence, and what to do stands below', async (t) => {
  const port = await listening(t)
  const path = join(await diskDir(t), 'trivet.json')
  const dataDir = join(await diskDir(t), 'data')
  writeFileSync(path, JSON.stringify({ ...MQTT_ALONE, dataDir, mqtt: { port } }))
  const { code, terminal } = await runCommand(['doctor', '--config', path])
  t.is(code, 1)
  t.regex(
    terminal.output,
    /^FAILED {3}127\.0\.0\.1:\d+ cannot be had for mqtt .*\n {9}another process/m,
  )
  t.regex(terminal.errors, /^trivet: 1 of \d+ checks failed$/)
})

test('syncs that no disk can make are doubted, and slow ones told', (t) => {
  const stateOf = (p50: number, p99: number, isRotating = false) =>
    syncsOf({ p50, p99 }, isRotating).map(({ state }) => state)
  t.deepEqual(stateOf(0.4, 3), ['ok'])
  t.deepEqual(stateOf(0.003, 0.01), ['warning'])
  t.deepEqual(stateOf(0.4, 3, true), ['warning'])
  t.deepEqual(stateOf(8, 20, true), ['ok'])
  t.deepEqual(stateOf(4, 300), ['warning'])
  t.is(bulkOf(10 * 1024 * 1024).state, 'warning')
  t.is(bulkOf(300 * 1024 * 1024).state, 'ok')
})

test('what the data lies on, and its room', (t) => {
  t.is(kindOf(0x0102_1994)?.state, 'failed')
  t.is(kindOf(0x6969)?.state, 'warning')
  t.is(kindOf(0x794c_7630)?.state, 'warning')
  t.is(kindOf(0xef53), undefined)
  t.is(roomOf(100, 1e12).state, 'failed')
  t.is(roomOf(5e9, 1e12).state, 'warning')
  t.is(roomOf(5e11, 1e12).state, 'ok')
})

test('files, memory and certificates', (t) => {
  t.is(filesOf(1024, false)[0]?.state, 'warning')
  t.is(filesOf(1_048_576, true)[0]?.state, 'ok')
  t.deepEqual(filesOf(undefined, false), [])
  t.is(memoryOf(128 * 1024 * 1024).state, 'failed')
  t.is(memoryOf(300 * 1024 * 1024).state, 'warning')
  t.is(memoryOf(4 * 1024 * 1024 * 1024).state, 'ok')
  const day = 24 * 3_600_000
  const validity = {
    setting: 'tls.certificate',
    file: 'a.pem',
    validFromMs: 10 * day,
    validToMs: 100 * day,
  } as const
  t.is(expiryOf(validity, 5 * day).state, 'failed')
  t.is(expiryOf(validity, 50 * day).state, 'ok')
  t.is(expiryOf(validity, 90 * day).state, 'warning')
  t.is(expiryOf(validity, 101 * day).state, 'failed')
})

test('a clock that is apart is told, with by how much', (t) => {
  const state = { values: { bootTimestamp: '1000000' }, uptimeMs: 60_000 }
  t.is(clockOf('b', state, 1_060_500, 1_060_600)[0]?.state, 'ok')
  t.regex(clockOf('b', state, 1_070_000, 1_070_100)[0]!.text, /the clock of b is 9 s behind/)
  t.regex(clockOf('b', state, 1_040_000, 1_040_100)[0]!.text, /the clock of b is 20 s ahead/)
  t.deepEqual(clockOf('b', { values: {}, uptimeMs: 1 }, 0, 0), [])
})
