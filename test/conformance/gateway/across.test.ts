// What one protocol sends the others receive: the same body, and what their properties have in
// common.
import test from 'ava'
import { UserStore } from '../../../src/access/user-store.ts'
import { silentLogger } from '../../../src/log.ts'
import { startBroker, topicOf } from '../../support/broker.ts'
import { openFrontEnd } from '../../support/front-end.ts'
import type { Labels } from './driver.ts'
import { amqp } from './drivers/amqp.ts'
import { mqtt } from './drivers/mqtt.ts'
import { native } from './drivers/native.ts'
import { TOPIC } from './server.ts'

const DRIVERS = [native, mqtt(4), mqtt(5), amqp]
const BODY = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
const LABELS = { tag: 'eu', key: 'o42', properties: { color: 'red', shade: 'dark é' } }

test('a message of any protocol is received by every protocol, with body, tag, key and properties', async (t) => {
  const { broker, clock, numbers } = await startBroker(t)
  await broker.topics.put(topicOf(TOPIC, 1))
  const auth = new UserStore({}, clock)
  const clients = await Promise.all(
    DRIVERS.map(async (driver) => {
      const gateway = driver.gateway({ broker, auth, log: silentLogger, clock, numbers })
      const { port } = await openFrontEnd(t, gateway, { clock })
      const client = await driver.connect(t, port)
      const { name, says } = driver
      return {
        name,
        says,
        client,
        reader: await client.reader(TOPIC, `readers-${gateway.protocol}-${port}`),
      }
    }),
  )
  for (const from of clients) {
    t.is(await from.client.send(TOPIC, BODY, LABELS), 'accepted', from.name)
    for (const to of clients) {
      const pair = `${from.name} to ${to.name}`
      const { body, labels } = await to.reader.take()
      t.true(body.equals(BODY), pair)
      const common = from.says.filter((word) => to.says.includes(word))
      for (const word of common) t.like(pick(labels, word), pick(LABELS, word), `${pair}: ${word}`)
    }
  }
})

const pick = (labels: Labels, word: keyof Labels): object => ({ [word]: labels[word] })
