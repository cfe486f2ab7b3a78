import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { RECORD_BYTES, ReadBudget } from '../../../src/gateway/remoting/read-budget.ts'
import { encodeCommand, requestHeader } from '../../../src/remoting/command.ts'
import { CODEC_BINARY } from '../../../src/remoting/frame.ts'
import { PULL_FLAG } from '../../../src/remoting/requests/pull.ts'
import { queueOf } from '../../support/broker.ts'
import type { FakeClock } from '../../support/fake-clock.ts'
import {
  fields,
  heartbeat,
  pull,
  send,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'
import { decodeMessages } from '../../support/native/wire-message.ts'
import { overridden } from '../../support/overridden.ts'
import { eventually, latch } from '../../support/waiting.ts'

const offsetsOf = (answer: { readonly fields: ReadonlyMap<string, string> }): string[] =>
  ['nextBeginOffset', 'minOffset', 'maxOffset', 'suggestWhichBrokerId'].map(
    (name) => answer.fields.get(name) ?? 'missing',
  )

for (const codec of [0, CODEC_BINARY] as const) {
  test(`all four offsets are in every outcome (codec ${codec})`, async (t) => {
    const { connect } = await startFrontEnd(t)
    const connection = await connect({ codec })
    await send(connection, { topic: 'T', properties: { TAGS: 'A' } })
    const found = await pull(connection, { topic: 'T' })
    t.deepEqual([found.code, found.remark, ...offsetsOf(found)], [0, 'FOUND', '1', '0', '1', '0'])
    const atEnd = await pull(connection, { topic: 'T', offset: 1 })
    t.deepEqual([atEnd.code, ...offsetsOf(atEnd)], [19, '1', '0', '1', '0'])
    const beyond = await pull(connection, { topic: 'T', offset: 9 })
    t.deepEqual([beyond.code, ...offsetsOf(beyond)], [21, '1', '0', '1', '0'])
    const noMatch = await pull(connection, { topic: 'T', subscription: 'B' })
    t.deepEqual([noMatch.code, ...offsetsOf(noMatch)], [20, '1', '0', '1', '0'])
    t.is(noMatch.body.length, 0)
  })
}

test('a pull of a topic that does not exist creates it', async (t) => {
  const { connect } = await startFrontEnd(t)
  t.is((await pull(await connect(), { topic: 'New' })).code, 19)
})

test('a tool, or a gateway that reads, does not bring a deleted topic back', async (t) => {
  const { broker, connect } = await startFrontEnd(t)
  const connection = await connect()
  await send(connection, { topic: 'T' })
  await broker.topics.delete('T')
  t.is((await pull(connection, { topic: 'T', group: 'TOOLS_CONSUMER', sysFlag: 6 })).code, 17)
  t.is(await broker.topics.get('T'), undefined)
})

test('a pull where topics are not created is told so', async (t) => {
  const { connect } = await startFrontEnd(t, { broker: { autoCreateTopics: false } })
  const answer = await pull(await connect(), { topic: 'New' })
  t.is(answer.code, 17)
  t.regex(answer.remark!, /New/)
})

test('a held pull is answered when a message comes', async (t) => {
  const { connect } = await startFrontEnd(t)
  const [reader, writer] = [await connect(), await connect()]
  const held = pull(reader, { topic: 'T', sysFlag: 6 })
  await send(writer, { topic: 'T', body: Buffer.from('news') })
  const answer = await held
  t.is(answer.code, 0)
  t.is(decodeMessages(answer.body)[0]!.body.toString(), 'news')
})

/** Every held pull has a timer of its own. */
const held = async (clock: FakeClock, idle: number, count: number): Promise<void> => {
  await eventually(async () => (clock.pending - idle === count ? true : undefined))
}

test('a held pull is answered with "nothing" at its time', async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  const connection = await connect()
  await send(connection, { topic: 'T' })
  const idle = clock.pending
  let answered = false
  const pulled = pull(connection, { topic: 'T', offset: 1, sysFlag: 6, suspendMs: 5000 })
  void pulled.then(() => {
    answered = true
  })
  await held(clock, idle, 1)
  await clock.advanceAsync(4999)
  t.is((await pull(connection, { topic: 'T' })).code, 0)
  t.false(answered)
  await clock.advanceAsync(1)
  t.is((await pulled).code, 19)
})

test('held pulls end with their connection', async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  const connection = await connect()
  await pull(connection, { topic: 'T' })
  const idle = clock.pending
  for (let queueId = 0; queueId < 4; queueId++) {
    pull(connection, { topic: 'T', queueId, sysFlag: 6 }).catch(() => {})
  }
  await held(clock, idle, 4)
  connection.close()
  await held(clock, idle, 0)
  t.pass()
})

test('a pull without its subscription uses the one of the heartbeat', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (const tag of ['A', 'B', 'A'])
    await send(connection, { topic: 'T', properties: { TAGS: tag } })
  const without = { topic: 'T', sysFlag: 0 }
  t.is((await pull(connection, without)).code, 24)
  await heartbeat(connection, 'c1', [{ group: 'G', topics: { T: 'B' }, version: 5 }])
  const answer = await pull(connection, { ...without, subVersion: 5 })
  t.deepEqual(
    decodeMessages(answer.body).map((message) => message.queueOffset as number),
    [1],
  )
})

test('a pull ahead of its heartbeat misses nothing and does not wait for it', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (const tag of ['A', 'B']) await send(connection, { topic: 'T', properties: { TAGS: tag } })
  await heartbeat(connection, 'c1', [{ group: 'G', topics: { T: 'B' }, version: 5 }])
  const answer = await pull(connection, { topic: 'T', sysFlag: 0, subVersion: 6 })
  t.deepEqual(
    decodeMessages(answer.body).map((message) => message.properties.get('TAGS')),
    ['A', 'B'],
  )
})

test('a commit rides along with a pull', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const connection = await connect()
  for (let i = 0; i < 3; i++) await send(connection, { topic: 'T' })
  await pull(connection, { topic: 'T', sysFlag: 5, commitOffset: 2 })
  t.is(await broker.cursors.committed('G', queueOf('T')), 2 as never)
  await pull(connection, { topic: 'T', sysFlag: 5, commitOffset: -1 })
  t.is(await broker.cursors.committed('G', queueOf('T')), 2 as never)
})

test('a commit right behind a pull that carries less is not undone by it', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const connection = await connect()
  for (let n = 0; n < 3; n++) await send(connection, { topic: 'T' })
  await broker.groups.ensure('G')
  const queue = { topic: 'T', queueId: 0, consumerGroup: 'G' }
  // Written in one turn, so that they come in one chunk.
  await Promise.all([
    pull(connection, { topic: 'T', sysFlag: 5, commitOffset: 1 }),
    connection.request(15, { fields: fields({ ...queue, commitOffset: 2 }) }),
  ])
  t.is((await connection.request(14, { fields: fields(queue) })).fields.get('offset'), '2')
})

test('an answer has no more messages and bytes than asked for, but one at least', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (let i = 0; i < 5; i++) await send(connection, { topic: 'T', body: Buffer.alloc(10_000) })
  t.is(decodeMessages((await pull(connection, { topic: 'T', max: 2 })).body).length, 2)
  t.is(decodeMessages((await pull(connection, { topic: 'T', maxMsgBytes: 100 })).body).length, 1)
  t.is(decodeMessages((await pull(connection, { topic: 'T', maxMsgBytes: 25_000 })).body).length, 2)
})

test('a peer that reads its answers gets all of them, however much it asks for at once', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (let i = 0; i < 10; i++) await send(connection, { topic: 'T', body: Buffer.alloc(100_000) })
  const pulls = Array.from({ length: 60 }, () =>
    pull(connection, { topic: 'T', maxMsgBytes: 4_000_000 }),
  )
  for (const answer of await Promise.all(pulls)) t.is(decodeMessages(answer.body).length, 10)
})

for (const [what, changed, code] of [
  ['a negative queue', { queueId: -1 }, 29],
  ['a queue that does not exist', { queueId: 99 }, 29],
  ['a condition that is none', { expressionType: 'SQL92', subscription: 'a >' }, 23],
  ['a kind of expression that is none', { expressionType: 'REGEX', subscription: 'a' }, 3],
  ['an empty tag list', { subscription: '||' }, 23],
  ['an illegal topic', { topic: 'a b' }, 29],
  ['an illegal group', { group: 'a b' }, 29],
] as const) {
  test(`a pull with ${what} is refused with a reason`, async (t) => {
    const { connect } = await startFrontEnd(t)
    const connection = await connect()
    await send(connection, { topic: 'T' })
    const answer = await pull(connection, { topic: 'T', ...changed })
    t.is(answer.code, code, answer.remark)
    t.true((answer.remark ?? '').length > 10)
  })
}

for (const max of [0, -1]) {
  test(`a pull of ${max} messages gets one, as from Apache's broker`, async (t) => {
    const { connect } = await startFrontEnd(t)
    const connection = await connect()
    for (let i = 0; i < 3; i++) await send(connection, { topic: 'T' })
    const answer = await pull(connection, { topic: 'T', max })
    t.is(answer.code, 0, answer.remark)
    t.is(decodeMessages(answer.body).length, 1)
  })
}

for (const sysFlag of [4, 6]) {
  test(`a pull from offset -1 is told where the queue begins (sysFlag ${sysFlag})`, async (t) => {
    const { connect } = await startFrontEnd(t)
    const connection = await connect()
    await send(connection, { topic: 'T' })
    const answer = await pull(connection, { topic: 'T', offset: -1, sysFlag })
    t.deepEqual([answer.code, ...offsetsOf(answer)], [21, '0', '0', '1', '0'])
  })
}

test('a pull gets 32 messages at most, and more when its client says that it takes more', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  await Promise.all(Array.from({ length: 40 }, () => send(connection, { topic: 'T' })))
  const many = async (sysFlag: number): Promise<number> =>
    decodeMessages((await pull(connection, { topic: 'T', max: 100, sysFlag })).body).length
  t.is(await many(4), 32)
  t.is(await many(4 | PULL_FLAG.many), 40)
})

test('one connection may hold the pulls of many groups on one queue', async (t) => {
  const { connect } = await startFrontEnd(t)
  const [reader, writer] = [await connect(), await connect()]
  const pulls = Array.from({ length: 100 }, (_, i) =>
    pull(reader, { topic: 'T', group: `G${i}`, sysFlag: 6 }),
  )
  await send(writer, { topic: 'T' })
  for (const answer of await Promise.all(pulls)) t.is(answer.code, 0, answer.remark)
})

test('a pull beyond a quota is not told flow control, on which Java asks every 20 ms', async (t) => {
  const { connect } = await startFrontEnd(t, { broker: { groupsMax: 1 } })
  const connection = await connect()
  t.is((await pull(connection, { topic: 'T', group: 'first' })).code, 19)
  const refused = await pull(connection, { topic: 'T', group: 'second' })
  t.is(refused.code, 2)
  t.regex(refused.remark!, /groupsMax/)
})

test('a group that may not consume gets nothing', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const connection = await connect()
  const group = await broker.groups.ensure('G')
  await broker.groups.put({ ...group, consumeEnabled: false })
  t.is((await pull(connection, { topic: 'T' })).code, 16)
})

test('a pull by a condition brings what matches, read past what does not', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (let i = 0; i < 100; i++) await send(connection, { topic: 'T', properties: { n: `${i}` } })
  const select = { topic: 'T', expressionType: 'SQL92', max: 4 }
  const first = await pull(connection, { ...select, subscription: 'n >= 90' })
  const got = decodeMessages(first.body).map(({ properties }) => properties.get('n'))
  t.deepEqual(got, ['90', '91', '92', '93'])
  t.is(first.fields.get('nextBeginOffset'), '94')
  const offset = 94
  const last = await pull(connection, { ...select, max: 32, offset, subscription: 'n = 99' })
  t.is(decodeMessages(last.body)[0]!.properties.get('n'), '99')
  const none = await pull(connection, { ...select, subscription: 'n > 1000' })
  t.deepEqual([none.code, none.fields.get('nextBeginOffset')], [20, '100'])
})

test('a held pull by a condition waits for what matches', async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  const [reader, writer] = [await connect(), await connect()]
  const select = { expressionType: 'SQL92', subscription: "kind = 'large'" }
  await send(writer, { topic: 'T' })
  const idle = clock.pending
  const pulled = pull(reader, { topic: 'T', offset: 1, sysFlag: 6, ...select })
  await held(clock, idle, 1)
  for (const kind of ['small', 'small', 'large']) {
    await send(writer, { topic: 'T', properties: { kind }, body: Buffer.from(kind) })
  }
  t.deepEqual(
    decodeMessages((await pulled).body).map(({ body }) => body.toString()),
    ['large'],
  )
})

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('reads beyond the budget wait in line, and leave the event loop a turn in between', async (t) => {
  const budget = new ReadBudget(2 * RECORD_BYTES, () => 0)
  let ran = 0
  const reads = Array.from({ length: 6 }, () =>
    budget.within(RECORD_BYTES, async () => {
      ran++
    }),
  )
  for (let i = 0; i < 50; i++) await undefined
  t.is(ran, 2)
  await turn()
  t.is(ran, 4)
  await Promise.all(reads)
  t.is(ran, 6)
})

test('a read that waits in line when the peer goes is refused', async (t) => {
  const budget = new ReadBudget(RECORD_BYTES, () => 0)
  const first = budget.within(RECORD_BYTES, turn)
  const second = budget.within(RECORD_BYTES, turn)
  budget.close()
  await t.throwsAsync(second, { instanceOf: BrokerError, code: 'ABORTED' })
  await first
})

test('a read that fails gives its bytes back', async (t) => {
  const budget = new ReadBudget(RECORD_BYTES, () => 0)
  await t.throwsAsync(budget.within(RECORD_BYTES, () => Promise.reject(new Error('the disk'))))
  t.is(await budget.within(RECORD_BYTES, async () => 'read'), 'read')
})

test('a peer has few records read at once, however many questions it asks', async (t) => {
  let now = 0
  let most = 0
  const { connect } = await startFrontEnd(t, {
    bend: (broker) =>
      overridden(broker, {
        pull: async (request) => {
          most = Math.max(most, ++now)
          await turn()
          now--
          return broker.pull(request)
        },
      }),
  })
  const connection = await connect()
  await send(connection, { topic: 'T' })
  const asked = fields({ topic: 'T', queueId: 0 })
  const answers = await Promise.all(
    Array.from({ length: 200 }, () => connection.request(32, { fields: asked })),
  )
  t.true(answers.every((answer) => Number(answer.fields.get('timestamp')) > 0))
  t.true(most <= 16, `${most} records were read at once`)
})

test('a peer that is slow to take its pulls is answered a question about one record before them', async (t) => {
  const pulls = latch(3)
  const questions = latch(2)
  const { connect, raw } = await startFrontEnd(t, {
    bend: (broker) =>
      overridden(broker, {
        pull: async (request) => {
          const result = await broker.pull(request)
          const { count } = request.maxMessages === 1 ? questions : pulls
          count()
          return result
        },
        sendBack: async (wanted) => {
          await broker.sendBack(wanted)
          questions.count()
        },
      }),
  })
  const healthy = await connect()
  const bodies = Array.from({ length: 5 }, () => Buffer.alloc(200_000))
  for (const body of bodies) await send(healthy, { topic: 'T', body })
  const sent = await send(healthy, { topic: 'T', e: 1 })
  const peer = await raw()
  peer.pause()
  const request = (code: number, opaque: number, values: Parameters<typeof fields>[0]): Buffer =>
    encodeCommand(requestHeader({ code, opaque, fields: fields(values) }))
  for (let opaque = 0; opaque < 64; opaque++) {
    const read = { consumerGroup: 'G', topic: 'T', queueId: 0, queueOffset: 0, maxMsgNums: 32 }
    const how = { sysFlag: 4, commitOffset: 0, suspendTimeoutMillis: 0, subscription: '*' }
    peer.send(request(11, opaque, { ...read, ...how, subVersion: 0, maxMsgBytes: 1_000_000 }))
  }
  await pulls.reached
  const offset = Number.parseInt(sent.fields.get('msgId')!.slice(16), 16)
  peer.send(
    request(14, 64, { consumerGroup: 'New', topic: 'T', queueId: 0 }),
    request(36, 65, { group: 'G', offset, delayLevel: 3, originMsgId: '', originTopic: 'T' }),
  )
  await questions.reached
  t.pass()
})
