import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { allSettings, configJsonSchema, configOf, loadConfig } from '../src/config.ts'
import { BrokerError } from '../src/errors.ts'
import { redact } from '../src/settings.ts'
import { tempDir } from './support/temp-dir.ts'

async function file(t: ExecutionContext, content: unknown): Promise<string> {
  const path = join(await tempDir(t), 'trivet.json')
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

/** The problems, one line each. */
function refused(t: ExecutionContext, load: () => unknown): readonly string[] {
  const error = t.throws(load, { instanceOf: BrokerError, code: 'CONFIG_INVALID' })
  return error.message
    .split('\n')
    .slice(1)
    .map((line) => line.trim())
}

test('file beats default, environment beats file, a flag beats all, and each value says so', async (t) => {
  const path = await file(t, { mqtt: { port: 1 }, amqp: { port: 1 }, remoting: { port: 1 } })
  const { values, origins } = loadConfig({
    file: path,
    env: { TRIVET_AMQP__PORT: '2', TRIVET_REMOTING__PORT: '2', HOME: '/' },
    flags: new Map([['remoting.port', '3']]),
  })
  t.deepEqual(
    [values.nameServer.port, values.mqtt.port, values.amqp.port, values.remoting.port],
    [9876, 1, 2, 3],
  )
  t.is(origins.get('nameServer.port'), 'default')
  t.is(origins.get('mqtt.port'), path)
  t.is(origins.get('amqp.port'), 'TRIVET_AMQP__PORT')
  t.is(origins.get('remoting.port'), '--remoting.port')
})

test('a loaded configuration is frozen to its leaves', (t) => {
  const config = configOf({ broker: { nameServers: ['a:1'] } })
  t.throws(() => Object.assign(config.mqtt, { port: 1 }), { instanceOf: TypeError })
  t.throws(() => (config.broker.nameServers as string[]).push('b:1'), { instanceOf: TypeError })
})

test('an unknown key in the file is refused with the key it was meant to be', async (t) => {
  const path = await file(t, { mqtt: { adverisedHost: 'x' }, brokr: {}, zzzzzzzz: 1 })
  t.deepEqual(refused(t, () => loadConfig({ file: path })).toSorted(), [
    `- 'brokr' (from ${path}) is no setting (did you mean 'broker'?)`,
    `- 'mqtt.adverisedHost' (from ${path}) is no setting (did you mean 'mqtt.advertisedHost'?)`,
    `- 'zzzzzzzz' (from ${path}) is no setting`,
  ])
})

test('a file may begin with the mark that editors of Windows leave', async (t) => {
  const path = await file(t, '\uFEFF{ "mqtt": { "port": 1 } }')
  t.is(loadConfig({ file: path }).values.mqtt.port, 1)
})

test('a name server without a port is refused at the start', (t) => {
  const flags = new Map([['broker.name-servers', 'a:1,b']])
  const [problem, ...more] = refused(t, () => loadConfig({ flags }))
  t.regex(problem ?? '', /'broker\.nameServers\.1' \(from --broker\.name-servers\): not host:port/)
  t.deepEqual(more, [])
})

test("half of a gateway's credentials is refused, as it would sign nothing", (t) => {
  for (const [given, due] of [
    ['access-key', 'secretKey'],
    ['secret-key', 'accessKey'],
  ]) {
    const flags = new Map([[`cluster.${given}`, 'gateway-one']])
    const [problem, ...more] = refused(t, () => loadConfig({ flags }))
    t.regex(problem ?? '', new RegExp(`'cluster\\.${due}'.* is due beside cluster\\.`))
    t.deepEqual(more, [])
  }
})

test('an unknown variable and an unknown flag are refused with what they were meant to be', (t) => {
  t.deepEqual(
    refused(t, () =>
      loadConfig({
        env: { TRIVET_MQTT__PROT: '1' },
        flags: new Map([['broker.cluster-nam', 'c']]),
      }),
    ),
    [
      "- TRIVET_MQTT__PROT is no setting (did you mean 'TRIVET_MQTT__PORT'?)",
      "- --broker.cluster-nam is no setting (did you mean 'broker.cluster-name'?)",
    ],
  )
})

test('a wrong type names the key, where the value came from and what would do', async (t) => {
  const path = await file(t, { mqtt: { port: '1883' }, amqp: 5672 })
  const problems = refused(t, () =>
    loadConfig({ file: path, env: { TRIVET_LOG_LEVEL: 'loud', TRIVET_REMOTING__PORT: 'x' } }),
  )
  t.true(problems.some((line) => line.startsWith(`- 'mqtt.port' (from ${path}): `)))
  t.true(problems.some((line) => line.startsWith("- 'remoting.port' (from TRIVET_REMOTING__PORT)")))
  t.true(problems.some((line) => line.endsWith('write a whole number, 0 to 65535')))
  t.true(problems.some((line) => line.startsWith("- 'amqp'")))
  t.true(problems.some((line) => line.startsWith("- 'logLevel' (from TRIVET_LOG_LEVEL): ")))
  t.is(problems.length, 4)
})

test('text becomes the type that the setting has', (t) => {
  const { values } = loadConfig({
    env: {
      TRIVET_MQTT__ENABLED: 'false',
      TRIVET_BROKER__NAME_SERVERS: 'a:9876, b:9876',
      TRIVET_BROKER__AUTO_CREATE_TOPICS: 'true',
      TRIVET_BROKER__NAME: '12',
      TRIVET_USERS: '{"ann":{"admin":true}}',
    },
  })
  t.is(values.mqtt.enabled, false)
  t.deepEqual(values.broker.nameServers, ['a:9876', 'b:9876'])
  t.is(values.broker.autoCreateTopics, true)
  t.is(values.broker.name, '12')
  t.is(values.users['ann']?.admin, true)
})

test('a file that is missing, no JSON, or no object is refused by name', async (t) => {
  const missing = join(await tempDir(t), 'none.json')
  t.regex(
    t.throws(() => loadConfig({ file: missing }), { code: 'CONFIG_INVALID' }).message,
    /none\.json' cannot be read \(ENOENT\)/,
  )
  const broken = await file(t, '{"mqtt": ')
  t.regex(
    t.throws(() => loadConfig({ file: broken }), { code: 'CONFIG_INVALID' }).message,
    /trivet\.json' is not JSON/,
  )
  const list = await file(t, [])
  t.deepEqual(
    refused(t, () => loadConfig({ file: list })),
    [`- ${list} must hold one JSON object`],
  )
})

test('names of the language in a file are unknown keys like any other', async (t) => {
  const path = await file(t, '{"__proto__": {"admin": true}, "constructor": 1}')
  const problems = refused(t, () => loadConfig({ file: path }))
  t.true(problems.some((line) => line.includes('constructor')))
  t.is(({} as { admin?: boolean }).admin, undefined)
})

test('a file may name its schema', async (t) => {
  const path = await file(t, { $schema: './config.schema.json', logLevel: 'warn' })
  t.is(loadConfig({ file: path }).values.logLevel, 'warn')
})

test('every setting has a description, and its three names are unique', (t) => {
  for (const setting of allSettings()) t.not(setting.description, '', setting.name)
  for (const name of ['name', 'env', 'flag'] as const) {
    t.is(new Set(allSettings().map((setting) => setting[name])).size, allSettings().length)
  }
})

test('secrets are hidden wherever they stand, everything else is shown', (t) => {
  const config = configOf({
    users: { ann: { password: 'scrypt:2:8:1:AAAA:AAAA', secretKey: 'sesame', admin: true } },
  })
  const shown = JSON.stringify(redact(config, configJsonSchema()))
  t.notRegex(shown, /scrypt|sesame/)
  t.regex(shown, /"ann":\{.*"admin":true/)
})

test('a larger body makes room for itself in packet and message limits that were not set', (t) => {
  const { mqtt, amqp } = configOf({ broker: { bodyBytesMax: 16 * 1024 * 1024 } })
  t.is(mqtt.packetBytesMax, 16 * 1024 * 1024 + 128 * 1024)
  t.is(amqp.messageBytesMax, 16 * 1024 * 1024 + 128 * 1024)
  const set = configOf({
    broker: { bodyBytesMax: 16 * 1024 * 1024 },
    mqtt: { packetBytesMax: 65_536 },
  })
  t.is(set.mqtt.packetBytesMax, 65_536)
})

const WITHOUT_SCHEME = ['10.0.0.1:2379']
const ELECTED = { enabled: true, etcd: { endpoints: ['http://127.0.0.1:2379'] } }

for (const [what, config, line] of [
  [
    'a connection that the largest message would end',
    { broker: { bodyBytesMax: 16_777_216 }, amqp: { unsentBytesMax: 16_777_216 } },
    /'amqp\.unsentBytesMax'.*broker\.bodyBytesMax allows \(16777216\): the largest message would end.*16908288 is the least$/,
  ],
  [
    'a log that could not keep the largest message',
    { broker: { bodyBytesMax: 16_777_216 }, store: { retentionBytes: 16_777_216 } },
    /'store\.retentionBytes'.*would not be kept; 16908288 is the least$/,
  ],
  [
    'a body larger than any may be',
    { broker: { bodyBytesMax: 99_999_999 } },
    /'broker\.bodyBytesMax'.*write a whole number, 1024 to 16777216$/,
  ],
  [
    'an election without a number of the copy',
    { broker: { role: 'SYNC_MASTER' }, replication: ELECTED },
    /'broker\.id'.*each copy has its own, 1 or more$/,
  ],
  [
    'an election whose master acknowledges alone',
    { broker: { id: 1 }, replication: ELECTED },
    /'broker\.role'.*every copy is a SYNC_MASTER, once it is elected$/,
  ],
  [
    'an election beside a master that is given',
    {
      broker: { id: 1, role: 'SYNC_MASTER' },
      replication: { ...ELECTED, master: '127.0.0.1:10912' },
    },
    /'replication\.master'.*the master is elected$/,
  ],
  [
    'half a user of etcd',
    {
      broker: { id: 1, role: 'SYNC_MASTER' },
      replication: { ...ELECTED, etcd: { ...ELECTED.etcd, user: 'trivet' } },
    },
    /'replication\.etcd\.user'.*it goes with replication\.etcd\.password$/,
  ],
  [
    'a founder without endpoints of etcd',
    {
      broker: { role: 'SYNC_MASTER' },
      replication: { enabled: true, etcd: { founds: true } },
    },
    /'replication\.etcd\.endpoints'.*name the members of etcd$/,
  ],
  [
    'an endpoint of etcd without its scheme',
    {
      broker: { id: 1, role: 'SYNC_MASTER' },
      replication: { enabled: true, etcd: { endpoints: WITHOUT_SCHEME } },
    },
    /'replication\.etcd\.endpoints.*not http:\/\/host:port or https:\/\/host:port$/,
  ],
  [
    'a password that is no hash',
    { users: { alice: { password: 'plain' } } },
    /'users\.alice\.password'.*make one with: trivet hash-password$/,
  ],
] as const) {
  test(`${what} is refused at the start, and says why`, (t) => {
    const [problem, ...others] = refused(t, () => configOf(config))
    t.regex(problem!, line)
    t.deepEqual(others, [])
  })
}

test('a setting is a switch where its schema is one of true and false', (t) => {
  for (const { name, isSwitch, schema } of allSettings()) {
    t.is(isSwitch, schema.type === 'boolean', name)
  }
})

// A server needs them once, and they are more than a megabyte.
test('a process that has loaded its settings does not keep their schemas', async (t) => {
  const script = `
    import { stat } from 'node:fs/promises'
    import { queryObjects } from 'node:v8'
    import { z } from 'zod'
    import { allSettings, loadConfig } from '${new URL('../src/config.js', import.meta.url)}'
    const kept = () => queryObjects(z.ZodDefault, { format: 'count' })
    loadConfig()
    // In the turn in which it is asked for, what is held weakly stays.
    await stat('.')
    console.log(JSON.stringify([kept(), allSettings().length, kept()]))`
  const args = ['--no-warnings', '--input-type=module', '--eval', script]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  const [after, settings, declared] = JSON.parse(stdout)
  t.is(after, 0)
  t.true(declared > settings / 2)
})
