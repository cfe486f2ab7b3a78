import { logPosition } from '../../../src/model/positions.ts'
import { PROPERTY } from '../../../src/model/properties.ts'
import { RecordView, recordsOf } from '../../../src/model/record.ts'
import { codeOf, codesOf, newMessage, pullRequest } from '../../support/broker.ts'
import type { Case } from '../broker.ts'
import { nameOf } from './names.ts'
import { firstQueue, newTopic, read, send, stored, WAIT_MS, watched } from './support.ts'

export function publishing(test: Case): void {
  test('a batch for one queue gets consecutive offsets', async (t, { port }) => {
    const topic = await newTopic(port, 2)
    const { brokerName } = await firstQueue(port, topic)
    const results = await port.publish(
      ['a', 'b', 'c'].map((body) => newMessage(topic, { brokerName, queueId: 1, body })),
    )
    const receipts = results.map(stored)
    t.deepEqual(
      receipts.map(({ queueOffset }) => Number(queueOffset)),
      [0, 1, 2],
    )
    t.true(receipts.every((one) => one.brokerName === brokerName && one.queueId === 1))
    t.deepEqual(await read(port, topic, 3, { queueId: 1 }), ['a', 'b', 'c'])
  })

  test('one bad message of a batch does not spoil the others', async (t, { port }) => {
    const topic = await newTopic(port)
    const results = await port.publish([
      newMessage(topic, { queueId: 0, body: 'good' }),
      newMessage(topic, { queueId: 7 }),
      newMessage('SCHEDULE_TOPIC_XXXX'),
      newMessage('not a name'),
      newMessage(nameOf('missing'), { createTopic: false }),
      newMessage(topic, { properties: { big: 'x'.repeat(32_767) } }),
      newMessage(topic, { queueId: 0, body: 'good too' }),
    ])
    t.deepEqual(codesOf(results), [
      null,
      'QUEUE_NOT_FOUND',
      'PERMISSION_DENIED',
      'NAME_INVALID',
      'TOPIC_NOT_FOUND',
      'MESSAGE_TOO_LARGE',
      null,
    ])
    t.deepEqual(await read(port, topic, 2), ['good', 'good too'])
  })

  test('messages of one ordering key share a queue and keep the order of the calls', async (t, {
    port,
  }) => {
    const topic = await newTopic(port, 8)
    const keys = ['alice', 'bob', 'carol']
    const calls = Array.from({ length: 60 }, (_, i) =>
      port.publish([newMessage(topic, { orderingKey: keys[i % 3]!, body: `${i}` })]),
    )
    const receipts = (await Promise.all(calls)).map(([result]) => stored(result))
    for (let key = 0; key < 3; key++) {
      const own = receipts.filter((_, i) => i % 3 === key)
      t.is(new Set(own.map(({ brokerName, queueId }) => `${brokerName}/${queueId}`)).size, 1)
      const offsets = own.map(({ queueOffset }) => Number(queueOffset))
      t.deepEqual(
        offsets,
        [...offsets].sort((a, b) => a - b),
      )
    }
  })

  test('a message without a queue goes to any, and all are used', async (t, { port }) => {
    const topic = await newTopic(port, 4)
    const queues = new Set<number>()
    for (let call = 0; call < 8; call++) {
      const results = await port.publish([newMessage(topic), newMessage(topic)])
      for (const result of results) queues.add(stored(result).queueId)
    }
    t.is(queues.size, 4)
  })

  test('the priority of a message is the number of its queue, the last one at most', async (t, {
    port,
  }) => {
    const topic = await newTopic(port, 4)
    const messages = ['2', '9', '0'].map((priority) =>
      newMessage(topic, { queueId: 1, properties: { [PROPERTY.priority]: priority } }),
    )
    const receipts = (await port.publish(messages)).map(stored)
    t.deepEqual(
      receipts.map(({ queueId }) => queueId),
      [2, 3, 0],
    )
  })

  test('bodies and properties belong to the caller again when the call returns', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    const message = newMessage(topic, { queueId: 0, body: 'mine', tag: 'eu' })
    const publishing = port.publish([message])
    message.body.fill(0)
    message.properties.fill(0)
    await publishing
    const { records } = await port.pull(pullRequest(topic, { ...(await at(port, topic)) }))
    const [record] = [...recordsOf(records)]
    t.is(record?.body.toString(), 'mine')
    t.is(record?.property(PROPERTY.tags), 'eu')
  })

  test('a batch together is in one queue, back to back, or nowhere', async (t, { port }) => {
    const topic = await newTopic(port, 4)
    const bodies = Array.from({ length: 50 }, (_, i) => `${i}`)
    const receipts = await port.publishTogether(bodies.map((body) => newMessage(topic, { body })))
    const [{ brokerName, queueId, queueOffset }] = receipts as [(typeof receipts)[0]]
    t.true(receipts.every((one, i) => one.queueOffset === queueOffset + i))
    t.deepEqual(await read(port, topic, 50, { brokerName, queueId }), bodies)
    const spoilt = [newMessage(topic), newMessage(topic, { properties: { p: 'x'.repeat(40_000) } })]
    t.is(await codeOf(port.publishTogether(spoilt)), 'MESSAGE_TOO_LARGE')
    const ends = (await port.topics.ranges(topic)).map(({ maxOffset }) => Number(maxOffset))
    t.is(
      ends.reduce((sum, end) => sum + end, 0),
      50,
    )
  })

  test('a delayed message comes when its time is over, and not before', async (t, {
    port,
    pass,
  }) => {
    const topic = await newTopic(port)
    const properties = { TIMER_DELAY_MS: '3000', colour: 'red' }
    await port.publish([newMessage(topic, { queueId: 0, body: 'later', properties })])
    const reading = read(port, topic, 1)
    const state = watched(reading)
    await pass(2_900)
    t.false(state.isSettled)
    await pass(1_100)
    t.deepEqual(await reading, ['later'])
  })

  test('a delayed message that is taken back never comes, and one that came is not taken back', async (t, {
    port,
    pass,
  }) => {
    const topic = await newTopic(port)
    const properties = { TIMER_DELAY_MS: '3000' }
    const results = await port.publish(
      ['first', 'second'].map((body) => newMessage(topic, { queueId: 0, body, properties })),
    )
    const [first = '', second = ''] = results.map((result) => stored(result).recallHandle)
    const id = await port.recall(topic, first)
    t.is(await port.recall(topic, first), id)
    const reading = read(port, topic, 1)
    await pass(4_000)
    t.deepEqual(await reading, ['second'])
    t.is(await codeOf(port.recall(topic, second)), 'MESSAGE_NOT_FOUND')
    t.is(await codeOf(port.recall(topic, 'no handle')), 'ARGUMENT_INVALID')
    t.is(await codeOf(port.recall(nameOf('missing'), first)), 'TOPIC_NOT_FOUND')
  })

  test('a message is found by its keys, newest first', async (t, { port, pass }) => {
    const topic = await newTopic(port)
    for (const body of ['1', '2', '3']) {
      const properties = { KEYS: `k${body} all`, UNIQ_KEY: `${topic}-${body}` }
      await port.publish([newMessage(topic, { body, properties })])
      // Two brokers may store messages in one millisecond.
      await pass(10)
    }
    const find = async (key: string, max = 10) =>
      (await port.lookup.byKey(topic, key, { max })).map((record) =>
        new RecordView(record).body.toString(),
      )
    t.deepEqual(await find('all'), ['3', '2', '1'])
    t.deepEqual(await find('all', 2), ['3', '2'])
    t.deepEqual(await find(`${topic}-2`), ['2'])
    t.deepEqual(await find('nothing'), [])
  })

  test("a message is found by its place in its broker's log, and by that alone", async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    const [result] = await port.publish([newMessage(topic, { body: 'here' })])
    const { brokerName, position, storeHost } = stored(result)
    t.is(await port.lookup.brokerAt(storeHost), brokerName)
    const record = await port.lookup.byPosition(brokerName, position)
    t.is(record && new RecordView(record).body.toString(), 'here')
    t.is(await port.lookup.byPosition('another', position), undefined)
    for (const none of [Number(position) + 1, -1]) {
      t.is(await port.lookup.byPosition(brokerName, logPosition(none)), undefined)
    }
  })

  test('watchers of a topic are told of the queue that got something', async (t, { port }) => {
    const topic = await newTopic(port, 2)
    const { brokerName } = await firstQueue(port, topic)
    const news = new Map<string, number>()
    let told = (): void => {}
    const watch = port.watch(topic, (broker, queueId, maxOffset) => {
      news.set(`${broker}/${queueId}`, maxOffset)
      told()
    })
    const arrival = new Promise<void>((resolve) => {
      told = () => {
        if (news.get(`${brokerName}/1`) === 1) resolve()
      }
    })
    await port.publish([newMessage(topic, { brokerName, queueId: 1 })])
    await arrival
    watch[Symbol.dispose]()
    news.clear()
    await send(port, topic, 'after the end')
    t.deepEqual(await read(port, topic, 1), ['after the end'])
    t.is(news.size, 0)
  })
}

const at = async (port: Parameters<typeof firstQueue>[0], topic: string) => {
  const { brokerName } = await firstQueue(port, topic)
  return { brokerName, waitMs: WAIT_MS }
}
