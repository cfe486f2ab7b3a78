import test from 'ava'
import type { Delivery } from '../../src/client/index.ts'
import { REQUEST, RESPONSE } from '../../src/remoting/codes.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { closed, G, pair, pulls, quiet, sharesOf, turn, until, untilWith } from './pairing.ts'

test('a queue that is given up is committed first, and its messages can no longer be settled', async (t) => {
  const { fake, mq, statuses } = await pair(t, {}, { queues: 2 })
  for (const queueId of [0, 1])
    for (const n of [0, 1, 2]) fake.store('T', queueId, `${queueId}/${n}`)
  const held: Delivery[] = []
  const subscription = mq.subscribe(G)
  while (held.length < 6) held.push((await subscription.next()).value!)
  const first = held.filter((delivery) => delivery.queueOffset === 0)
  for (const delivery of first) await delivery.ack()
  fake.addMember('g', '0-comes-first')
  fake.notifyMembers('g')
  await until(() => sharesOf(statuses).at(-1) === 1)
  t.is(fake.committed.get('g:T:0'), 1)
  const lost = held.find((delivery) => delivery.queueId === 0 && delivery.queueOffset === 1)!
  await t.throwsAsync(lost.ack(), { code: 'RECEIPT_EXPIRED' })
  const kept = held.find((delivery) => delivery.queueId === 1 && delivery.queueOffset === 1)!
  await t.notThrowsAsync(kept.ack())
})

test('a topic that does not exist yet is waited for, and read from its first message', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock })
  const seen: string[] = []
  await mq.consume({ group: 'g', topic: 'later', from: 'last' }, (delivery) => {
    seen.push(delivery.text())
  })
  await until(() => statuses.some((s) => s.type === 'waiting' && s.topic === 'later'))
  fake.addTopic('later')
  fake.store('later', 0, 'first')
  await untilWith(clock, () => seen.length > 0, 500)
  t.deepEqual(seen, ['first'])
})

test('a topic that has a route before its broker has it is read from its first message too', async (t) => {
  const { fake, mq, statuses } = await pair(t)
  const missing = { code: RESPONSE.topicNotExist, remark: 'no such topic' }
  fake.intercept(REQUEST.getMaxOffset, () => missing)
  const reader = mq.read({ topic: 'T', from: 'last' })
  await until(() => statuses.some((s) => s.type === 'waiting' && s.topic === 'T'))
  fake.store('T', 0, 'first')
  fake.intercept(REQUEST.getMaxOffset, () => undefined)
  t.is((await reader.next()).value?.text(), 'first')
})

test('what is missing is asked for again every other second at least', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  mq.read({ topic: 'later' })
  const asked = () =>
    fake.requests.filter(
      ({ code, fields }) => code === REQUEST.getRoute && fields.get('topic') === 'later',
    ).length
  await untilWith(clock, () => asked() > 8, 500)
  await quiet(clock)
  const before = asked()
  await clock.advanceAsync(2001)
  await until(() => asked() > before)
  t.pass()
})

test('what waits here of a queue that went to another member is left to that member', async (t) => {
  const { fake, mq, statuses } = await pair(t, {}, { queues: 2 })
  for (const queueId of [0, 1])
    for (const n of [0, 1, 2]) fake.store('T', queueId, `${queueId}/${n}`)
  const handled: string[] = []
  let goOn: () => void = () => {}
  const blocked = new Promise<void>((resolve) => {
    goOn = resolve
  })
  await mq.consume(G, async (delivery) => {
    handled.push(delivery.text())
    await blocked
  })
  await until(() => handled.length === 1 && pulls(fake).length >= 4)
  fake.addMember('g', '0-comes-first')
  fake.notifyMembers('g')
  await until(() => sharesOf(statuses).at(-1) === 1)
  goOn()
  await until(() => fake.committed.get('g:T:1') === 3 || handled.length > 4)
  t.deepEqual(
    handled.slice(1).filter((text) => text.startsWith('0/')),
    [],
  )
})

test('what was read is still handed out when the broker cuts off the old end of its log', async (t) => {
  const { fake, mq } = await pair(t)
  for (const body of ['0', '1']) fake.store('T', 0, body)
  fake.intercept(REQUEST.pullMessage, ({ fields }) =>
    fields.get('queueOffset') === '2'
      ? {
          code: RESPONSE.pullOffsetMoved,
          fields: { suggestWhichBrokerId: 0, nextBeginOffset: 5, minOffset: 5, maxOffset: 5 },
        }
      : undefined,
  )
  const reader = mq.read({ topic: 'T', from: 'first' })
  const subscription = mq.subscribe(G)
  await until(
    () => pulls(fake).filter(({ fields }) => fields.get('queueOffset') === '5').length > 1,
  )
  for (const body of ['0', '1']) {
    t.is((await reader.next()).value?.text(), body)
    const delivery = (await subscription.next()).value
    t.is(delivery?.text(), body)
    await delivery?.ack()
  }
})

test('messages in hand share one deadline when the subscription closes', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  for (let n = 0; n < 3; n++) fake.store('T', 0, String(n))
  const subscription = mq.subscribe(G)
  const held: Delivery[] = []
  while (held.length < 3) held.push((await subscription.next()).value!)
  let isClosed = false
  const closing = subscription.close({ deadlineMs: 1000 }).then(() => {
    isClosed = true
  })
  await quiet(clock)
  await clock.advanceAsync(600)
  await held[0]!.ack()
  await quiet(clock)
  t.false(isClosed)
  await clock.advanceAsync(401)
  await closing
  t.is(fake.committed.get('g:T:0'), 1)
})

test('an ordered subscription closes when its message in hand is settled, whatever waits behind it', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  for (let n = 0; n < 3; n++) fake.store('T', 0, String(n))
  const subscription = mq.subscribe({ ...G, ordered: true })
  const first = (await subscription.next()).value!
  const closing = subscription.close()
  await first.ack()
  await closed(closing, clock)
  t.is(fake.committed.get('g:T:0'), 1)
})

test('an ordered message that is handed back while the subscription closes holds nothing up', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  for (let n = 0; n < 3; n++) fake.store('T', 0, String(n))
  const subscription = mq.subscribe({ ...G, ordered: true })
  const first = (await subscription.next()).value!
  const closing = subscription.close()
  await quiet(clock)
  await first.nack()
  await closed(closing, clock)
  t.is(fake.committed.get('g:T:0') ?? 0, 0)
})

test('the iteration and receive leave out what went to another member while it waited here', async (t) => {
  const { fake, mq, statuses } = await pair(t, {}, { queues: 2 })
  for (const queueId of [0, 1]) for (const n of [0, 1]) fake.store('T', queueId, `${queueId}/${n}`)
  const subscription = mq.subscribe(G)
  await until(() => pulls(fake).length >= 4)
  await turn()
  fake.addMember('g', '0-comes-first')
  fake.notifyMembers('g')
  await until(() => sharesOf(statuses).at(-1) === 1)
  t.is((await subscription.next()).value?.text(), '1/0')
  const rest = await subscription.poll({ max: 10 })
  t.deepEqual(
    rest.map((delivery) => delivery.text()),
    ['1/1'],
  )
})
