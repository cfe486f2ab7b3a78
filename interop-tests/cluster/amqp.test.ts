// AMQP clients before a real Apache RocketMQ, through two gateways, with native clients beside them.
import { setTimeout as delay } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import rhea from 'rhea'
import type { SpawnedServer } from '../../test/support/server.ts'
import { driver as amqp } from '../matrix/drivers/rhea.ts'
import { driver as native } from '../matrix/drivers/sdk.ts'
import {
  bodyOf,
  idOf,
  keysOf,
  orderingKeyOf,
  propertiesOf,
  type Sample,
  tagOf,
} from '../matrix/sample.ts'
import {
  type ApacheRocketmq,
  apacheRocketmqMissing,
  startApacheRocketmq,
} from '../support/apache-rocketmq.ts'
import { BeforeCluster, ids, sendAll, until } from '../support/before-cluster.ts'

const missing = await apacheRocketmqMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: AMQP before Apache RocketMQ, because ${missing}\n`)
  test.skip(`AMQP before Apache RocketMQ: ${missing}`, (t) => t.pass())
}
const testAll = missing === undefined ? test.serial : test.skip

const LOCK_MS = 5_000
let apache: ApacheRocketmq
let before: BeforeCluster

test.before(async (t) => {
  t.timeout(400_000)
  if (missing !== undefined) return
  apache = await startApacheRocketmq()
  before = new BeforeCluster(apache)
})
test.after.always(() => apache?.stop())

const gateway = (t: ExecutionContext): Promise<SpawnedServer> =>
  before.gateway(t, { amqp: { lockMs: LOCK_MS } })

testAll(
  'messages of AMQP and native clients reach both, whole and in the order of their keys',
  async (t) => {
    t.timeout(200_000)
    const [one, other] = [await gateway(t), await gateway(t)]
    const topic = await before.newTopic('orders')
    const consumers = await Promise.all([
      before.consumer(t, native, one, { topic, group: 'natives' }),
      before.consumer(t, amqp, one, { topic, group: 'links' }),
      before.consumer(t, amqp, other, { topic, group: 'others' }),
      before.consumer(t, amqp, other, { topic }),
    ])
    const producers = [
      await native.openProducer(before.addressesOf(one), topic),
      await amqp.openProducer(before.addressesOf(one), topic),
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
    const topic = await before.newTopic('killed')
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
    const producing = await amqp.openProducer(before.addressesOf(other), topic)
    const sent = await sendAll(producing, 'rhea', 40)
    await producing.close()
    await until(
      t,
      () => held.length >= 10,
      () => `${held.length} held`,
    )
    await one.kill()
    const received = await before.consumer(t, amqp, other, { topic, group: 'workers' })
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
    const topic = await before.newTopic('away')
    const received = await before.consumer(t, amqp, server, { topic, group: 'patient' })
    const producing = await amqp.openProducer(before.addressesOf(server), topic)
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
