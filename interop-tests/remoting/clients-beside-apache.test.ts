// What whole clients do before Apache RocketMQ 5.5.0, they do before our server: a new group's first retry, clients
// with binary headers, clients of other makers, clients by IPv6.
import test, { type ExecutionContext } from 'ava'
import { systemClock } from '../../src/clock.ts'
import { dial } from '../../src/remoting/connection.ts'
import { pull, send } from '../../test/support/native/native-front-end.ts'
import { type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import { aliOns } from '../support/ali-ons-client.ts'
import {
  type ApacheRocketmq,
  apacheRocketmqMissing,
  startApacheRocketmq,
} from '../support/apache-rocketmq.ts'
import { answers } from '../support/api-probe.ts'
import { Peer } from '../support/compatibility-peer.ts'
import { allChecked, goClient, goMissing } from '../support/go-client.ts'
import { java, javaClientMissing } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const missing = (await javaClientMissing()) ?? (await apacheRocketmqMissing())
const testBoth = needing('clients beside Apache RocketMQ', missing)
const testGo = needing(
  "RocketMQ's Go client beside Apache RocketMQ",
  missing ?? (await goMissing()),
)

let apache: ApacheRocketmq
let server: SpawnedServer
const leftovers: (() => unknown)[] = []

test.before(async (t) => {
  t.timeout(400_000)
  if (missing !== undefined) return
  apache = await startApacheRocketmq()
  leftovers.unshift(() => apache.stop())
  server = await spawnServer({ teardown: (end) => void leftovers.unshift(end) })
})
test.after.always(async () => {
  for (const end of leftovers) await end()
})

const nameServers = (): readonly (readonly [name: string, nameServer: string])[] => [
  ["Apache's", apache.nameServer],
  ['ours', server.address('nameServer')],
]

/** Some clients need a topic that is there. */
async function withTopics(t: ExecutionContext, ...topics: readonly string[]): Promise<void> {
  using theirs = await Peer.connect(apache.broker, apache.nameServer)
  using ours = await Peer.connect(server.address('remoting'), server.address('nameServer'))
  for (const topic of topics) {
    for (const peer of [theirs, ours]) {
      const made = await peer.putTopic(topic, { readQueueNums: 4, writeQueueNums: 4 })
      t.is(made.code, 0)
    }
  }
}

testBoth('what fails first in a new group comes again, with a count', async (t) => {
  t.timeout(300_000)
  await withTopics(t, 'FirstRetry')
  for (const [name, nameServer] of nameServers()) {
    const common = { nameServer, topic: 'FirstRetry' }
    const group = { group: 'G_first_retry', failures: 1, retryLevel: 1 }
    const consumer = await java(t, 'push', { ...common, ...group })
    await consumer.ready()
    await (await java(t, 'produce', { ...common, count: 1 })).ends()
    const [first, again] = await consumer.receives(2)
    t.deepEqual([first!.reconsumeTimes, again!.reconsumeTimes], [0, 1], name)
    t.is(again!.topic, 'FirstRetry', name)
    t.log(`${name}: after ${again!.delayMs - first!.delayMs} ms`)
    await consumer.stop()
  }
})

testBoth('binary headers change no answer about bodies', async (t) => {
  t.timeout(300_000)
  const binary = ['-Drocketmq.serialize.type=ROCKETMQ']
  const said: Record<string, string>[] = []
  for (const [, nameServer] of nameServers()) {
    for (const options of [[], binary]) {
      said.push(Object.fromEntries(await answers(t, nameServer, 'a body', options)))
    }
  }
  const [theirs, theirsByBinary, ours, oursByBinary] = said
  t.true(Object.keys(theirs!).length > 5)
  t.deepEqual(theirsByBinary, theirs)
  t.deepEqual([ours, oursByBinary], [theirs, theirs])
})

testBoth('ali-ons is given what lies there, and what it failed once more', async (t) => {
  t.timeout(300_000)
  await withTopics(t, 'OnsBoth')
  for (const [name, nameServer] of nameServers()) {
    const common = { nameServer, topic: 'OnsBoth' }
    const producer = aliOns(t, { role: 'produce', ...common, count: 20 })
    await producer.ends()
    t.deepEqual(producer.of('failed'), [], name)
    const consumer = aliOns(t, { role: 'consume', ...common, group: 'O_both', failures: 1 })
    const got = await consumer.receives(40)
    const indexes = (times: number): number[] =>
      got
        .filter(({ reconsumeTimes }) => reconsumeTimes === times)
        .map(({ properties }) => Number(properties['index']))
        .sort((a, b) => a - b)
    const all = Array.from({ length: 20 }, (_, i) => i)
    t.deepEqual([indexes(0), indexes(1)], [all, all], name)
    t.log(`${name}: again after ${got.at(-1)!.delayMs - got[0]!.delayMs} ms`)
    await consumer.stop()
  }
})

const GO_CHECKS = 11

testGo('a Go application passes the same checks', async (t) => {
  t.timeout(900_000)
  await withTopics(t, ...Array.from({ length: GO_CHECKS }, (_, i) => `Go${i}`))
  for (const [, nameServer] of nameServers()) {
    await allChecked(t, await goClient(t, 'remoting/go', nameServer), GO_CHECKS)
  }
})

/** Of a record, and its bit for a born host of 16 bytes. */
const SYS_FLAG_AT = 36
const BORN_HOST_V6 = 0x10

testBoth('what comes by IPv6 has a born host of 16 bytes there, and of 4 here', async (t) => {
  await withTopics(t, 'BySix')
  const ours = await spawnServer(t, { config: { remoting: { host: '::1' } } })
  const flags: number[] = []
  for (const port of [Number(apache.broker.split(':')[1]), ours.port('remoting')]) {
    const connection = await dial({ host: '::1', port, clock: systemClock })
    t.teardown(() => connection.close())
    t.is((await send(connection, { topic: 'BySix' })).code, 0)
    const body = await eventually(async () => {
      const pulled = await pull(connection, { topic: 'BySix', group: 'G_by_six' })
      return pulled.body.length > 0 && Buffer.from(pulled.body)
    })
    flags.push(body.readInt32BE(SYS_FLAG_AT) & BORN_HOST_V6)
  }
  t.deepEqual(flags, [BORN_HOST_V6, 0])
})
