import type { ReceivedMessage } from '../../../src/model/message.ts'
import { recordsOf } from '../../../src/model/record.ts'
import { parseSelector, parseSqlFilter } from '../../../src/model/sql92/sql-filter.ts'
import { tagFilterOf } from '../../../src/model/tag-filter.ts'
import {
  bodiesOf,
  codeOf,
  newMessage,
  pullRequest,
  receiptsOf,
  receiveRequest,
} from '../../support/broker.ts'
import type { Case } from '../broker.ts'
import { nameOf } from './names.ts'
import { firstQueue, newGroup, newTopic, read, send, stored, WAIT_MS, watched } from './support.ts'

export function receiving(test: Case): void {
  test('a message is received once and, when acknowledged, never again', async (t, { port }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    await send(port, topic, 'a', 'b')
    const received: ReceivedMessage[] = []
    while (received.length < 2) {
      received.push(...(await port.receive(receiveRequest(topic, group, { waitMs: WAIT_MS }))))
    }
    t.deepEqual(bodiesOf(received), ['a', 'b'])
    t.deepEqual(
      received.map(({ attempt }) => attempt),
      [1, 1],
    )
    t.deepEqual(await port.ack(receiptsOf(received)), [null, null])
    t.deepEqual(await port.receive(receiveRequest(topic, group)), [])
  })

  test('consumers of one group compete, groups do not', async (t, { port }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    await send(port, topic, 'a', 'b')
    await read(port, topic, 2)
    const receive = async (of: string) => {
      const request = receiveRequest(topic, of, { maxMessages: 1, waitMs: WAIT_MS })
      return bodiesOf(await port.receive(request))
    }
    t.deepEqual([await receive(group), await receive(group)], [['a'], ['b']])
    t.deepEqual(await receive(await newGroup(port)), ['a'])
  })

  test('what a group was given is counted by topic, whether it was pulled or received', async (t, {
    port,
  }) => {
    const [topic, other, group] = [await newTopic(port), await newTopic(port), await newGroup(port)]
    await send(port, topic, 'a', 'b')
    await send(port, other, 'c')
    const queue = await firstQueue(port, topic)
    await port.pull(pullRequest(topic, { ...queue, group }))
    await port.receive(receiveRequest(other, group, { waitMs: WAIT_MS }))
    const messages = async (name: string, of?: string): Promise<number> =>
      (await port.groups.given(name, of)).minute.messages
    t.is(await messages(group, topic), 2)
    t.is(await messages(group, other), 1)
    t.is(await messages(group), 3)
    t.is(await messages(nameOf('missing')), 0)
  })

  test('a new group starts at the first message or at the end, as its first consumer says', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    const [late, early] = [await newGroup(port), await newGroup(port)]
    await send(port, topic, 'old')
    await read(port, topic, 1)
    t.deepEqual(await port.receive(receiveRequest(topic, late, { startAt: 'last' })), [])
    await send(port, topic, 'new')
    await read(port, topic, 2)
    const receive = async (group: string) =>
      bodiesOf(await port.receive(receiveRequest(topic, group, { waitMs: WAIT_MS })))
    t.deepEqual(await receive(late), ['new'])
    t.deepEqual(await receive(early), ['old', 'new'])
  })

  test('a condition and a JMS selector choose for receivers and for readers', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    const queue = await firstQueue(port, topic)
    for (const [body, tag, n] of [
      ['a', 'x', 1],
      ['b', 'y', 2],
      ['c', 'y', 3],
    ] as const) {
      await port.publish([newMessage(topic, { ...queue, body, tag, properties: { n: `${n}` } })])
    }
    await read(port, topic, 3)
    for (const [filter, chosen] of [
      [parseSqlFilter('n > 1 AND n < 3'), ['b']],
      [parseSelector("JMSType = 'y'"), ['b', 'c']],
    ] as const) {
      const pulled = await port.pull(pullRequest(topic, { ...queue, filter, maxMessages: 32 }))
      t.deepEqual(
        [...recordsOf(pulled.records)].map(({ body }) => body.toString()),
        chosen,
      )
      const group = await newGroup(port)
      const received: ReceivedMessage[] = []
      while (received.length < chosen.length) {
        const asked = receiveRequest(topic, group, { filter, waitMs: WAIT_MS, maxMessages: 32 })
        received.push(...(await port.receive(asked)))
      }
      t.deepEqual(bodiesOf(received), chosen)
    }
  })

  test('a group that is deleted and made again starts where its new consumer says', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    const receive = async (shape: object = {}) => {
      const request = receiveRequest(topic, group, { startAt: 'last', ...shape })
      const messages = await port.receive(request)
      await port.ack(receiptsOf(messages))
      return bodiesOf(messages)
    }
    t.deepEqual(await receive(), [])
    await send(port, topic, 'a')
    t.deepEqual(await receive({ waitMs: WAIT_MS }), ['a'])
    await port.groups.delete(group)
    await send(port, topic, 'missed')
    await read(port, topic, 2)
    await port.groups.ensure(group)
    t.deepEqual(await receive(), [])
    await send(port, topic, 'b')
    t.deepEqual(await receive({ waitMs: WAIT_MS }), ['b'])
  })

  test('a receive waits for a message, comes back empty at its time, and ends with its signal', async (t, {
    port,
    pass,
  }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    const receive = (shape: object) => port.receive(receiveRequest(topic, group, shape))
    const first = receive({ waitMs: WAIT_MS })
    const state = watched(first)
    await pass(100)
    t.false(state.isSettled)
    await send(port, topic, 'a')
    t.deepEqual(bodiesOf(await first), ['a'])
    const second = receive({ waitMs: 2_000 })
    await pass(2_100)
    t.deepEqual(await second, [])
    const stop = new AbortController()
    const third = codeOf(receive({ waitMs: WAIT_MS, signal: stop.signal }))
    await pass(100)
    stop.abort()
    t.is(await third, 'ABORTED')
    await send(port, topic, 'b')
    t.deepEqual(bodiesOf(await receive({ waitMs: WAIT_MS })), ['b'])
  })

  test('a receive goes over all queues of the topic, or asks for those of one id', async (t, {
    port,
  }) => {
    const topic = await newTopic(port, 4)
    const { brokerName } = await firstQueue(port, topic)
    for (const queueId of [0, 1, 2, 3]) {
      const message = newMessage(topic, { brokerName, queueId, body: `${queueId}` })
      stored((await port.publish([message]))[0])
      await read(port, topic, 1, { queueId })
    }
    const receive = async (group: string, shape: object) =>
      bodiesOf(await port.receive(receiveRequest(topic, group, { waitMs: WAIT_MS, ...shape })))
    const all: string[] = []
    const group = await newGroup(port)
    while (all.length < 4) all.push(...(await receive(group, {})))
    t.deepEqual(all.sort(), ['0', '1', '2', '3'])
    t.deepEqual(await receive(await newGroup(port), { queueId: 2 }), ['2'])
  })

  test('a receive asks for what can be', async (t, { port }) => {
    const topic = await newTopic(port, 2)
    const group = await newGroup(port)
    const ask = (shape: object, of = topic) =>
      codeOf(port.receive(receiveRequest(of, group, shape)))
    t.is(await ask({ queueId: 2 }), 'QUEUE_NOT_FOUND')
    t.is(await ask({ maxMessages: 0 }), 'ARGUMENT_INVALID')
    t.is(await ask({ invisibleMs: 0 }), 'ARGUMENT_INVALID')
    const definition = await port.groups.ensure(group)
    await port.groups.put({ ...definition, consumeEnabled: false })
    t.is(await ask({}), 'PERMISSION_DENIED')
  })

  test('only messages whose tag is wanted are received; the others are done for the group', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    const tags = ['eu', 'us', 'eu', 'Aa', 'BB']
    await port.publish(tags.map((tag) => newMessage(topic, { queueId: 0, tag, body: tag })))
    await read(port, topic, tags.length)
    const filter = tagFilterOf(['eu', 'Aa'])
    const received = await port.receive(receiveRequest(topic, group, { filter, waitMs: WAIT_MS }))
    t.deepEqual(bodiesOf(received), ['eu', 'eu', 'Aa'])
    await port.ack(receiptsOf(received))
    t.is((await port.groups.lags(group)).find((lag) => lag.topic === topic)?.lag, 0)
  })

  test('what has expired is neither received nor pulled', async (t, { port, pass }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    const messages = (['3000', '60000'] as const).map((body) =>
      newMessage(topic, { queueId: 0, body, properties: { TRIVET_TTL_MS: body } }),
    )
    for (const result of await port.publish(messages)) stored(result)
    await pass(3_500)
    const received = await port.receive(receiveRequest(topic, group, { waitMs: WAIT_MS }))
    t.deepEqual(bodiesOf(received), ['60000'])
    t.deepEqual(await read(port, topic, 1), ['60000'])
  })

  test('in order, a queue gives one message at a time', async (t, { port }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    await send(port, topic, 'a', 'b', 'c')
    await read(port, topic, 3)
    const receive = (waitMs: number) =>
      port.receive(receiveRequest(topic, group, { ordered: true, maxMessages: 1, waitMs }))
    for (const body of ['a', 'b', 'c']) {
      const received = await receive(WAIT_MS)
      t.deepEqual(bodiesOf(received), [body])
      t.deepEqual(await receive(0), [])
      await port.ack(receiptsOf(received))
    }
  })

  test('a receive takes no more bytes than asked, but one message at least', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    await send(port, topic, 'x'.repeat(3000), 'y'.repeat(3000), 'z'.repeat(3000))
    await read(port, topic, 3)
    const receive = async (maxBytes: number) => {
      const request = receiveRequest(topic, group, { maxBytes, waitMs: WAIT_MS })
      return bodiesOf(await port.receive(request)).map((body) => body[0])
    }
    t.deepEqual(await receive(1), ['x'])
    t.deepEqual(await receive(10_000), ['y', 'z'])
  })
}
