import test from 'ava'
import type { Delivery } from '../../src/client/index.ts'
import { REQUEST, RESPONSE } from '../../src/remoting/codes.ts'
import { decodeHeartbeat } from '../../src/remoting/requests/clients.ts'
import { decodeLockRequest, encodeLockedQueues } from '../../src/remoting/requests/queue-locks.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type FakeRocketmq, startFakeRocketmq } from '../support/native/fake-rocketmq.ts'
import { errorsOf, G, pair, pulls, quiet, sharesOf, turn, until, untilWith } from './pairing.ts'

const heartbeats = (fake: FakeRocketmq) =>
  fake.requests.flatMap(({ code, body }) => {
    const beat = code === REQUEST.heartbeat ? decodeHeartbeat(body) : undefined
    return beat?.consumers.some(({ groupName }) => groupName === 'g') ? [beat] : []
  })

test('a member makes itself known with its topics and its retry topic, and again after a reconnect', async (t) => {
  const { fake, mq } = await pair(t)
  await mq.consume({ ...G, tags: ['a', 'b'] }, () => {})
  const [consumer] = heartbeats(fake)[0]!.consumers
  t.is(consumer!.messageModel, 'CLUSTERING')
  t.is(consumer!.consumeFromWhere, 'CONSUME_FROM_FIRST_OFFSET')
  t.deepEqual(
    consumer!.subscriptions.map(({ topic, subString, tagsSet }) => [topic, subString, tagsSet]),
    [
      ['T', 'a || b', ['a', 'b']],
      ['%RETRY%g', '*', []],
    ],
  )
  const before = heartbeats(fake).length
  fake.cutAll()
  await until(() => heartbeats(fake).length > before)
  t.pass()
})

test('a heartbeat goes out every 30 seconds; a connection on which it is not answered is given up', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock })
  await mq.consume(G, () => {})
  await quiet(clock)
  const before = heartbeats(fake).length
  await clock.advanceAsync(30_001)
  await until(() => heartbeats(fake).length === before + 1)
  fake.intercept(REQUEST.heartbeat, () => 'silence')
  await clock.advanceAsync(30_000)
  await untilWith(clock, () => errorsOf(statuses).includes('TIMED_OUT'), 1000)
  fake.intercept(REQUEST.heartbeat, () => undefined)
  const connections = statuses.filter(({ type }) => type === 'connected').length
  await untilWith(
    clock,
    () => statuses.filter(({ type }) => type === 'connected').length > connections,
    500,
  )
  t.pass()
})

test('a notice from the broker leads to a new share at once', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock }, { queues: 4 })
  const shares = () => sharesOf(statuses)
  await mq.consume(G, () => {})
  await until(() => shares().at(-1) === 4)
  const leave = fake.addMember('g', 'another')
  fake.notifyMembers('g')
  await until(() => shares().at(-1) === 2)
  leave()
  fake.notifyMembers('g')
  await until(() => shares().at(-1) === 4)
  t.pass()
})

test('in broadcasting nothing is committed and nothing handed back', async (t) => {
  const { fake, mq } = await pair(t)
  fake.store('T', 0, '0')
  let calls = 0
  const consumer = await mq.consume({ ...G, broadcasting: true }, () => {
    calls++
    throw new Error('no')
  })
  await until(() => calls === 1)
  await consumer.close()
  t.is(fake.committed.size, 0)
  t.is(fake.sentBack.length, 0)
})

test('a failed message is handed back with what the broker needs to find it', async (t) => {
  const { fake, mq, statuses } = await pair(t)
  fake.store('T', 0, 'first')
  fake.store('T', 0, 'second')
  await mq.consume({ ...G, retriesMax: 3 }, (delivery) => {
    if (delivery.text() === 'second') throw new Error('cannot')
  })
  await until(() => fake.sentBack.length === 1)
  const { fields } = fake.sentBack[0]!
  t.is(fields.get('offset'), '1000')
  t.is(fields.get('group'), 'g')
  t.is(fields.get('delayLevel'), '0')
  t.is(fields.get('originTopic'), 'T')
  t.is(fields.get('maxReconsumeTimes'), '3')
  t.true(errorsOf(statuses).includes('INTERNAL'))
})

test('a delay that a consumer asks for becomes the next level', async (t) => {
  const { fake, mq } = await pair(t)
  fake.store('T', 0, 'x')
  const [delivery] = await mq.poll(G, { waitMs: 5000 })
  await delivery!.nack({ delayMs: 6000 })
  t.is(fake.sentBack[0]!.fields.get('delayLevel'), '3')
  await t.throwsAsync(delivery!.ack(), { code: 'RECEIPT_EXPIRED' })
})

test('a delay that is no number is refused, and the message is still in hand', async (t) => {
  const { fake, mq } = await pair(t)
  fake.store('T', 0, 'x')
  const [delivery] = await mq.poll(G, { waitMs: 5000 })
  for (const delayMs of [Number.NaN, Number.POSITIVE_INFINITY]) {
    await t.throwsAsync(delivery!.nack({ delayMs }), { code: 'ARGUMENT_INVALID' })
  }
  t.is(fake.sentBack.length, 0)
  await t.notThrowsAsync(delivery!.ack())
})

test('what cannot be handed back is tried again, and not committed past until it is', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  fake.store('T', 0, 'x')
  fake.store('T', 0, 'y')
  let refusals = 3
  fake.intercept(REQUEST.sendMessageBack, () =>
    refusals-- > 0 ? { code: RESPONSE.systemBusy } : undefined,
  )
  await mq.consume(G, (delivery) => {
    if (delivery.text() === 'x') throw new Error('cannot')
  })
  await until(() => fake.count(REQUEST.sendMessageBack) === 1)
  await clock.advanceAsync(5000)
  await quiet(clock)
  t.true((fake.committed.get('g:T:0') ?? 0) === 0 || fake.sentBack.length === 1)
  await untilWith(clock, () => fake.sentBack.length === 1, 500)
  await untilWith(clock, () => fake.committed.get('g:T:0') === 2, 500)
  t.pass()
})

test('what cannot be handed back because retention took it is settled, and its queue goes on', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock })
  fake.store('T', 0, 'old')
  fake.intercept(REQUEST.sendMessageBack, () => ({ code: RESPONSE.queryNotFound }))
  await mq.consume(G, () => {
    throw new Error('cannot')
  })
  await untilWith(clock, () => fake.committed.get('g:T:0') === 1, 100)
  t.is(fake.count(REQUEST.sendMessageBack), 1)
  t.true(errorsOf(statuses).includes('MESSAGE_NOT_FOUND'))
})

test('an offset that the broker no longer has is replaced by the one it names', async (t) => {
  const { fake, mq, statuses } = await pair(t)
  for (let n = 0; n < 5; n++) fake.store('T', 0, String(n))
  fake.committed.set('g:T:0', 100)
  fake.intercept(REQUEST.pullMessage, ({ fields }) =>
    fields.get('queueOffset') === '100'
      ? {
          code: RESPONSE.pullOffsetMoved,
          fields: { suggestWhichBrokerId: 0, nextBeginOffset: 3, minOffset: 3, maxOffset: 5 },
        }
      : undefined,
  )
  const got = [await mq.poll(G, { waitMs: 5000 }), await mq.poll(G, { waitMs: 5000 })].flat()
  t.deepEqual(
    got.map((delivery) => delivery.text()),
    ['3', '4'],
  )
  t.true(errorsOf(statuses).includes('OFFSET_OUT_OF_RANGE'))
})

test('a broker that denies for a moment what was read of it has nothing read again', async (t) => {
  const { fake, mq, statuses } = await pair(t)
  for (let n = 0; n < 3; n++) fake.store('T', 0, String(n))
  let denials = 3
  fake.intercept(REQUEST.pullMessage, ({ fields }) => {
    const isAfter = fields.get('topic') === 'T' && fields.get('queueOffset') === '3'
    if (!isAfter || denials-- <= 0) return undefined
    return {
      code: RESPONSE.pullOffsetMoved,
      fields: { suggestWhichBrokerId: 0, nextBeginOffset: 0, minOffset: 0, maxOffset: 0 },
    }
  })
  const got: string[] = []
  await mq.consume(G, (delivery) => void got.push(delivery.text()))
  await until(() => denials <= 0)
  fake.store('T', 0, '3')
  await until(() => got.includes('3'))
  t.deepEqual(got, ['0', '1', '2', '3'])
  t.true(errorsOf(statuses).includes('OFFSET_OUT_OF_RANGE'))
})

test('no more is read than the prefetch allows, and more as soon as there is room', async (t) => {
  const { fake, mq } = await pair(t)
  for (let n = 0; n < 100; n++) fake.store('T', 0, String(n))
  // Without a retry topic, whose queue would have its own share of the room.
  const subscription = mq.subscribe({ ...G, broadcasting: true, prefetch: 20 })
  const held: Delivery[] = []
  while (held.length < 20) held.push((await subscription.next()).value!)
  for (let i = 0; i < 20; i++) await turn()
  t.is((await subscription.poll({ max: 10 })).length, 0)
  const asked = pulls(fake).length
  await held[0]!.ack()
  const next = await subscription.poll({ waitMs: 5000 })
  t.is(next[0]!.text(), '20')
  t.is(pulls(fake).length, asked + 1)
  t.is(pulls(fake).at(-1)!.fields.get('maxMsgNums'), '1')
})

test('a refusal that will not mend itself ends the consumer and the iteration', async (t) => {
  const { fake, mq } = await pair(t)
  fake.intercept(REQUEST.heartbeat, ({ body }) =>
    decodeHeartbeat(body).consumers.length > 0
      ? { code: RESPONSE.noPermission, remark: "'bob' may not consume with 'g'" }
      : undefined,
  )
  await t.throwsAsync(
    mq.consume(G, () => {}),
    {
      code: 'PERMISSION_DENIED',
      message: /may not consume/,
    },
  )
  const subscription = mq.subscribe(G)
  await t.throwsAsync(subscription.next(), { code: 'PERMISSION_DENIED' })
  await t.throwsAsync(mq.poll(G), { code: 'PERMISSION_DENIED' })
})

test('a refusal that comes later, when the topic has appeared, ends the iteration too', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock })
  fake.intercept(REQUEST.heartbeat, ({ body }) =>
    decodeHeartbeat(body).consumers.length > 0 ? { code: RESPONSE.noPermission } : undefined,
  )
  const subscription = mq.subscribe({ group: 'g', topic: 'later' })
  await subscription.ready
  await until(() => statuses.some(({ type }) => type === 'waiting'))
  let refused: unknown
  subscription.next().catch((error) => {
    refused = error
  })
  fake.addTopic('later')
  await untilWith(clock, () => refused !== undefined, 500)
  t.like(refused, { code: 'PERMISSION_DENIED' })
})

test('a broker that answers at once with nothing is not asked in a tight loop', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  const ends = { suggestWhichBrokerId: 0, nextBeginOffset: 0, minOffset: 0, maxOffset: 0 }
  fake.intercept(REQUEST.pullMessage, () => ({ code: RESPONSE.pullNotFound, fields: ends }))
  await mq.consume(G, () => {})
  await quiet(clock)
  t.is(pulls(fake).length, 1)
  for (let i = 0; i < 10; i++) await clock.advanceAsync(20)
  t.true(pulls(fake).length <= 11)
})

test('a failing pull is repeated after growing pauses', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  fake.intercept(REQUEST.pullMessage, () => ({ code: RESPONSE.systemError, remark: 'broken' }))
  await mq.consume(G, () => {})
  await quiet(clock)
  const began = clock.monotonic()
  await untilWith(clock, () => pulls(fake).length >= 6, 50)
  t.true(clock.monotonic() - began > 2000)
})

test('the close waits for the handler that runs, and starts no other', async (t) => {
  const { fake, mq } = await pair(t)
  for (const n of [0, 1, 2]) fake.store('T', 0, String(n))
  const started: string[] = []
  let finish: () => void = () => {}
  const consumer = await mq.consume(G, (delivery) => {
    started.push(delivery.text())
    return new Promise<void>((resolve) => {
      finish = resolve
    })
  })
  await until(() => started.length === 1)
  const closing = consumer.close()
  finish()
  await closing
  t.deepEqual(started, ['0'])
  t.is(fake.committed.get('g:T:0'), 1)
})

test('a handler beyond the deadline is told by its signal, and its message is not committed', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  fake.store('T', 0, 'stuck')
  let isAborted = false
  const running = new Promise<void>((resolve) => {
    void mq.consume(G, (_, { signal }) => {
      resolve()
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          isAborted = true
          reject(signal.reason)
        }),
      )
    })
  })
  await running
  const closing = mq.close({ deadlineMs: 2000 })
  await quiet(clock)
  t.false(isAborted)
  await clock.advanceAsync(2000)
  await closing
  t.true(isAborted)
  t.is(fake.committed.get('g:T:0') ?? 0, 0)
})

test('a queue in order is read only by the member with its lock, which is asked for again', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  fake.store('T', 0, 'x')
  let isFree = false
  fake.intercept(REQUEST.lockQueues, ({ body }) => {
    const { queues } = decodeLockRequest(body)
    return { body: encodeLockedQueues(isFree ? queues : queues.filter((q) => q.topic !== 'T')) }
  })
  const seen: string[] = []
  await mq.consume({ ...G, ordered: true }, (delivery) => {
    seen.push(delivery.text())
  })
  await quiet(clock)
  t.is(pulls(fake).length, 0)
  isFree = true
  await untilWith(clock, () => seen.length === 1, 100)
  t.pass()
})

test('a lock that is lost at its renewal ends the reading, and a new one begins at what is committed', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock })
  let isOurs = true
  fake.intercept(REQUEST.lockQueues, ({ body }) => ({
    body: encodeLockedQueues(isOurs ? decodeLockRequest(body).queues : []),
  }))
  const seen: string[] = []
  await mq.consume({ ...G, ordered: true }, (delivery) => {
    seen.push(delivery.text())
  })
  await until(() => sharesOf(statuses).at(-1) === 1)
  isOurs = false
  await clock.advanceAsync(20_000)
  await until(() => sharesOf(statuses).at(-1) === 0)
  fake.store('T', 0, 'taken by another')
  fake.store('T', 0, 'ours')
  fake.committed.set('g:T:0', 1)
  await quiet(clock)
  t.deepEqual(seen, [])
  isOurs = true
  // In small steps: the answers of real sockets must come before requests time out by this clock.
  await untilWith(clock, () => seen.length > 0, 50)
  t.deepEqual(seen, ['ours'])
})

/** One queue, whose turn is another member's from now on. */
function joined(fake: FakeRocketmq): void {
  fake.addMember('g', '0-sorts-first')
  fake.notifyMembers('g')
}

test('a queue in order moves although its message in hand fails and fails', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock })
  fake.store('T', 0, 'poison')
  let attempts = 0
  let fail: () => void = () => {}
  t.teardown(() => fail())
  await mq.consume({ ...G, ordered: true }, () => {
    attempts++
    return new Promise((_, reject) => {
      fail = () => reject(new Error('no'))
    })
  })
  await until(() => attempts === 1)
  joined(fake)
  await quiet(clock)
  t.is(sharesOf(statuses).at(-1), 1)
  fail()
  await untilWith(clock, () => sharesOf(statuses).at(-1) === 0)
  t.is(attempts, 1)
  t.is(fake.committed.get('g:T:0'), 0)
})

test('a queue in order moves although its message waits to come again much later', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock })
  fake.store('T', 0, 'x')
  const subscription = mq.subscribe({ ...G, ordered: true })
  const { value } = await subscription.next()
  await value!.nack({ delayMs: 3_600_000 })
  joined(fake)
  await untilWith(clock, () => sharesOf(statuses).at(-1) === 0)
  t.true(clock.monotonic() < 3_600_000)
  t.is(fake.committed.get('g:T:0'), 0)
})

test('a body that this client cannot read fails its own message and no other', async (t) => {
  const { fake, mq } = await pair(t)
  fake.store('T', 0, 'good')
  const subscription = mq.subscribe(G)
  const { value } = await subscription.next()
  t.is(value!.text(), 'good')
  t.throws(() => value!.json(), { code: 'MESSAGE_INVALID', message: /is not JSON/ })
})

test('leaving the loop settles nothing by itself and signs off', async (t) => {
  const { fake, mq } = await pair(t)
  fake.store('T', 0, 'x')
  for await (const delivery of mq.subscribe(G)) {
    t.is(delivery.text(), 'x')
    break
  }
  t.is(fake.committed.get('g:T:0') ?? 0, 0)
  const signedOff = fake.requests.some(
    ({ code, fields }) => code === REQUEST.unregisterClient && fields.get('consumerGroup') === 'g',
  )
  t.true(signedOff)
})

test('reading without a group registers no group', async (t) => {
  const { fake, mq } = await pair(t)
  fake.store('T', 0, 'x')
  const { value } = await mq.read({ topic: 'T', from: 'first' }).next()
  t.is(value!.text(), 'x')
  const groups = fake.requests.flatMap(({ code, body }) =>
    code === REQUEST.heartbeat ? decodeHeartbeat(body).consumers : [],
  )
  t.deepEqual(groups, [])
  t.is(fake.count(REQUEST.updateConsumerOffset), 0)
})

test('a queue that appears later is read from its first message, one that was there from where it is', async (t) => {
  const clock = new FakeClock()
  const fakeOptions = { queues: 1 }
  const { fake, mq } = await pair(t, { clock }, fakeOptions)
  fake.store('T', 0, 'old')
  const seen: string[] = []
  await mq.consume({ group: 'g', topic: 'T', from: 'last' }, (delivery) => {
    seen.push(delivery.text())
  })
  fake.store('T', 1, 'in the new queue')
  fake.setQueues(2)
  await untilWith(clock, () => seen.length > 0, 5000)
  fake.store('T', 0, 'new')
  await untilWith(clock, () => seen.length > 1)
  t.deepEqual(seen, ['in the new queue', 'new'])
})

const asksRoute = (fake: FakeRocketmq) =>
  fake.requests.filter(
    ({ code, fields }) => code === REQUEST.getRoute && fields.get('topic') === 'T',
  ).length

test('where a queue is not there, the route is asked for again at once', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock }, { queues: 4 })
  fake.intercept(REQUEST.queryConsumerOffset, ({ fields }) =>
    fields.get('topic') === 'T' && fields.get('queueId') !== '0'
      ? { code: RESPONSE.invalidParameter, remark: "'T' has no queue 1" }
      : undefined,
  )
  await mq.consume(G, () => {})
  await until(() => statuses.some(({ type }) => type === 'waiting'))
  const asked = asksRoute(fake)
  fake.setQueues(1)
  await untilWith(clock, () => asksRoute(fake) > asked, 100)
  t.true(clock.monotonic() < 20_000)
})

test('when a queue is gone, the route is asked for at the next rebalance', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock })
  await mq.consume(G, () => {})
  await quiet(clock)
  const asked = asksRoute(fake)
  fake.intercept(REQUEST.pullMessage, ({ fields }) =>
    fields.get('topic') === 'T'
      ? { code: RESPONSE.invalidParameter, remark: "'T' has no queue 0" }
      : undefined,
  )
  fake.store('T', 0, 'x')
  await untilWith(clock, () => errorsOf(statuses).includes('ARGUMENT_INVALID'))
  await untilWith(clock, () => asksRoute(fake) > asked, 100)
  t.true(clock.monotonic() < 30_000)
})

test('a broker that moved is found again', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock })
  const [before, after] = [await startFakeRocketmq(t), await startFakeRocketmq(t)]
  fake.setBroker(before.address)
  const seen: string[] = []
  await mq.consume(G, (delivery) => {
    seen.push(delivery.text())
  })
  before.store('T', 0, 'here')
  await until(() => seen.length === 1)
  after.committed.set('g:T:0', 0)
  after.store('T', 0, 'there')
  await before.stop()
  fake.setBroker(after.address)
  await untilWith(clock, () => after.count(REQUEST.heartbeat) > 0, 200)
  t.true(statuses.some((status) => status.type === 'reconnecting'))
  after.store('T', 0, 'and on')
  await untilWith(clock, () => seen.length > 1, 200)
  t.deepEqual(seen, ['here', 'and on'])
})

test('an address that the name server gives and that does not answer is explained', async (t) => {
  const { fake, mq } = await pair(t)
  const gone = await startFakeRocketmq(t)
  const { address } = gone
  await gone.stop()
  fake.setBroker(address)
  const sending = mq.send({ topic: 'T', body: 'x' }, { timeoutMs: 2000 })
  const error = await t.throwsAsync(sending, { code: 'UNREACHABLE' })
  t.true(error.message.includes(address))
  t.regex(error.message, /'broker-a' says it is.*advertisedHost/)
})
