// The examples of docs/concepts/mqtt.md, run: a table of the page that is wrong fails here.
import test from 'ava'
import { Addresses, groupOfShare } from '../../../src/gateway/mqtt/address.ts'
import { OutgoingMessage } from '../../../src/gateway/mqtt/outgoing/outgoing-message.ts'
import { parseFilter } from '../../../src/gateway/mqtt/packets/topic-name.ts'
import { encodeProperties } from '../../../src/model/properties.ts'
import { recordBytes, writeRecord } from '../../../src/model/record.ts'
import { startBroker } from '../../support/broker.ts'
import { textOf } from '../../support/sources.ts'

/** Rows of the table with this first line, cells without their code marks. */
function table(header: string): string[][] {
  const lines = textOf('docs/concepts/mqtt.md').split('\n')
  const at = lines.indexOf(header)
  if (at === -1) throw new Error(`the page has no table '${header}'`)
  const rows: string[][] = []
  for (const line of lines.slice(at + 2)) {
    if (!line.startsWith('|')) break
    rows.push(
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim().replaceAll('`', '')),
    )
  }
  return rows
}

test('MQTT topics map to topic, tag and key as the page shows', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  const addresses = new Addresses(broker)
  await addresses.open()
  const rows = table('| MQTT topic | RocketMQ topic | tag | key |')
  t.true(rows.length >= 7)
  for (const [name, topic, tag, key] of rows) {
    const route = addresses.route(name!)
    t.deepEqual([route.topic, route.tag ?? '', route.key ?? ''], [topic!, tag!, key!], name)
  }
  addresses.close()
})

test('native messages get the MQTT topics that the page shows', (t) => {
  const rows = table('| RocketMQ topic | tag | MQTT topic |')
  t.true(rows.length >= 3)
  for (const [topic, tag, name] of rows) {
    const draft = {
      ...{ topic: topic!, queueId: 0, flag: 0, sysFlag: 0, bornTimestamp: 1, preparedPosition: 0 },
      ...{ bornHost: { ip: 0, port: 0 }, reconsumeTimes: 0, body: Buffer.from('x') },
      properties: encodeProperties(tag === '' ? [] : [['TAGS', tag!]]),
    }
    const record = Buffer.alloc(recordBytes(draft))
    const place = { queueOffset: 0, position: 0, storeTimestamp: 1, storeHost: { ip: 0, port: 0 } }
    writeRecord(record, 0, draft, place)
    t.is(new OutgoingMessage(record, 0, 'broker-a').topicName, name!)
  }
})

test('shared subscriptions read what the page shows', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  const addresses = new Addresses(broker)
  await addresses.open()
  const rows = table('| subscribe to | reads | as group | with tag |')
  t.true(rows.length >= 5)
  for (const [text, reads, group, tag] of rows) {
    const { filter, share } = parseFilter(text!)!
    const native = addresses.nativeShare(filter)
    const seen = native === undefined ? `filter ${filter}` : `topic ${native.topic}`
    const tags = native?.filter.tags === undefined ? 'all' : native.filter.expression
    t.deepEqual([seen, groupOfShare(share!), tags], [reads!, group!, tag!], text)
  }
  t.is(groupOfShare('a b'), 'a%20b')
  addresses.close()
})
