// Sending through the SDK.
import test from 'ava'
import { BatchError, type BrokerError, type SendResult } from '../../../src/client/index.ts'
import { type MakeClient, type MakeTopic, nameOf } from './support.ts'

export function sending(client: MakeClient, topic: MakeTopic): void {
  test('a message arrives with all that it was sent with', async (t) => {
    const mq = await client(t)
    const name = await topic(mq)
    const subscription = mq.subscribe({ group: nameOf('g'), topic: name, from: 'first' })
    const sent = await mq.send({
      topic: name,
      body: 'grüße',
      tag: 'paid',
      keys: ['order-1', 'customer-7'],
      orderingKey: 'customer-7',
      properties: { source: 'web', ключ: 'значение' },
    })
    const { value } = await subscription.next()
    const got = value!
    t.is(got.text(), 'grüße')
    t.is(got.topic, name)
    t.is(got.tag, 'paid')
    t.deepEqual(got.keys, ['order-1', 'customer-7'])
    t.is(got.orderingKey, 'customer-7')
    t.deepEqual(Object.fromEntries(got.properties), { source: 'web', ключ: 'значение' })
    t.is(got.messageId, sent.messageId)
    t.is(got.offsetMessageId, sent.offsetMessageId)
    t.deepEqual([got.queueId, got.queueOffset], [sent.queueId, sent.queueOffset])
    t.is(got.attempt, 1)
    await got.ack()
  })

  test('bytes arrive as they were, up to the largest body', async (t) => {
    const mq = await client(t)
    const name = await topic(mq, 1)
    const all = Uint8Array.from({ length: 256 }, (_, i) => i)
    const large = new Uint8Array(3 * 1024 * 1024).map((_, i) => i * 7)
    await mq.send({ topic: name, body: all })
    await mq.send({ topic: name, body: large })
    const reader = mq.read({ topic: name, from: 'first' })
    for (const body of [all, large]) {
      const { value } = await reader.next()
      t.is(Buffer.compare(value!.body, body), 0)
    }
  })

  test('a delayed message is taken back by its handle, and an unlikely handle is refused', async (t) => {
    const mq = await client(t)
    // On a machine so busy that the message is delivered before, once more with more time.
    for (let delayMs = 700, isLate = true; isLate; delayMs *= 4) {
      const name = await topic(mq, 1)
      const { recallHandle } = await mq.send({ topic: name, body: 'never', delayMs })
      await mq.send({ topic: name, body: 'later', delayMs: delayMs + 1 })
      // Apache's broker gives one, and by default refuses to obey it.
      if (recallHandle === undefined) return t.fail('no handle')
      const error = await mq.recall(recallHandle).catch((thrown: BrokerError) => thrown)
      isLate = error?.code === 'MESSAGE_NOT_FOUND'
      if (isLate) continue
      const { value } = await mq.read({ topic: name, from: 'first' }).next()
      if (error === undefined) t.is(value!.text(), 'later')
      else t.is(error.code, 'PERMISSION_DENIED')
    }
    await t.throwsAsync(mq.recall('no handle'), { code: 'ARGUMENT_INVALID' })
  })

  test('a request gets its reply, with what the responder says beside it', async (t) => {
    const mq = await client(t)
    const responder = await client(t)
    const name = await topic(mq)
    const subscription = responder.subscribe({ group: nameOf('g'), topic: name, from: 'first' })
    const replied = mq.request({ topic: name, body: 'apple', properties: { of: 'the asker' } })
    const { value } = await subscription.next()
    t.is(value!.text(), 'apple')
    await responder.reply(value!, {
      body: JSON.stringify({ price: 12 }),
      properties: { of: 'the responder' },
    })
    const reply = await replied
    t.deepEqual(reply.json(), { price: 12 })
    t.deepEqual([...reply.properties], [['of', 'the responder']])
    await value!.ack()
  })

  test('a request that nothing replies to is over in time, and so is a reply to it', async (t) => {
    const mq = await client(t)
    const asker = await client(t)
    const name = await topic(mq, 1)
    const timedOut = asker.request({ topic: name, body: 'too late' }, { timeoutMs: 500 })
    await t.throwsAsync(timedOut, { code: 'TIMED_OUT', message: /a reply to a request/ })
    await asker.close()
    const { value } = await mq.read({ topic: name, from: 'first' }).next()
    const gone = mq.reply(value!, { body: 'for nothing' })
    await t.throwsAsync(gone, { code: 'CLIENT_NOT_FOUND', message: /not found/ })
    await mq.send({ topic: name, body: 'no request' })
    const reader = mq.read({ topic: name, from: 'first' })
    await reader.next()
    const plain = (await reader.next()).value!
    await t.throwsAsync(mq.reply(plain, { body: 'x' }), { code: 'ARGUMENT_INVALID' })
  })

  test('requests that wait end with the client', async (t) => {
    const mq = await client(t)
    const name = await topic(mq, 1)
    const waiting = mq.request({ topic: name, body: 'for ever' }, { timeoutMs: 60_000 })
    await mq.read({ topic: name, from: 'first' }).next()
    await mq.close()
    await t.throwsAsync(waiting, { code: 'CLOSED' })
  })

  test('a client that traces tells of its sends and of what its handlers did', async (t) => {
    const mq = await client(t)
    const traced = await client(t, { trace: true })
    const name = await topic(mq, 1)
    const group = nameOf('g')
    const message = { topic: name, body: 'seen', tag: 'paid', keys: ['order-1'] }
    const { messageId, offsetMessageId } = await traced.send(message)
    await new Promise<void>((resolve) => {
      const handler = async () => resolve()
      void traced.consume({ group, topic: name, from: 'first' }, handler)
    })
    await traced.close()
    const told = new Map<string, string[]>()
    for await (const trace of mq.read({ topic: 'RMQ_SYS_TRACE_TOPIC', from: 'first' })) {
      for (const line of trace.text().split('\u0002')) {
        const fields = line.split('\u0001')
        if (fields.includes(messageId)) told.set(fields[0]!, fields)
      }
      if (trace.keys.includes(messageId)) t.true(trace.keys.includes('order-1'))
      if (told.size === 3) break
    }
    const sent = told.get('Pub')!
    t.deepEqual(sent.slice(4, 8), [name, messageId, 'paid', 'order-1'])
    t.deepEqual([sent[9], ...sent.slice(11)], ['4', '0', offsetMessageId, 'true'])
    const [, , , ofGroup, attemptId, , retries] = told.get('SubBefore')!
    t.deepEqual([ofGroup, retries], [group, '0'])
    const after = told.get('SubAfter')!
    t.is(after[1], attemptId)
    t.deepEqual([after[4], after[6], after[8]], ['true', '0', group])
  })

  test('a batch is accepted as one, and its messages stay apart and in order', async (t) => {
    const mq = await client(t)
    const name = await topic(mq)
    const messages = Array.from({ length: 100 }, (_, i) => ({
      topic: name,
      body: `m${i}`,
      tag: i % 2 === 0 ? 'even' : 'odd',
      keys: [`${name}-${i}`],
    }))
    const results = await mq.sendBatch(messages)
    t.is(new Set(results.map((result) => result.offsetMessageId)).size, 100)
    t.is(new Set(results.map((result) => result.queueId)).size, 1)
    const { queueId } = results[0]!
    const seen: string[] = []
    for (let offset = 0; seen.length < 100; ) {
      const { messages: some, nextOffset } = await mq.pull({ topic: name, queueId, offset })
      for (const message of some) {
        t.is(message.offsetMessageId, results[seen.length]!.offsetMessageId)
        t.is(message.messageId, results[seen.length]!.messageId)
        seen.push(`${message.text()} ${message.tag} ${message.keys.join()}`)
      }
      offset = nextOffset
    }
    t.deepEqual(
      seen,
      messages.map(({ body, tag, keys }) => `${body} ${tag} ${keys.join()}`),
    )
  })

  test('a batch over several topics and keys gives an answer for each message', async (t) => {
    const mq = await client(t)
    const [a, b] = [await topic(mq), await topic(mq)]
    const messages = Array.from({ length: 60 }, (_, i) => ({
      topic: i % 2 === 0 ? a : b,
      orderingKey: `k${i % 5}`,
      body: String(i),
    }))
    const results = await mq.sendBatch(messages)
    t.deepEqual(
      results.map((result) => result.topic),
      messages.map((message) => message.topic),
    )
    const queues = new Map(messages.map((m, i) => [`${m.topic} ${m.orderingKey}`, results[i]!]))
    for (const [i, message] of messages.entries()) {
      const { queueId } = queues.get(`${message.topic} ${message.orderingKey}`)!
      t.is(results[i]!.queueId, queueId)
    }
  })

  test('a message that is not accepted does not spoil its batch', async (t) => {
    const mq = await client(t)
    const name = await topic(mq)
    const forbidden = 'SCHEDULE_TOPIC_XXXX'
    const batch = [name, forbidden, name].map((one) => ({ topic: one, body: one }))
    const error = await t.throwsAsync(mq.sendBatch(batch, { timeoutMs: 2000 }), {
      instanceOf: BatchError,
    })
    const [first, second, third] = (error as BatchError).results
    t.true(second instanceof Error)
    for (const result of [first, third]) t.truthy((result as SendResult).messageId)
  })

  test('a one-way message arrives', async (t) => {
    const mq = await client(t)
    const name = await topic(mq)
    await mq.sendOneWay({ topic: name, body: 'on its way' })
    const { value } = await mq.read({ topic: name, from: 'first' }).next()
    t.is(value!.text(), 'on its way')
  })

  test('one ordering key stays on one queue and in order, among many others', async (t) => {
    const mq = await client(t)
    const name = await topic(mq, 8)
    const keys = Array.from({ length: 20 }, (_, i) => `key-${i}`)
    const sends = Array.from({ length: 400 }, (_, i) => {
      const orderingKey = keys[i % keys.length]!
      return mq.send({ topic: name, orderingKey, body: `${orderingKey} ${i}` })
    })
    const results = await Promise.all(sends)
    for (const [k] of keys.entries()) {
      const own = results.filter((_, i) => i % keys.length === k)
      t.is(new Set(own.map((result) => result.queueId)).size, 1)
      const offsets = own.map((result) => result.queueOffset)
      t.deepEqual(
        offsets,
        offsets.toSorted((x, y) => x - y),
      )
    }
    t.true(new Set(results.map((result) => result.queueId)).size > 1)
  })

  for (const delayMs of [1000, 2300]) {
    test(`a message delayed by ${delayMs} ms comes after that and not before`, async (t) => {
      const mq = await client(t)
      const name = await topic(mq, 1)
      const reader = mq.read({ topic: name, from: 'first' })
      await reader.ready
      const began = performance.now()
      await mq.send({ topic: name, body: 'late', delayMs, tag: 'x', properties: { a: '1' } })
      const { value } = await reader.next()
      const took = performance.now() - began
      t.is(value!.text(), 'late')
      t.is(value!.tag, 'x')
      t.deepEqual([...value!.properties], [['a', '1']])
      // Apache's timer wheel turns once a second and rounds down.
      t.true(took > delayMs - 1000 && took < delayMs + 8000, `it took ${took} ms`)
    })
  }
}
