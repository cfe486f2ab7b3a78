// docs/reference/compatibility.md, row by row: Apache RocketMQ 5.5.0 with its default configuration
// and our server are asked the same, and each answers what its column says.
import { deflateSync } from 'node:zlib'
import test from 'ava'
import { recordsOf } from '../../src/model/record.ts'
import { encodeBatchBody } from '../../src/remoting/batch-body.ts'
import { CODEC_JSON } from '../../src/remoting/frame.ts'
import { heartbeat, send } from '../../test/support/native/native-front-end.ts'
import { spawnServer } from '../../test/support/server.ts'
import { textOf } from '../../test/support/sources/sources.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { Peer } from '../support/compatibility-peer.ts'

const missing = await apacheRocketmqMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: the compatibility page, because ${missing}\n`)
  test.skip(`the compatibility page: ${missing}`, (t) => t.pass())
}

/** What is seen, in words that stand in the column. */
type Probe = (peer: Peer) => Promise<string | readonly string[]>

const code = (answer: { readonly code: number }): string => `\`code ${answer.code}\``
const ITEM = { flag: 0, properties: Buffer.alloc(0) }
const LOCK_OF_NONE = {
  clientId: 'c',
  mqSet: [{ brokerName: 'broker-a', queueId: 0, topic: 'TBW102' }],
}
const offsetOf = (answer: { readonly fields: ReadonlyMap<string, string> }): string =>
  answer.fields.get('offset') ?? 'none'

const sendingTo =
  (...topics: readonly string[]): Probe =>
  async (peer) => {
    const answers: string[] = []
    for (const topic of topics) answers.push(code(await send(peer.broker, { topic })))
    return answers
  }

const puttingTopic =
  (changed: Readonly<Record<string, string | number>>): Probe =>
  async (peer) =>
    code(await peer.putTopic(peer.name('Compat'), changed))

const PROBES: Readonly<Record<string, Probe>> = {
  'a send to a topic that may not be written (`perm` 4)': async (peer) =>
    code(await send(peer.broker, { topic: await peer.topic({ perm: 4 }) })),
  'a send to `%RETRY%` or `%DLQ%` of a group that does not exist': sendingTo(
    '%RETRY%no_such_group',
    '%DLQ%no_such_group',
  ),
  'a send to `rmq_sys_` and a name': sendingTo('rmq_sys_compat'),
  'a send to `%LMQ%` and a name': sendingTo('%LMQ%compat'),
  'a message without a body': async (peer) =>
    code(await send(peer.broker, { topic: await peer.topic(), body: Buffer.alloc(0) })),
  'recall of a delayed message': async (peer) => {
    const topic = await peer.topic()
    const properties = { TIMER_DELAY_SEC: '60' }
    const { fields } = await send(peer.broker, { topic, properties })
    const recallHandle = fields.get('recallHandle') ?? ''
    const answer = await peer.ask(370, { producerGroup: 'PG', topic, recallHandle })
    return answer.code === 0 ? 'on' : [code(answer), recallHandle && 'answered with a handle']
  },
  'a handle for a message delayed by a level': async (peer) => {
    const topic = await peer.topic()
    const { fields } = await send(peer.broker, { topic, properties: { DELAY: '18' } })
    return fields.has('recallHandle') ? 'given' : 'none'
  },
  'a delay level that is no number': async (peer) =>
    code(await send(peer.broker, { topic: await peer.topic(), properties: { DELAY: '3x' } })),
  'a batch of more than 4 MiB': async (peer) => {
    const items = Array.from({ length: 5 }, () => ({ ...ITEM, body: Buffer.alloc(1024 * 1024) }))
    const shape = { code: 320, m: true, body: encodeBatchBody(items) }
    return code(await send(peer.broker, { topic: await peer.topic(), ...shape }))
  },
  'a batch of more than 32,768 messages': async (peer) => {
    const items = Array.from({ length: 32_769 }, () => ({ ...ITEM, body: Buffer.from('x') }))
    const shape = { code: 320, m: true, body: encodeBatchBody(items) }
    return code(await send(peer.broker, { topic: await peer.topic(), ...shape }))
  },
  'a batch of two marked by `1` (the clients for C++ and Python)': async (peer) => {
    const topic = await peer.topic()
    const items = [0, 1].map(() => ({ ...ITEM, body: Buffer.from('x') }))
    await peer.sent(topic, 1, { code: 320, m: '1', body: encodeBatchBody(items) })
    const count = await peer.end(topic)
    return count === 1 ? 'stored as one message' : 'stored as its messages'
  },
  'bits of `sysFlag` that make a message a part of a transaction, without `TRAN_MSG`': async (
    peer,
  ) => {
    const topic = await peer.topic()
    const half = await send(peer.broker, { topic, f: 4 })
    await send(peer.broker, { topic })
    await peer.until(async () => (await peer.end(topic)) > 0)
    const { body } = await peer.pull(topic, await peer.group())
    return [code(half), [...recordsOf(body)].length === 1 ? 'never delivered' : ', delivered']
  },
  'a body compressed by zlib, LZ4 or Zstandard': async (peer) => {
    const topic = await peer.topic()
    const text = Buffer.alloc(5000, 'a')
    await peer.sent(topic, 1, { f: 0x301, body: deflateSync(text) })
    const { body } = await peer.pull(topic, await peer.group())
    const [record] = recordsOf(body)
    return record?.bodyLength === text.length ? 'stored inflated' : 'stored as sent'
  },
  properties: async (peer) => {
    const topic = await peer.topic()
    await peer.sent(topic, 1, { i: 'b\u00011\u0002a\u00012\u0002empty\u0001\u0002' })
    const { body } = await peer.pull(topic, await peer.group())
    const [record] = recordsOf(body)
    const isKept = record!.propertyBytes.toString().startsWith('b\u00011\u0002a\u00012\u0002empty')
    return isKept ? 'kept as sent' : 'rewritten'
  },
  'a subscription to a tag': async (peer) => {
    const topic = await peer.topic()
    await peer.sent(topic, 1, { properties: { TAGS: 'BB' } })
    const { code: found } = await peer.pull(topic, await peer.group(), { subscription: 'Aa' })
    return found === 0 ? 'also selects tags with the same hash' : 'selects that tag'
  },
  'a pull of a topic that does not exist': async (peer) =>
    code(await peer.pull(peer.name('Missing'), await peer.group())),
  '`maxMsgBytes` of a pull': async (peer) => {
    const topic = await peer.topic()
    await peer.sent(topic, 2, { body: Buffer.alloc(100 * 1024) })
    const { body } = await peer.pull(topic, await peer.group(), { maxMsgBytes: 1000 })
    return [...recordsOf(body)].length === 2 ? 'ignored' : 'obeyed'
  },
  'a pull whose subscription is newer than the last heartbeat': async (peer) => {
    const [topic, group] = [await peer.topic(), await peer.group()]
    await peer.sent(topic, 1)
    await heartbeat(peer.broker, 'compat', [{ group, topics: { [topic]: '*' }, version: 1 }])
    const answer = await peer.pull(topic, group, { sysFlag: 0, subVersion: 2 })
    return answer.code === 0 ? 'served' : code(answer)
  },
  'conditions by SQL92': async (peer) => {
    const topic = await peer.topic()
    await peer.sent(topic, 1)
    const sql = { subscription: 'a = 1', expressionType: 'SQL92' }
    const answer = await peer.pull(topic, await peer.group(), sql)
    return answer.code === 1 ? code(answer) : 'on'
  },
  '`INNER_MULTI_DISPATCH` and `%LMQ%`': async (peer) => {
    const topic = await peer.topic()
    const queue = `%LMQ%${topic}`
    const i = `INNER_MULTI_DISPATCH\u0001${queue}\u0002`
    await peer.sent(topic, 1, { i })
    const { body } = await peer.pull(topic, await peer.group())
    const [record] = recordsOf(body)
    if (!record!.propertyBytes.includes(i)) return 'the property is gone'
    const answer = await peer.pull(queue, await peer.group())
    return answer.code === 0 ? 'on' : answer.code === 17 ? 'off' : code(answer)
  },
  'POP_LITE_MESSAGE, LITE_SUBSCRIPTION_CTL': async (peer) => {
    const topic = await peer.topic({ attributes: '+message.type=LITE' })
    const group = peer.name('G_lite')
    await peer.putGroup(group, { attributes: { '+lite.bind.topic': topic } })
    const liteTopicSet = ['L1']
    const subscription = { action: 'COMPLETE_ADD', clientId: 'c', group, topic, version: 1 }
    const subscriptionSet = [{ ...subscription, liteTopicSet }]
    const asked = { clientId: 'c', consumerGroup: group, topic, maxMsgNum: 1 }
    const times = { invisibleTime: 10_000, pollTime: 0, bornTime: Date.now() }
    return [
      code(await peer.ask(200_070, { ...asked, ...times })),
      code(await peer.ask(200_071, {}, { subscriptionSet })),
    ]
  },
  "a commit beyond the queue's end": async (peer) => {
    const [topic, group] = [await peer.topic(), await peer.group()]
    await peer.sent(topic, 1)
    const at = { consumerGroup: group, topic, queueId: 0 }
    await peer.ask(15, { ...at, commitOffset: 100 })
    const kept = offsetOf(await peer.ask(14, at))
    return kept === '100' ? 'kept as it is' : kept === '1' ? 'the end is committed' : kept
  },
  'a commit below 0': async (peer) => {
    const [topic, group] = [await peer.topic(), await peer.group()]
    await peer.sent(topic, 1)
    const at = { consumerGroup: group, topic, queueId: 0 }
    for (const commitOffset of [1, -1]) await peer.ask(15, { ...at, commitOffset })
    const kept = offsetOf(await peer.ask(14, at))
    return kept === '1' ? 'ignored' : `the next query says ${kept}`
  },
  'a commit of a queue that does not exist': async (peer) => {
    const at = { consumerGroup: await peer.group(), topic: await peer.topic(), queueId: 99 }
    return code(await peer.ask(15, { ...at, commitOffset: 0 }))
  },
  'the offset of a new group in an empty queue': async (peer) => {
    const at = { consumerGroup: await peer.group(), topic: await peer.topic(), queueId: 0 }
    return code(await peer.ask(14, at))
  },
  'a search by time in a topic that does not exist': async (peer) =>
    code(await peer.ask(29, { topic: peer.name('Missing'), queueId: 0, timestamp: 0 })),
  'the end of a queue of a topic that does not exist': async (peer) =>
    code(await peer.ask(30, { topic: peer.name('Missing'), queueId: 0 })),
  'a lock of a queue for a group that does not exist': async (peer) =>
    code(await peer.ask(41, {}, { ...LOCK_OF_NONE, consumerGroup: peer.name('Missing') })),
  'the configuration of a group that does not exist': async (peer) => {
    const answer = await peer.ask(352, { group: peer.name('Missing') })
    return answer.code === 0 ? 'is made by asking' : code(answer)
  },
  'an attribute `lite.*`, a `groupRetryPolicy` or a `subscriptionDataSet` of a group': async (
    peer,
  ) => {
    const attributes = { '+lite.bind.topic': 'Compat' }
    const answer = await peer.putGroup(peer.name('G_compat'), { attributes })
    return answer.code === 0 ? 'kept' : code(answer)
  },
  'a topic with `perm` 8': puttingTopic({ perm: 8 }),
  'a topic without read or write queues': puttingTopic({ readQueueNums: 0, writeQueueNums: 0 }),
  '`message.type=MIXED`': puttingTopic({ attributes: '+message.type=MIXED' }),
  '`queue.type=BatchCQ`, `cleanup.policy=COMPACTION`, a `reserve.time` or `lite.topic.expiration` but -1':
    puttingTopic({ attributes: '+cleanup.policy=COMPACTION' }),
  'a topic whose filter type is MULTI_TAG': puttingTopic({ topicFilterType: 'MULTI_TAG' }),
  'the end of a queue that the topic has no longer': async (peer) => {
    const topic = await peer.topic({ readQueueNums: 2, writeQueueNums: 2 })
    await peer.putTopic(topic)
    const answer = await peer.ask(30, { topic, queueId: 1 })
    return answer.code === 0 ? 'its offset' : code(answer)
  },
  'the answer to a request with a binary header': async (peer) => {
    const connection = await peer.binary()
    const { codec } = await connection.request(28)
    connection.close()
    return `has a ${codec === CODEC_JSON ? 'JSON' : 'binary'} header`
  },
  'a request that is no send, with a body of more than 256 KiB; a heartbeat with more than 1,000 groups':
    async (peer) => {
      const padding = 'x'.repeat(300 * 1024)
      const answer = await peer.ask(34, {}, { clientID: 'long', padding })
      return answer.code === 0 ? 'served' : code(answer)
    },
}

/** What is seen and does not stand in the column. */
async function unlike(cell: string, probe: Probe, peer: Peer): Promise<string | undefined> {
  const seen = [await probe(peer)].flat()
  return seen.find((words) => !cell.includes(words))
}

interface Row {
  readonly section: string
  readonly name: string
  readonly apache: string
  readonly ours: string
}

function rows(): readonly Row[] {
  const sections = textOf('docs/reference/compatibility.md').split(/^## /m).slice(1)
  return sections.flatMap((text) => {
    const section = text.split('\n', 1)[0]!
    return [...text.matchAll(/^\| (.+?) \| (.+?) \| (.+?) \|.*\|$/gm)]
      .filter(([, name]) => name !== 'case')
      .map(([, name = '', apache = '', ours = '']) => ({ section, name, apache, ours }))
  })
}

test('each probe is of a row', (t) => {
  const names = new Set(rows().map(({ name }) => name))
  t.deepEqual(
    Object.keys(PROBES).filter((name) => !names.has(name)),
    [],
  )
})

if (missing === undefined) {
  test.serial('Apache and we answer what the page says', async (t) => {
    const server = await spawnServer(t)
    await using apache = await startApacheRocketmq()
    using theirs = await Peer.connect(apache.broker, apache.nameServer)
    using ours = await Peer.connect(server.address('remoting'), server.address('nameServer'))
    for (const row of rows()) {
      const probe = PROBES[row.name]
      if (probe === undefined) continue
      for (const [peer, cell] of [
        [theirs, row.apache],
        [ours, row.ours],
      ] as const) {
        let seen = await unlike(cell, probe, peer)
        // A broker on a busy machine may answer that it is busy.
        if (seen !== undefined) seen = await unlike(cell, probe, peer)
        t.is(seen, undefined, `${row.name}: '${seen}' was seen; the page says '${cell}'`)
      }
    }
  })
}
