// Clients of other makers before two masters of a real Apache RocketMQ: Java, Go and mosquitto beside
// rhea and mqtt.js, each reading what all of them send; go-amqp with its own checks.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { ExecutionContext } from 'ava'
import test from 'ava'
import { mqtt5 } from '../matrix/drivers/mqtt.ts'
import { driver as amqp } from '../matrix/drivers/rhea.ts'
import {
  type ApacheCluster,
  apacheRocketmqMissing,
  startApacheCluster,
} from '../support/apache-rocketmq.ts'
import { BeforeCluster, ids, sendAll, until } from '../support/before-cluster.ts'
import type { Got } from '../support/foreign-client.ts'
import { goClient, goMissing } from '../support/go-client.ts'
import { java } from '../support/java-client.ts'
import { mosquittoMissing } from '../support/mosquitto.ts'
import { needing } from '../support/needing.ts'

const missing = await apacheRocketmqMissing()
const testMosquitto = needing(
  'mosquitto before Apache RocketMQ',
  missing ?? (await mosquittoMissing()),
)
const testGo = needing('go-amqp before Apache RocketMQ', missing ?? (await goMissing()))
const testForeign = needing(
  'Java, Go and mosquitto before Apache RocketMQ',
  missing ?? (await mosquittoMissing()) ?? (await goMissing()),
)

const EACH = 12
let apache: ApacheCluster
let before: BeforeCluster

test.before(async (t) => {
  t.timeout(400_000)
  if (missing !== undefined) return
  apache = await startApacheCluster(['broker-a/0', 'broker-b/0'])
  before = new BeforeCluster(apache)
})
test.after.always(() => apache?.stop())

const numbered = (name: string): string[] => Array.from({ length: EACH }, (_, n) => `${name}-${n}`)

/** First lines of what it prints; subscribed when this settles. */
async function mosquittoSub(t: ExecutionContext, address: string, filter: string) {
  const at = ['-h', '127.0.0.1', '-p', address.split(':')[1]!]
  const child = spawn('stdbuf', [
    ...['-oL', 'mosquitto_sub', '-d', '-V', 'mqttv5', '-q', '1', ...at],
    ...['-t', filter, '-F', '> %p'],
  ])
  t.teardown(() => child.kill('SIGKILL'))
  const heard = new Set<string>()
  let subscribed = (): void => {}
  const ready = new Promise<void>((resolve) => {
    subscribed = resolve
  })
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('Subscribed')) subscribed()
    if (line.startsWith('> ')) heard.add(line.slice(2))
  })
  await ready
  return heard
}

/** A line is a message. Settles when all are acknowledged. */
async function mosquittoPub(address: string, topic: string, lines: readonly string[]) {
  const at = ['-h', '127.0.0.1', '-p', address.split(':')[1]!]
  const child = spawn('mosquitto_pub', ['-V', 'mqttv311', '-q', '1', ...at, '-t', topic, '-l'])
  child.stdin.end(`${lines.join('\n')}\n`)
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`mosquitto_pub ended with ${code}`)
}

testForeign('Java, Go, mosquitto, rhea and mqtt.js each get what all of them send', async (t) => {
  t.timeout(500_000)
  const topic = await before.newTopic('foreign')
  const servers = [await before.gateway(t), await before.gateway(t)] as const
  const { nameServer } = apache
  const push = await java(t, 'push', { nameServer, topic, group: 'foreign-java' })
  await push.ready()
  const goMember = await goClient(t, 'remoting/go', nameServer, topic, 'foreign-go')
  await goMember.ready()
  const heard = await mosquittoSub(t, servers[0].address('mqtt'), `${topic}/#`)
  const readers = await Promise.all([
    before.consumer(t, amqp, servers[1], { topic, group: 'foreign-rhea' }),
    before.consumer(t, mqtt5, servers[0], { topic }),
    before.consumer(t, mqtt5, servers[1], { topic, group: 'foreign-mqtt' }),
  ])
  const produce = await java(t, 'produce', {
    ...{ nameServer, topic, mode: 'sync', count: EACH, body: 'java', tags: 'made' },
  })
  const goProducer = await goClient(t, 'remoting/go', nameServer, topic, 'produce', `${EACH}`)
  const wanted = [...numbered('java'), ...numbered('go'), ...numbered('mosquitto')]
  await Promise.all([
    produce.ends(),
    goProducer.ends(),
    mosquittoPub(servers[1].address('mqtt'), `${topic}/made`, numbered('mosquitto')),
  ])
  for (const [driver, name, i] of [
    [amqp, 'rhea', 0],
    [mqtt5, 'mqtt5', 1],
  ] as const) {
    const producing = await driver.openProducer(before.addressesOf(servers[i]), topic)
    t.teardown(() => producing.close())
    const sent = await sendAll(producing, name, EACH)
    wanted.push(...sent.map(({ lane, n }) => `${name}/${lane}/${n}`))
  }
  const idOf = ({ body }: Got): string => `${Buffer.from(body, 'base64')}`.split('\n', 1)[0]!
  const all: readonly (readonly [string, () => readonly string[]])[] = [
    ['Java', () => [...new Set((push.of('got') as Got[]).map(idOf))]],
    ['Go', () => [...new Set((goMember.of('got') as Got[]).map(idOf))]],
    ['mosquitto', () => [...heard].filter((line) => wanted.includes(line))],
    ...readers.map((received, i) => [`reader ${i}`, () => ids(received)] as const),
  ]
  for (const [name, got] of all) {
    await until(
      t,
      () => got().length >= wanted.length,
      () => `${name}: ${got().length} of ${wanted.length}`,
    )
    t.deepEqual(got().toSorted(), wanted.toSorted(), name)
  }
})

testGo('a Go application sends and receives', async (t) => {
  t.timeout(600_000)
  const server = await before.gateway(t)
  const client = await goClient(t, 'amqp/go', `amqp://${server.address('amqp')}`)
  const events = await client.ends()
  t.is(events.at(-1)?.event, 'done')
  const failed = client.of('check').filter(({ problem }) => problem !== '')
  // RocketMQ's copy of a dead letter has no room for its reason.
  const differing = ['outcomes, frames of 512', 'outcomes, frames of 65536']
  t.deepEqual(
    failed.map(({ name }) => name),
    differing,
  )
})

testMosquitto('a message without a body is stored', async (t) => {
  t.timeout(120_000)
  const topic = await before.newTopic('empty')
  const server = await before.gateway(t)
  const received = await before.consumer(t, mqtt5, server, { topic })
  await mosquittoPub(server.address('mqtt'), `${topic}/a`, [''])
  await until(
    t,
    () => received.length > 0,
    () => 'none came',
  )
  t.is(received[0]!.body.length, 0)
})
