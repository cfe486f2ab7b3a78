import { queueOffset } from '../../../src/model/positions.ts'
import { tagFilterOf } from '../../../src/model/tag-filter.ts'
import { PERM_WRITE } from '../../../src/model/topic.ts'
import {
  bodiesOf,
  codeOf,
  codesOf,
  newMessage,
  pullRequest,
  receiveRequest,
  topicOf,
} from '../../support/broker.ts'
import type { Case } from '../broker.ts'
import { nameOf } from './names.ts'
import {
  firstQueue,
  newGroup,
  newTopic,
  read,
  send,
  stored,
  storeTimes,
  WAIT_MS,
  watched,
} from './support.ts'

export function reading(test: Case): void {
  test('where a pull stands decides its status', async (t, { port }) => {
    const topic = await newTopic(port)
    const { brokerName } = await firstQueue(port, topic)
    const at = async (offset: number) => {
      const pulled = await port.pull(pullRequest(topic, { brokerName, offset }))
      const { status, nextOffset, minOffset, maxOffset } = pulled
      return [status, ...[nextOffset, minOffset, maxOffset].map(Number)]
    }
    t.deepEqual(await at(0), ['at-end', 0, 0, 0])
    t.deepEqual(await at(5), ['moved', 0, 0, 0])
    await send(port, topic, 'a', 'b')
    await read(port, topic, 2)
    t.deepEqual(await at(0), ['found', 2, 0, 2])
    t.deepEqual(await at(2), ['at-end', 2, 0, 2])
    t.deepEqual(await at(3), ['moved', 2, 0, 2])
  })

  test('a pull that waits gets the next message of its queue that its tag selects', async (t, {
    port,
  }) => {
    const topic = await newTopic(port, 2)
    const { brokerName } = await firstQueue(port, topic)
    const filter = tagFilterOf(['eu'])
    let offset = 0
    const next = async (): Promise<string[]> => {
      for (;;) {
        const request = { brokerName, filter, offset, waitMs: WAIT_MS }
        const pulled = await port.pull(pullRequest(topic, request))
        offset = Number(pulled.nextOffset)
        if (pulled.count > 0) return bodiesOf(pulled)
      }
    }
    const waiting = next()
    for (const [queueId, tag] of [
      [1, 'eu'],
      [0, 'us'],
      [0, 'eu'],
    ] as const) {
      const body = `${queueId} ${tag}`
      await port.publish([newMessage(topic, { brokerName, queueId, tag, body })])
    }
    t.deepEqual(await waiting, ['0 eu'])
  })

  test('a pull that waits comes back at its time, or with its signal', async (t, {
    port,
    pass,
  }) => {
    const topic = await newTopic(port)
    const { brokerName } = await firstQueue(port, topic)
    const waiting = port.pull(pullRequest(topic, { brokerName, waitMs: 2_000 }))
    const stop = new AbortController()
    const stopped = port.pull(
      pullRequest(topic, { brokerName, waitMs: WAIT_MS, signal: stop.signal }),
    )
    await pass(2_100)
    t.is((await waiting).status, 'at-end')
    stop.abort()
    t.is(await codeOf(stopped), 'ABORTED')
  })

  test('a pull takes one message at least, however large, and no more bytes than asked', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    await send(port, topic, 'x'.repeat(5000), 'y'.repeat(5000))
    await read(port, topic, 2)
    const { brokerName } = await firstQueue(port, topic)
    const count = async (maxBytes: number) =>
      (await port.pull(pullRequest(topic, { brokerName, maxBytes }))).count
    t.deepEqual([await count(1), await count(6000), await count(20_000)], [1, 1, 2])
  })

  test('a pull needs a queue that exists and a topic that is readable', async (t, { port }) => {
    const topic = await newTopic(port, 2)
    const { brokerName } = await firstQueue(port, topic)
    const ask = (name: string, shape: object) =>
      codeOf(port.pull(pullRequest(name, { brokerName, ...shape })))
    for (const queueId of [-1, 2, 0.5]) t.is(await ask(topic, { queueId }), 'QUEUE_NOT_FOUND')
    t.is(await ask(topic, { brokerName: 'another' }), 'QUEUE_NOT_FOUND')
    const inbox = nameOf('inbox')
    await port.topics.put({ ...topicOf(inbox, 1), perm: PERM_WRITE })
    t.is(await ask(inbox, {}), 'PERMISSION_DENIED')
  })

  test('whatever answers a queue names its topic, its broker and its id', async (t, { port }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    await send(port, topic, 'a')
    const { brokerName } = await firstQueue(port, topic)
    const queue = { topic, brokerName, queueId: 0 }
    t.like(await port.cursors.range(queue), queue)
    const [received] = await port.receive(receiveRequest(topic, group, { waitMs: WAIT_MS }))
    t.is(received?.brokerName, brokerName)
    await port.cursors.commit(group, queue, queueOffset(1))
    t.like(
      (await port.groups.lags(group)).find((lag) => lag.topic === topic),
      queue,
    )
  })

  test('a queue of another broker is none', async (t, { port }) => {
    const { cursors } = port
    const topic = await newTopic(port)
    const group = await newGroup(port)
    const [result] = await port.publish([newMessage(topic)])
    const { position } = stored(result)
    const brokerName = 'another'
    const queue = { topic, brokerName, queueId: 0 }
    const offset = queueOffset(0)
    const calls = [
      port.receive(receiveRequest(topic, group, { brokerName })),
      cursors.committed(group, queue),
      cursors.commit(group, queue, offset),
      cursors.range(queue),
      cursors.byTime(queue, 0, 'lower'),
      cursors.reset(group, queue, offset),
      port.sendBack({ group, brokerName, position, delayLevel: 0 }),
    ]
    for (const call of calls) t.is(await codeOf(call), 'QUEUE_NOT_FOUND')
    const message = newMessage(topic, { queueId: 0, brokerName })
    t.deepEqual(codesOf(await port.publish([message])), ['QUEUE_NOT_FOUND'])
  })

  test('times lead to offsets', async (t, { port, pass }) => {
    const topic = await newTopic(port)
    for (const body of 'abc') {
      await send(port, topic, body)
      await pass(1_000)
    }
    const queue = await firstQueue(port, topic)
    const { records } = await port.pull(pullRequest(topic, queue))
    const times = storeTimes(records)
    const byTime = async (ms: number, boundary: 'lower' | 'upper') =>
      Number(await port.cursors.byTime(queue, ms, boundary))
    t.is(await byTime(times[0]! - 5, 'lower'), 0)
    t.is(await byTime(times[1]!, 'lower'), 1)
    t.is(await byTime(times[1]! + 1, 'lower'), 2)
    t.is(await byTime(times[1]!, 'upper'), 1)
    t.is(await byTime(times[2]! - 1, 'upper'), 1)
    t.is(await byTime(times[2]! + 60_000, 'upper'), 2)
  })

  test('a committed offset is answered at once, and stops at the end of the queue', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    const queue = await firstQueue(port, topic)
    t.is(await port.cursors.committed(group, queue), undefined)
    await send(port, topic, 'a', 'b')
    await port.cursors.commit(group, queue, queueOffset(1))
    t.is(Number(await port.cursors.committed(group, queue)), 1)
    await port.cursors.commit(group, queue, queueOffset(100))
    t.is(Number(await port.cursors.committed(group, queue)), 2)
    t.is((await port.groups.lags(group)).find((lag) => lag.topic === topic)?.lag, 0)
  })

  test('a commit needs a group, a topic, a queue and an offset that can be', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    const queue = await firstQueue(port, topic)
    const commit = (of: string, where: object, offset = 0) =>
      codeOf(port.cursors.commit(of, { ...queue, ...where }, queueOffset(offset)))
    t.is(await commit(nameOf('missing'), {}), 'GROUP_NOT_FOUND')
    t.is(await commit(group, { topic: nameOf('missing') }), 'TOPIC_NOT_FOUND')
    t.is(await commit(group, { queueId: 9 }), 'QUEUE_NOT_FOUND')
    t.is(await commit(group, {}, -1), 'ARGUMENT_INVALID')
  })

  test('a group that was moved is handed what is there from its new place', async (t, { port }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    const queue = await firstQueue(port, topic)
    await send(port, topic, 'a', 'b', 'c')
    await read(port, topic, 3)
    const receive = async () =>
      bodiesOf(await port.receive(receiveRequest(topic, group, { waitMs: WAIT_MS })))
    t.deepEqual(await receive(), ['a', 'b', 'c'])
    const waiting = receive()
    watched(waiting)
    await port.cursors.reset(group, queue, queueOffset(1))
    t.deepEqual(await waiting, ['b', 'c'])
  })

  test(
    'what a group could be handed now is what was given back, and what is new',
    async (t, { port }) => {
      const topic = await newTopic(port)
      const group = await newGroup(port)
      const queue = await firstQueue(port, topic)
      await send(port, topic, 'a', 'b', 'c')
      const request = receiveRequest(topic, group, { maxMessages: 2 })
      const [, second] = await port.receive(request)
      await port.release([second!.receipt])
      const { waiting, next } = await port.cursors.available(group, queue)
      t.deepEqual([waiting.map(Number), Number(next)], [[1], 2])
    },
    'available',
  )

  test(
    'a bound filter owns a queue of what it matches from now on',
    async (t, { port }) => {
      const topic = await newTopic(port)
      const tagged = (body: string) => newMessage(topic, { tag: 'eu', body })
      await port.publish([tagged('before')])
      const { offset, ...queue } = await port.lightQueues!.bind(`${topic}/+`, 'one')
      await port.publish([tagged('a'), newMessage(topic, { body: 'untagged' }), tagged('b')])
      t.deepEqual(await read(port, queue.topic, 2, { ...queue, offset }), ['a', 'b'])
      await port.lightQueues!.unbind(`${topic}/+`, 'one')
      await port.lightQueues!.unbind(`${topic}/+`, 'one')
      const request = pullRequest(queue.topic, { brokerName: queue.brokerName })
      t.is(await codeOf(port.pull(request)), 'TOPIC_NOT_FOUND')
      t.is(await codeOf(port.lightQueues!.bind('a/#/b', 'one')), 'FILTER_INVALID')
    },
    'lightQueues',
  )

  test(
    'an owner that goes leaves none of its light queues, and those of others alone',
    async (t, { port }) => {
      const topic = await newTopic(port)
      const { bind, unbindAll } = port.lightQueues!
      const [own, shared] = [`${topic}/own`, `${topic}/shared`]
      const queue = await bind(own, topic)
      await bind(shared, topic)
      const { offset, ...kept } = await bind(shared, 'another')
      await unbindAll(topic)
      await unbindAll(topic)
      await port.publish([newMessage(topic, { tag: 'shared', body: 'a' })])
      t.deepEqual(await read(port, kept.topic, 1, { ...kept, offset }), ['a'])
      const request = pullRequest(queue.topic, { brokerName: queue.brokerName })
      t.is(await codeOf(port.pull(request)), 'TOPIC_NOT_FOUND')
      await unbindAll('another')
    },
    'lightQueues',
  )

  test(
    'a light queue that is held is the one that owners bind, and goes with the last of them',
    async (t, { port }) => {
      const topic = await newTopic(port)
      const { hold, letGo, bind, unbind } = port.lightQueues!
      const { offset, ...queue } = await hold(`${topic}/+`)
      await port.publish([newMessage(topic, { tag: 'eu', body: 'a' })])
      await hold(`${topic}/+`)
      t.is((await bind(`${topic}/+`, 'one')).topic, queue.topic)
      for (let i = 0; i < 3; i++) await letGo(`${topic}/+`)
      t.deepEqual(await read(port, queue.topic, 1, { ...queue, offset }), ['a'])
      await hold(`${topic}/+`)
      await unbind(`${topic}/+`, 'one')
      t.deepEqual(await read(port, queue.topic, 1, { ...queue, offset }), ['a'])
      await letGo(`${topic}/+`)
      const request = pullRequest(queue.topic, { brokerName: queue.brokerName })
      t.is(await codeOf(port.pull(request)), 'TOPIC_NOT_FOUND')
      t.is(await codeOf(hold('a/#/b')), 'FILTER_INVALID')
    },
    'lightQueues',
  )

  test(
    'a message is in the light queues that it names, also where none was before',
    async (t, { port }) => {
      const topic = await newTopic(port)
      const named = (body: string) =>
        newMessage(topic, { body, properties: { INNER_MULTI_DISPATCH: `%LMQ%${topic}` } })
      await port.publish([named('a'), newMessage(topic, { body: 'elsewhere' }), named('b')])
      const { brokerName } = await firstQueue(port, topic)
      const queue = { topic: `%LMQ%$lmq/${topic}`, brokerName, queueId: 0 }
      t.deepEqual(await read(port, queue.topic, 2, { ...queue, offset: queueOffset(0) }), [
        'a',
        'b',
      ])
      await port.topics.delete(queue.topic)
      t.is(Number((await port.cursors.range(queue)).maxOffset), 0)
    },
    'lightQueues',
  )
}
