import test, { type ExecutionContext } from 'ava'
import { Rates } from '../../src/broker/rates.ts'
import { newMessage, pullRequest, receiveRequest, startBroker } from '../support/broker.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { numberOf } from '../support/numbers.ts'

async function start(t: ExecutionContext) {
  const { broker, clock, numbers } = await startBroker(t)
  return { broker, clock, of: (name: string) => numberOf(numbers, name) }
}

test('what is stored and read is counted, and how long the disk took', async (t) => {
  const { broker, of } = await start(t)
  await broker.publish([newMessage('T', { queueId: 0 }), newMessage('T', { queueId: 0 })])
  await broker.pull(pullRequest('T'))
  await broker.pull(pullRequest('T', { offset: 2 }))
  t.is(await of('trivet_messages_stored_total'), 2)
  t.is(await of('trivet_messages_read_total'), 2)
  t.is(await of('trivet_reads_found_total'), 1)
  t.is(await of('trivet_reads_empty_total'), 1)
  t.true((await of('trivet_store_sync_seconds_count')) > 0)
  const status = await broker.status()
  t.is(await of('trivet_store_log_bytes'), status.logEnd - status.logStart)
  t.is(await of('rocketmq_storage_size'), status.diskBytes)
  t.true((await of('trivet_store_disk_bytes')) > (await of('trivet_store_disk_free_bytes')))
  t.is(await of('trivet_store_read_only'), 0)
  t.is(await of('trivet_views_rebuilding'), 0)
})

test('the lag of a group is what it has not settled, in flight what its consumers hold', async (t) => {
  const { broker, of } = await start(t)
  await broker.publish(Array.from({ length: 5 }, () => newMessage('T', { queueId: 0 })))
  const request = receiveRequest('T', 'G', { maxMessages: 2 })
  const [first] = await broker.receive(request)
  t.is(await of('rocketmq_consumer_lag_messages{consumer_group="G"'), 5)
  t.is(await of('rocketmq_consumer_inflight_messages{consumer_group="G"'), 2)
  await broker.ack([first!.receipt])
  t.is(await of('rocketmq_consumer_lag_messages{consumer_group="G"'), 4)
})

test('requests that wait are counted while they wait', async (t) => {
  const { broker, clock, of } = await start(t)
  await broker.publish([newMessage('T')])
  const pull = broker.pull(pullRequest('T', { offset: 1, waitMs: 1000 }))
  const drain = await broker.receive(receiveRequest('T', 'G'))
  await broker.ack(drain.map(({ receipt }) => receipt))
  const receive = broker.receive(receiveRequest('T', 'G', { waitMs: 1000 }))
  await new Promise((resolve) => setImmediate(resolve))
  t.is(await of('trivet_held_requests{kind="pull"}'), 1)
  t.is(await of('trivet_held_requests{kind="receive"}'), 1)
  clock.advance(1000)
  await Promise.all([pull, receive])
  t.is(await of('trivet_held_requests'), 0)
})

test('a message that fails is a retry, one that is given up a dead letter', async (t) => {
  const { broker, of } = await start(t)
  await broker.publish([newMessage('T'), newMessage('T')])
  const [one, other] = await broker.receive(receiveRequest('T', 'G'))
  t.deepEqual(await broker.nack([one!.receipt], 5000), [null])
  t.deepEqual(await broker.deadLetter([other!.receipt], 'no use'), [null])
  t.is(await of('trivet_retries_total'), 1)
  t.is(await of('rocketmq_send_to_dlq_messages_total'), 1)
  t.is(await of('rocketmq_timing_messages'), 1)
})

test('a rate is that of the last 10 s, minute and ten minutes', (t) => {
  const clock = new FakeClock()
  const stored = { value: 0 }
  const still = { value: 0 }
  const rates = new Rates(clock, { stored, read: still, readsFound: still, readsEmpty: still })
  for (let second = 0; second < 600; second++) {
    stored.value += second < 540 ? 1 : 11
    clock.advance(1000)
  }
  t.deepEqual(rates.now().stored.perSecond, [11, 11, 2])
  t.deepEqual(rates.now().read.perSecond, [0, 0, 0])
  rates.close()
  t.is(clock.pending, 0)
})

test('the counts of the last two midnights are kept', (t) => {
  const clock = new FakeClock(new Date(2024, 0, 1, 12).getTime())
  const stored = { value: 5 }
  const rates = new Rates(clock, { stored, read: stored, readsFound: stored, readsEmpty: stored })
  const kept = () => {
    const { thisMorning, yesterdayMorning } = rates.now().stored
    return [thisMorning, yesterdayMorning]
  }
  t.deepEqual(kept(), [0, 0])
  clock.advance(13 * 3_600_000)
  t.deepEqual(kept(), [5, 0])
  stored.value = 9
  clock.advance(24 * 3_600_000)
  t.deepEqual(kept(), [9, 5])
  rates.close()
})
