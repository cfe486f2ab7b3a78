// Shared subscriptions before a broker without light queues, whose filter is no native group: a
// group over the filter's topic, whose members look at each message.
import test from 'ava'
import { newMessage } from '../../../support/broker.ts'
import { cheapHash } from '../../../support/cheap-password.ts'
import { mqttClient } from '../../../support/mqtt/mqtt.ts'
import { openGateway, startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import { withoutLightQueues } from '../../../support/mqtt/without-light-queues.ts'
import { overridden } from '../../../support/overridden.ts'

const bend = withoutLightQueues

test('members of two gateways share what the filter selects, and nothing else', async (t) => {
  const { broker, port } = await startMqttOver(t, { bend })
  await broker.topics.ensure('orders')
  const other = await openGateway(t, withoutLightQueues(broker))
  for (const [filter, wanted, not] of [
    ['rooms/+/heat', 'rooms/1/heat', 'rooms/1/light'],
    ['orders/+/42', 'orders/eu/42', 'orders/eu/43'],
    ['orders/eu/42', 'orders/eu/42', 'orders/eu/42/x'],
  ] as const) {
    const members = await Promise.all([port, other.port].map((one) => mqttClient(t, one, 5)))
    for (const member of members) await member.subscribe(`$share/g/${filter}`)
    const publisher = await mqttClient(t, port, 5)
    for (let n = 0; n < 20; n++) {
      await publisher.publish(not, 'not')
      await publisher.publish(wanted, `${n}`, { properties: { userProperties: { TAGS: 'other' } } })
    }
    const texts = () => members.flatMap((member) => member.texts)
    while (texts().length < 20) await new Promise((resolve) => setImmediate(resolve))
    t.deepEqual(
      texts()
        .map(Number)
        .sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, n) => n),
    )
    for (const member of members) await member.end()
  }
})

test('a filter that may select messages of any topic cannot be shared', async (t) => {
  const { port } = await startMqttOver(t, { bend })
  const client = await mqttClient(t, port, 5)
  for (const filter of ['#', '+/x']) await t.throwsAsync(client.subscribe(`$share/g/${filter}`))
  await client.subscribe('$share/g/a/#')
})

test('rights are for the group that the client names', async (t) => {
  const user = { admin: false, publish: [], create: [], password: cheapHash('pw') }
  const users = {
    may: { ...user, consume: ['MQTT', 'g'] },
    not: { ...user, consume: ['MQTT', 'h'] },
  }
  const { port } = await startMqttOver(t, { bend, users })
  const as = (username: string) => mqttClient(t, port, 5, { username, password: 'pw' })
  await (await as('may')).subscribe('$share/g/a/+')
  await t.throwsAsync((await as('not')).subscribe('$share/g/a/+'))
})

test('a topic that was just made is known to a filter, though news of it come later', async (t) => {
  const { broker, port } = await startMqttOver(t, {
    bend: (whole) => {
      const silent = overridden(whole.topics, { watch: () => ({ [Symbol.dispose]() {} }) })
      return overridden(withoutLightQueues(whole), { topics: silent })
    },
  })
  await broker.topics.ensure('orders')
  const member = await mqttClient(t, port, 5)
  await member.subscribe('$share/g/orders/#')
  await broker.publish([newMessage('orders', { body: 'one' })])
  await member.messages(1)
  t.deepEqual(member.texts, ['one'])
})
