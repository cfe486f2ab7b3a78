// A real aedes server on an Apache RocketMQ 5.5.0 broker, by the two options of `trivetmq/aedes`.
import test from 'ava'
import { connect } from '../../src/client/index.ts'
import { startAedes } from '../../test/aedes/running-aedes.ts'
import { persistent } from '../../test/support/mqtt/mqtt.ts'
import {
  type ApacheRocketmq,
  apacheRocketmqMissing,
  startApacheRocketmq,
} from '../support/apache-rocketmq.ts'

const missing = await apacheRocketmqMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: aedes on Apache RocketMQ, because ${missing}\n`)
  test.skip(`aedes on Apache RocketMQ: ${missing}`, (t) => t.pass())
}
const testAll = missing === undefined ? test.serial : test.skip

let apache: ApacheRocketmq

test.before(async (t) => {
  t.timeout(400_000)
  if (missing === undefined) apache = await startApacheRocketmq()
})
test.after.always(() => apache?.stop())

testAll(
  'messages, sessions and retained messages of aedes are on a broker of Apache',
  async (t) => {
    const { nameServer: nameServers } = apache
    await using mq = await connect({ nameServers })
    await mq.admin.topics.create({ name: 'orders', queues: 2 })
    const [one, other] = [
      await startAedes(t, { nameServers }),
      await startAedes(t, { nameServers }),
    ]
    const meter = await one.client(persistent('meter'))
    await meter.subscribe(['orders/#', 'rooms/#'], { qos: 1 })
    await meter.end()

    const publisher = await other.client()
    await publisher.publish('orders/paid/42', 'aedes')
    await publisher.publish('rooms/7', 'caught', { qos: 2 })
    await publisher.publish('state/a', 'on', { retain: true })
    await mq.send({ topic: 'orders', tag: 'late', body: 'native' })
    for await (const delivery of mq.subscribe({
      group: 'billing',
      topic: 'orders',
      from: 'first',
    })) {
      await delivery.ack()
      if (delivery.tag !== 'paid') continue
      t.deepEqual(delivery.keys, ['42'])
      t.is(delivery.text(), 'aedes')
      break
    }

    const back = await other.client(persistent('meter'))
    await back.messages(3)
    t.deepEqual(back.received.map(({ topic, text }) => `${topic} ${text}`).sort(), [
      'orders/late native',
      'orders/paid/42 aedes',
      'rooms/7 caught',
    ])
    await back.subscribe('state/+')
    t.like((await back.messages(4))[3], { topic: 'state/a', text: 'on', retain: true })
  },
)
