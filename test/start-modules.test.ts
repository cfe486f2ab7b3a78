// A start loads what it needs, and the code of a protocol comes with its first connection: an idle
// process has no memory for what no client uses, and a start no time.
import { rm } from 'node:fs/promises'
import { connect } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { connectAsync, type MqttClient } from 'mqtt'
import { ask } from './support/http.ts'
import { spawnServer } from './support/server.ts'
import { loadedFile, loadedModules, tellingLoaded } from './support/sources/loaded-modules.ts'
import { tempDir } from './support/temp-dir.ts'
import { eventually } from './support/waiting.ts'

const PROTOCOLS = ['gateway/amqp', 'gateway/http', 'gateway/mqtt', 'gateway/remoting']
const RETAINED = { qos: 1, retain: true } as const

async function start(t: ExecutionContext) {
  const file = loadedFile(await tempDir(t))
  const server = await spawnServer(t, { env: { NODE_OPTIONS: tellingLoaded(file) } })
  return { server, loaded: () => loadedModules(file), forget: () => rm(file) }
}

/** Files of the folder, its settings and numbers aside, which the process has in any case. */
const inFolder = (own: readonly string[], folder: string): readonly string[] =>
  own.filter((path) => path.startsWith(`${folder}/`) && !/(options|numbers|limits)$/.test(path))

test('a start with the defaults loads these packages and no protocol that waits for clients', async (t) => {
  const { loaded } = await start(t)
  const { packages, own } = await loaded()
  t.deepEqual(
    packages.filter((name) => !name.startsWith('node:')),
    ['level', 'pino', 'zod'],
  )
  t.false(packages.includes('node:http'))
  for (const folder of [...PROTOCOLS, 'cluster', 'client', 'tracing']) {
    t.deepEqual(inFolder(own, folder), [], folder)
  }
})

for (const [what, isKept] of [
  ['session', (client: MqttClient) => client.subscribeAsync('plant/#')],
  ['retained message', (client: MqttClient) => client.publishAsync('plant', 'on', RETAINED)],
] as const) {
  test(`a start looks after an MQTT ${what} that is kept, and has no code of connections`, async (t) => {
    const { server, loaded, forget } = await start(t)
    const port = server.port('mqtt')
    const client = await connectAsync({ port, clean: what !== 'session', clientId: 'client' })
    await isKept(client)
    await client.endAsync()
    await server.kill()
    await forget()
    await server.start()
    const { own } = await loaded()
    t.true(own.includes('gateway/mqtt/session/session-table'))
    t.false(own.includes('gateway/mqtt/connection'))
  })
}

test('the code of a protocol comes with its first connection, and no other', async (t) => {
  const { server, loaded } = await start(t)
  const peer = connect(server.port('amqp'), '127.0.0.1')
  t.teardown(() => peer.destroy())
  await eventually(async () => (await loaded()).packages.includes('rhea'))
  t.is((await ask(server.port('http'), '/healthz')).status, 200)
  const { own } = await loaded()
  t.true(own.includes('gateway/http/server'))
  t.deepEqual(inFolder(own, 'gateway/http/api'), [])
  t.deepEqual(inFolder(own, 'gateway/http/dashboard'), [])
  t.deepEqual(inFolder(own, 'gateway/remoting'), [])
  t.is((await ask(server.port('http'), '/api/v1/status')).status, 200)
  t.true((await loaded()).own.includes('gateway/http/api/table'))
})
