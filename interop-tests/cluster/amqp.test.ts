// AMQP clients before a real Apache RocketMQ, through two gateways, with native clients beside them.
import { setTimeout as delay } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import rhea from 'rhea'
import { connect } from '../../src/client/index.ts'
import { type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import type { Driver, Producing } from '../matrix/driver.ts'
import { driver as amqp } from '../matrix/drivers/rhea.ts'
import { driver as native } from '../matrix/drivers/sdk.ts'
import {
  bodyOf,
  idOf,
  keysOf,
  orderingKeyOf,
  propertiesOf,
  type Received,
  type Sample,
  tagOf,
} from '../matrix/sample.ts'
import {
  type ApacheRocketmq,
  apacheRocketmqMissing,
  startApacheRocketmq,
} from '../support/apache-rocketmq.ts'

const missing = await apacheRocketmqMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: AMQP before Apache RocketMQ, because ${missing}\n`)
  test.skip(`AMQP before Apache RocketMQ: ${missing}`, (t) => t.pass())
}
const testAll = missing === undefined ? test.serial : test.skip

const LOCK_MS = 5_000
let apache: ApacheRocketmq

test.before(async (t) => {
  t.timeout(400_000)
  if (missing === undefined) apache = await startApacheRocketmq()
})
test.after.always(() => apache?.stop())

const gateway = (t: ExecutionContext): Promise<SpawnedServer> =>
  spawnServer(t, {
    role: 'gateway',
    config: { cluster: { nameServers: [apache.nameServer] }, amqp: { lockMs: LOCK_MS } },
  })

const addressesOf = (server: SpawnedServer) => ({
  nameServer: apache.nameServer,
  mqtt: '',
  amqp: server.address('amqp'),
})

async function newTopic(name: string): Promise<string> {
  await using mq = await connect({ nameServers: apache.nameServer })
  await mq.admin.topics.create({ name, queues: 4 })
  return name
}

/** A consumer, and a wait for so many different messages of it. */
async function consumer(
  t: ExecutionContext,
  driver: Driver,
  server: SpawnedServer,
  topic: string,
  group: string | undefined,
) {
  const received: Received[] = []
  const clientId = `c-${Math.random().toString(36).slice(2)}`
  const consuming = await driver.openConsumer(addressesOf(server), {
    ...{ topic, group, clientId },
    received: (message) => void received.push(message),
  })
  t.teardown(() => consuming.close().catch(() => {}))
  return received
}

const ids = (received: readonly Received[]): string[] => [
  ...new Set(received.map(({ body }) => Buffer.from(body).toString().split('\n', 1)[0]!)),
]

async function until(
  t: ExecutionContext,
  isDone: () => boolean,
  what: () => string,
): Promise<void> {
  for (let waits = 0; !isDone(); waits++) {
    if (waits > 600) throw new Error(what())
    if (waits % 50 === 49) t.log(what())
    await delay(100)
  }
}

async function sendAll(producing: Producing, producer: Sample['producer'], count: number) {
  const sent: Sample[] = []
  for (let n = 0; n < count; n++) {
    const sample = { producer, lane: n % 4, n: Math.floor(n / 4) }
    await producing.send(sample)
    sent.push(sample)
  }
  return sent
}

testAll(
  'messages of AMQP and native clients reach both, whole and in the order of their keys',
  async (t) => {
    t.timeout(200_000)
    const [one, other] = [await gateway(t), await gateway(t)]
    const topic = await newTopic('orders')
    const consumers = await Promise.all([
      consumer(t, native, one, topic, 'natives'),
      consumer(t, amqp, one, topic, 'links'),
      consumer(t, amqp, other, topic, 'others'),
      consumer(t, amqp, other, topic, undefined),
    ])
    const producers = [
      await native.openProducer(addressesOf(one), topic),
      await amqp.openProducer(addressesOf(one), topic),
    ]
    const sent = (
      await Promise.all([sendAll(producers[0]!, 'sdk', 100), sendAll(producers[1]!, 'rhea', 100)])
    ).flat()
    for (const producing of producers) await producing.close()
    for (const received of consumers) {
      await until(
        t,
        () => ids(received).length === sent.length,
        () => `${ids(received).length}`,
      )
      for (const sample of sent) {
        const message = received.find(({ body }) => Buffer.from(body).toString() === bodyOf(sample))
        t.deepEqual(message && { ...message, body: null }, {
          body: null,
          tag: tagOf(sample),
          keys: keysOf(sample),
          orderingKey: orderingKeyOf(sample),
          properties: propertiesOf(sample),
        })
      }
    }
    for (const received of [consumers[0]!, consumers[3]!]) {
      const order = ids(received)
      for (const producer of ['sdk', 'rhea'] as const) {
        for (const lane of [0, 1, 2, 3]) {
          const own = sent.filter((one) => one.producer === producer && one.lane === lane).map(idOf)
          t.deepEqual(
            order.filter((id) => own.includes(id)),
            own,
          )
        }
      }
    }
  },
)

testAll(
  'what a killed gateway had handed out comes by another, and nothing acknowledged is lost',
  async (t) => {
    t.timeout(200_000)
    const [one, other] = [await gateway(t), await gateway(t)]
    const topic = await newTopic('killed')
    const held: string[] = []
    const receiver = rhea
      .create_container({ id: 'holder' })
      .connect({ port: one.port('amqp'), reconnect: false } as never)
    t.teardown(() => receiver.close())
    receiver.on('disconnected', () => {})
    receiver.on('error', () => {})
    const link = receiver.open_receiver({
      source: `/topics/${topic}/groups/workers`,
      credit_window: 10,
      autoaccept: false,
    } as never)
    link.on('message', ({ message }: { message?: { body: { content: Buffer } } }) =>
      held.push(message!.body.content.toString().split('\n', 1)[0]!),
    )
    const producing = await amqp.openProducer(addressesOf(other), topic)
    const sent = await sendAll(producing, 'rhea', 40)
    await producing.close()
    await until(
      t,
      () => held.length >= 10,
      () => `${held.length} held`,
    )
    await one.kill()
    const received = await consumer(t, amqp, other, topic, 'workers')
    await until(
      t,
      () => ids(received).length === sent.length,
      () => `${ids(received).length}`,
    )
    t.deepEqual(ids(received).sort(), sent.map(idOf).sort())
  },
)

testAll(
  'while its broker is away a gateway keeps senders waiting, and goes on with it',
  async (t) => {
    t.timeout(300_000)
    const server = await gateway(t)
    const topic = await newTopic('away')
    const received = await consumer(t, amqp, server, topic, 'patient')
    const producing = await amqp.openProducer(addressesOf(server), topic)
    t.teardown(() => producing.close())
    await sendAll(producing, 'rhea', 20)
    await apache.killBroker()
    const sent = await Promise.allSettled([producing.send({ producer: 'rhea', lane: 9, n: 0 })])
    t.is(sent[0]?.status, 'rejected')
    await apache.startBroker()
    const late: Sample = { producer: 'rhea', lane: 9, n: 1 }
    for (let tries = 0; ; tries++) {
      const failed = await producing.send(late).then(
        () => undefined,
        (error: Error) => error,
      )
      if (failed === undefined) break
      if (tries > 60) throw failed
      await delay(500)
    }
    await until(
      t,
      () => ids(received).includes(idOf(late)),
      () => ids(received).join(' '),
    )
    t.true(ids(received).length >= 21)
  },
)
