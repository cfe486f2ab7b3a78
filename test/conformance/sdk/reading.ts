// Reading by position and administration through the SDK.
import test from 'ava'
import type { GroupDescription } from '../../../src/client/index.ts'
import { eventually, latch } from '../../support/waiting.ts'
import { type MakeClient, type MakeTopic, nameOf, numbers, sendMany, WAIT_MS } from './support.ts'

export function reading(client: MakeClient, topic: MakeTopic): void {
  test('reading by position: from the first, from a time, by tag, to the end', async (t) => {
    const mq = await client(t)
    const name = await topic(mq, 1)
    for (let i = 0; i < 40; i++) {
      await mq.send({ topic: name, body: String(i), tag: i % 2 === 0 ? 'even' : 'odd' })
    }
    // Apache answers a send before its queue shows it.
    const range = await eventually(async () => {
      const [queue] = await mq.queues(name)
      return queue!.maxOffset < 40 ? undefined : queue!
    })
    t.deepEqual([range.minOffset, range.maxOffset], [0, 40])
    const odd: string[] = []
    for (let offset = 0; offset < 40; ) {
      const { messages, nextOffset } = await mq.pull({
        topic: name,
        queueId: 0,
        offset,
        tags: 'odd',
      })
      odd.push(...messages.map((message) => message.text()))
      offset = nextOffset
    }
    t.deepEqual(
      odd,
      numbers(0, 40).filter((n) => Number(n) % 2 === 1),
    )
    const [last] = (await mq.pull({ topic: name, queueId: 0, offset: 39 })).messages
    const timestampMs = last!.storeTimestamp
    t.true((await mq.offsetByTime({ topic: name, queueId: 0, timestampMs })) <= 39)
    const beyond = await mq.pull({ topic: name, queueId: 0, offset: 40, waitMs: 100 })
    t.deepEqual([beyond.messages.length, beyond.nextOffset, beyond.maxOffset], [0, 40, 40])
    const early = mq.read({ topic: name, from: { timestampMs: 0 } })
    t.is((await early.next()).value!.text(), '0')
  })

  test('a pull waits for a message that is not there yet', async (t) => {
    const mq = await client(t)
    const name = await topic(mq, 1)
    const waiting = mq.pull({ topic: name, queueId: 0, offset: 0, waitMs: WAIT_MS })
    await mq.send({ topic: name, body: 'now' })
    const { messages } = await waiting
    t.deepEqual(
      messages.map((message) => message.text()),
      ['now'],
    )
  })
}

export function administration(client: MakeClient, topic: MakeTopic): void {
  test('topics are created, listed, described and deleted', async (t) => {
    const mq = await client(t)
    const name = await topic(mq, 3)
    await t.throwsAsync(mq.admin.topics.create({ name }), { code: 'TOPIC_EXISTS' })
    await sendMany(mq, name, 0, 6)
    t.true((await mq.admin.topics.list()).some((one) => one.name === name && one.readQueues === 3))
    // Apache counts a message some time after it accepted it.
    const described = await eventually(async () => {
      const found = await mq.admin.topics.describe(name)
      return found.messages >= 6 ? found : undefined
    })
    t.is(described.queues.length, 3)
    t.is(described.messages, 6)
    await mq.admin.topics.delete(name)
    t.false((await mq.admin.topics.list()).some((one) => one.name === name))
    await t.throwsAsync(mq.admin.topics.describe(name), { code: 'TOPIC_NOT_FOUND' })
    await t.throwsAsync(mq.admin.topics.delete(name), { code: 'TOPIC_NOT_FOUND' })
  })

  test('a group tells its members and how far each queue is behind', async (t) => {
    const mq = await client(t)
    const name = await topic(mq, 2)
    const group = nameOf('g')
    const two = latch(2)
    const consumer = await mq.consume({ group, topic: name, tags: 'a', from: 'first' }, () =>
      two.count(),
    )
    await mq.send({ topic: name, body: '1', tag: 'a' })
    await mq.send({ topic: name, body: '2', tag: 'a' })
    await two.reached
    const online = await mq.admin.groups.describe(group)
    t.is(online.members.length, 1)
    t.false(online.broadcasting)
    t.is(online.subscriptions.get(name), 'a')
    await consumer.close()
    await mq.send({ topic: name, body: '3', tag: 'a' })
    const lagOf = (description: GroupDescription): number =>
      description.queues
        .filter((queue) => queue.topic === name)
        .reduce((sum, queue) => sum + queue.lag, 0)
    const offline = await eventually(async () => {
      const found = await mq.admin.groups.describe(group)
      return lagOf(found) > 0 ? found : undefined
    })
    t.deepEqual(offline.members, [])
    t.is(lagOf(offline), 1)
    t.true((await mq.admin.groups.list()).some((one) => one.name === group))
    await t.throwsAsync(mq.admin.groups.describe(nameOf('nobody')), { code: 'GROUP_NOT_FOUND' })
  })

  test('a message is found by its key and by either id', async (t) => {
    const mq = await client(t)
    const name = await topic(mq)
    const sent = await mq.send({ topic: name, body: 'find me', keys: ['needle', 'other'] })
    await mq.send({ topic: name, body: 'not me', keys: ['hay'] })
    const byKey = await eventually(async () => {
      const found = await mq.admin.messages.byKey(name, 'needle')
      return found.length > 0 ? found : undefined
    })
    t.deepEqual(
      byKey.map((message) => message.text()),
      ['find me'],
    )
    t.is((await mq.admin.messages.byId(sent.offsetMessageId)).text(), 'find me')
    t.is((await mq.admin.messages.byId(sent.messageId, { topic: name })).text(), 'find me')
    t.deepEqual(await mq.admin.messages.byKey(name, 'nothing'), [])
    // Far beyond the end: within the log, Apache answers with whatever bytes are there.
    const unknown = `${sent.offsetMessageId.slice(0, 16)}00000FFFFFFFFFFF`
    await t.throwsAsync(mq.admin.messages.byId(unknown), { code: 'MESSAGE_NOT_FOUND' })
  })
}
