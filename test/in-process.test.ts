// The server as a module, as a test or another program uses it.
import { existsSync } from 'node:fs'
import test from 'ava'
import { connect } from '../src/client/index.ts'
import { startServer, startTemporaryServer } from '../src/in-process.ts'
import { silentLogger } from '../src/log.ts'
import { freePort } from './support/server.ts'
import { tempDir } from './support/temp-dir.ts'

const logger = silentLogger

async function sendOne(nameServers: string): Promise<string> {
  const mq = await connect({ nameServers })
  try {
    return (await mq.send({ topic: 'orders', body: 'hello' })).topic
  } finally {
    await mq.close()
  }
}

test('a temporary server serves clients, and its folder is gone after it', async (t) => {
  const server = await startTemporaryServer()
  t.is(await sendOne(server.nameServers), 'orders')
  t.true(existsSync(server.dataDir))
  await server.close()
  t.false(existsSync(server.dataDir))
})

test('two temporary servers are apart from each other', async (t) => {
  const [one, other] = [await startTemporaryServer(), await startTemporaryServer()]
  t.teardown(() => Promise.all([one.close(), other.close()]))
  await sendOne(one.nameServers)
  const mq = await connect({ nameServers: other.nameServers })
  t.teardown(() => mq.close())
  t.false((await mq.admin.topics.list()).some(({ name }) => name === 'orders'))
})

test('a temporary server takes the ports that it is given, and leaves out what is not enabled', async (t) => {
  const port = await freePort()
  const config = { mqtt: { port }, amqp: { enabled: false } }
  const server = await startTemporaryServer({ config, logger })
  t.teardown(() => server.close())
  t.is(server.address('mqtt').port, port)
  t.throws(() => server.address('amqp'), { instanceOf: RangeError })
})

test('a temporary server takes no folder that is to stay', async (t) => {
  const config = { dataDir: await tempDir(t) }
  await t.throwsAsync(startTemporaryServer({ config }), { code: 'CONFIG_INVALID' })
})

test('a started server keeps its messages for the next one', async (t) => {
  const dataDir = await tempDir(t)
  const port = await freePort()
  const config = { dataDir, nameServer: { port }, remoting: { port: 0 } }
  const off = { enabled: false }
  const others = { mqtt: off, amqp: off, http: off }
  const start = () => startServer({ config: { ...config, ...others }, logger })
  {
    await using server = await start()
    t.is(server.nameServers, `127.0.0.1:${port}`)
    await sendOne(server.nameServers)
  }
  await using server = await start()
  const mq = await connect({ nameServers: server.nameServers })
  t.teardown(() => mq.close())
  t.true((await mq.admin.topics.list()).some(({ name }) => name === 'orders'))
})

test('a setting that does not exist is told', async (t) => {
  const config = { mqtt: { prot: 1 } } as never
  await t.throwsAsync(startServer({ config }), { code: 'CONFIG_INVALID', message: /prot/ })
})
