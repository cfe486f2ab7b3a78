import test from 'ava'
import type { Delivery } from '../../src/client/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { closed, G, pair, pulls, quiet, sharesOf, turn, until } from './pairing.ts'

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
  const rest = await subscription.receive({ max: 10 })
  t.deepEqual(
    rest.map((delivery) => delivery.text()),
    ['1/1'],
  )
})
