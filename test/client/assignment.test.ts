import test from 'ava'
import type { Delivery } from '../../src/client/index.ts'
import { REQUEST, RESPONSE } from '../../src/remoting/codes.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { G, pair, pulls, quiet, turn, until, untilWith } from './pairing.ts'

test('a queue that is given up is committed first, and its messages can no longer be settled', async (t) => {
  const { fake, mq } = await pair(t, {}, { queues: 2 })
  for (const queueId of [0, 1])
    for (const n of [0, 1, 2]) fake.store('T', queueId, `${queueId}/${n}`)
  const held: Delivery[] = []
  const subscription = mq.subscribe(G)
  while (held.length < 6) held.push((await subscription.next()).value!)
  const first = held.filter((delivery) => delivery.queueOffset === 0)
  for (const delivery of first) await delivery.ack()
  fake.addMember('g', '0-comes-first')
  fake.notifyMembers('g')
  await until(() => fake.committed.get('g:T:0') === 1)
  const lost = held.find((delivery) => delivery.queueId === 0 && delivery.queueOffset === 1)!
  await until(() => pulls(fake).length > 0)
  await turn()
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
