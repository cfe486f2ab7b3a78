// The page about deploying: its configurations are taken, its unit and its image start what there
// is, and TLS works where it says so.
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect as connectTo, type ListenOptions } from 'node:net'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import mqtt from 'mqtt'
import { hashPassword } from '../../src/access/secrets/password.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { connect } from '../../src/client/index.ts'
import { type ConfigInput, configOf } from '../../src/config.ts'
import { checkExposure } from '../../src/exposure.ts'
import { connectRhea } from '../support/amqp/rhea-client.ts'
import { plainEnv, spawnServer, startServer, TRIVET } from '../support/server.ts'
import { ROOT, sources, textOf } from '../support/sources/sources.ts'
import { tempDir } from '../support/temp-dir.ts'

const run = promisify(execFile)
const page = textOf('docs/operate/deploying.md')
const unit = textOf('deploy/trivetmq.service')
const dockerfile = textOf('Dockerfile')
const compose = textOf('deploy/compose.yaml')
const chart = 'deploy/helm/trivetmq'

const snippets = (language: string): readonly string[] =>
  Array.from(page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms')), ([, s]) => s!)

const hasTool = (name: string): boolean => spawnSync(name, ['--version']).error === undefined

test('the configurations are taken, and none is open', async (t) => {
  const password = await hashPassword('secret')
  const texts = snippets('json')
  t.is(texts.length, 2)
  for (const text of texts) {
    const input = JSON.parse(text.replaceAll('scrypt:32768:8:1:...', password)) as ConfigInput
    const config = configOf(input)
    t.notThrows(() => checkExposure(config))
    t.false(config.broker.autoCreateTopics)
    t.true(config.remoting.advertisedHost !== undefined)
  }
})

test('the unit starts a command that there is, with flags that there are', async (t) => {
  const [, program, command = '', ...flags] = /^ExecStart=(\S+) (\S+) (.*)$/m.exec(unit)!
  t.is(program, '/usr/local/bin/trivet')
  t.true(command in COMMANDS)
  const [name = ''] = flags.join(' ').split(' ')
  const { stdout } = await run(process.execPath, [TRIVET, command, '--help'])
  t.true(stdout.includes(`  ${name} `))
})

test('systemd finds nothing wrong with the unit', async (t) => {
  if (!hasTool('systemd-analyze')) {
    t.log('systemd-analyze is NOT INSTALLED: the unit was not verified')
    t.pass()
    return
  }
  const file = join(await tempDir(t), 'trivetmq.service')
  writeFileSync(file, unit.replace('/usr/local/bin/trivet', TRIVET))
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' })
  t.is(status, 0, stderr)
})

test('what the image copies is enough to start, and it stops in order', async (t) => {
  const folder = await tempDir(t)
  const copied = Array.from(
    dockerfile.matchAll(/^COPY --from=build \/src\/(\S+) \.\/(\S*)$/gm),
    ([, from]) => from!,
  )
  t.deepEqual(copied, ['package.json', 'node_modules', 'bin', 'dist/src', 'dist/dashboard'])
  mkdirSync(join(folder, 'dist'))
  for (const path of copied) {
    if (path === 'node_modules') symlinkSync(join(ROOT, path), join(folder, path))
    else cpSync(join(ROOT, path), join(folder, path), { recursive: true })
  }
  const [, entry] = /^ENTRYPOINT \["(\w+)"\]$/m.exec(dockerfile)!
  const [, command = ''] = /^CMD \["(\w+)"\]$/m.exec(dockerfile)!
  t.is(entry, 'trivet')
  t.true(command in COMMANDS)
  const server = await spawnServer(t, { trivet: join(folder, 'bin', 'trivet.cjs') })
  t.is(await server.stop(), 0)
})

test('the ports of the image, the proxy, compose and the chart are the defaults', (t) => {
  const { nameServer, remoting, mqtt: mqttPort, amqp, http } = configOf()
  const all = [nameServer.port, remoting.port, mqttPort.port, amqp.port, http.port]
  const [, exposed = ''] = /^EXPOSE (.*)$/m.exec(dockerfile)!
  t.deepEqual(exposed.split(' ').map(Number), [9876, 10_909, ...all.slice(1)])
  const numbers = (text: string, pattern: RegExp): number[] =>
    Array.from(text.matchAll(pattern), ([, n]) => Number(n))
  const ascending = (list: readonly number[]): number[] => list.toSorted((a, b) => a - b)
  t.deepEqual(
    ascending(numbers(page, /server trivet 127\.0\.0\.1:(\d+)/g)),
    ascending(all.slice(0, -1)),
  )
  t.deepEqual(numbers(compose, /"\d+:(\d+)"/g), all)
  const pod = textOf(`${chart}/templates/statefulset.yaml`)
  t.deepEqual(numbers(pod, /containerPort: (\d+)/g), all)
  t.deepEqual(numbers(textOf(`${chart}/templates/_names.tpl`), /port: (\d+)/g), all)
})

test('the time that each way of running gives a stop is enough', (t) => {
  const pod = textOf(`${chart}/templates/statefulset.yaml`)
  const graces = [
    /^TimeoutStopSec=(\d+)$/m.exec(unit)![1],
    /stop_grace_period: (\d+)s/.exec(compose)![1],
    /terminationGracePeriodSeconds: (\d+)/.exec(pod)![1],
    /--stop-timeout (\d+)/.exec(page)![1],
  ]
  for (const seconds of graces) t.true(Number(seconds) * 1000 > configOf().stopDeadlineMs + 5000)
})

test('the chart is of this version, and uses each value that it declares', (t) => {
  const { version } = JSON.parse(textOf('package.json')) as { version: string }
  t.is(/^appVersion: (.*)$/m.exec(textOf(`${chart}/Chart.yaml`))![1], version)
  const templates = sources(`${chart}/templates`, '')
    .map(({ text }) => text)
    .join('\n')
  const used = Array.from(templates.matchAll(/\.Values\.(\w+)/g), ([, name]) => name!)
  const declared = Array.from(textOf(`${chart}/values.yaml`).matchAll(/^(\w+):/gm), ([, n]) => n!)
  t.deepEqual([...new Set(used)].toSorted(), declared.toSorted())
})

/** A certificate of the test's own, or undefined where there is no openssl. */
async function certificate(t: ExecutionContext) {
  if (spawnSync('openssl', ['version']).error !== undefined) {
    t.log('openssl is NOT INSTALLED: TLS was not tried')
    t.pass()
    return undefined
  }
  const folder = await tempDir(t)
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.2']
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
  const kind = ['req', '-x509', ...curve, '-nodes', '-days', '1']
  execFileSync('openssl', [...kind, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  return { key: readFileSync(key), cert: readFileSync(cert), path: cert }
}

interface Pair {
  readonly key: Buffer
  readonly cert: Buffer
}

/** Ends TLS and passes the bytes on, as the proxies of the page do. */
async function proxyTo(
  t: ExecutionContext,
  port: number,
  pair: Pair,
  outside: ListenOptions = { port: 0 },
) {
  const server = createServer(pair, (outer) => {
    const inner = connectTo(port, '127.0.0.1')
    outer.pipe(inner).pipe(outer)
    outer.on('error', () => inner.destroy())
    inner.on('error', () => outer.destroy())
  })
  server.listen({ host: '127.0.0.1', ...outside })
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as { port: number }).port
}

test('MQTT clients reach the broker through a proxy that ends TLS', async (t) => {
  const pair = await certificate(t)
  if (pair === undefined) return
  const port = await proxyTo(t, (await startServer(t)).port('mqtt'), pair)
  const client = await mqtt.connectAsync(`mqtts://localhost:${port}`, { ca: pair.cert })
  t.teardown(() => client.endAsync(true))
  await t.notThrowsAsync(client.publishAsync('orders', 'over TLS', { qos: 1 }))
})

test('AMQP clients reach the broker through a proxy that ends TLS', async (t) => {
  const pair = await certificate(t)
  if (pair === undefined) return
  const port = await proxyTo(t, (await startServer(t)).port('amqp'), pair)
  const transport = { transport: 'tls', host: 'localhost', ca: [pair.cert] }
  const peer = await connectRhea(t, port, transport as never)
  const sender = await peer.sender('/topics/orders')
  t.like(await sender.send({ body: 'over TLS' }), { kind: 'accepted' })
})

test('the SDK finds and uses the broker through proxies on the same ports of another address', async (t) => {
  const pair = await certificate(t)
  if (pair === undefined) return
  const host = '127.0.0.2'
  const { port } = await startServer(t, { config: { remoting: { advertisedHost: host } } })
  for (const name of ['nameServer', 'remoting'] as const) {
    await proxyTo(t, port(name), pair, { host, port: port(name) })
  }
  const nameServers = `${host}:${port('nameServer')}`
  const mq = await connect({ nameServers, tls: { ca: pair.cert } })
  t.teardown(() => mq.close())
  await mq.admin.topics.create({ name: 'orders', queues: 1 })
  const sent = await mq.send({ topic: 'orders', body: 'over TLS' })
  t.is(sent.topic, 'orders')
})

test('trivet reaches the broker over TLS by each protocol, and trusts no certificate that it does not know', async (t) => {
  const pair = await certificate(t)
  if (pair === undefined) return
  const host = '127.0.0.2'
  const { port } = await startServer(t, { config: { remoting: { advertisedHost: host } } })
  for (const name of ['nameServer', 'remoting', 'mqtt', 'amqp'] as const) {
    await proxyTo(t, port(name), pair, { host, port: port(name) })
  }
  const pub = (trusted: NodeJS.ProcessEnv, ...words: readonly string[]): Promise<unknown> =>
    run(process.execPath, [TRIVET, 'pub', 'orders', 'x', '--tls', ...words], {
      env: { ...plainEnv(), ...trusted, TRIVET_NAME_SERVERS: `${host}:${port('nameServer')}` },
    })
  const legs = [
    [],
    ...(['mqtt', 'amqp'] as const).map((via) => ['--via', via, '--at', `${host}:${port(via)}`]),
  ]
  for (const words of legs) {
    await t.notThrowsAsync(pub({ NODE_EXTRA_CA_CERTS: pair.path }, ...words))
    await t.throwsAsync(pub({}, ...words), { message: /certificate/ })
  }
})
