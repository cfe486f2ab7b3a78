// However much of a group or an owner is over at once, others have their turns in between.
import test, { type ExecutionContext } from 'ava'
import { GroupQueue } from '../../src/broker/consume/held/group-queue.ts'
import { openReceipt } from '../../src/broker/consume/held/receipt.ts'
import { ReceivingGroup } from '../../src/broker/consume/receiving-group.ts'
import { recordsOf } from '../../src/model/record.ts'
import { parseSqlFilter } from '../../src/model/sql92/sql-filter.ts'
import type { Broker } from '../../src/port/broker.ts'
import { LogStore } from '../../src/store/log-store.ts'
import type { AppendGroup } from '../../src/store/store.ts'
import { ViewKeeper } from '../../src/store/views/view-keeper.ts'
import {
  bodiesOf,
  codeOf,
  newMessage,
  pullRequest,
  queueOf,
  receiveRequest,
  startBroker,
} from '../support/broker.ts'
import { numberOf } from '../support/numbers.ts'
import { countTurns, endSlicesAtOnce } from '../support/turns.ts'
import { eventually } from '../support/waiting.ts'

const QUEUES = 20

async function delivered(t: Parameters<typeof startBroker>[0]) {
  const host = await startBroker(t, { queuesDefault: QUEUES })
  const { broker } = host
  for (let queueId = 0; queueId < QUEUES; queueId++) {
    await broker.publish([newMessage('orders', { queueId })])
    const memberId = `member-${queueId}`
    await broker.receive(receiveRequest('orders', 'billing', { queueId, memberId, maxMessages: 1 }))
  }
  return host
}

test.serial('messages whose time is over at once are made available over many turns', async (t) => {
  const { broker, clock } = await delivered(t)
  const turn = countTurns(t)
  const { due } = GroupQueue.prototype
  const turns = new Set<number>()
  GroupQueue.prototype.due = function (this: GroupQueue, nowMs) {
    turns.add(turn())
    return due.call(this, nowMs)
  }
  t.teardown(() => {
    GroupQueue.prototype.due = due
  })
  let nowMs = clock.monotonic() + 30_000
  // From now on every slice is over when it is looked at.
  clock.monotonic = () => {
    nowMs += 10
    return nowMs
  }
  clock.advance(30_000)
  const again = new Set<number>()
  while (again.size < QUEUES) {
    await new Promise((resolve) => setImmediate(resolve))
    const received = await broker.receive(receiveRequest('orders', 'billing', { maxMessages: 1 }))
    for (const { receipt } of received) again.add(openReceipt(receipt).queueId)
  }
  t.true(turns.size >= QUEUES / 2, `${turns.size} turns`)
})

test('messages of one queue whose time is over at once are made available over many turns', async (t) => {
  const { broker, clock } = await startBroker(t)
  const count = 20
  await broker.publish(Array.from({ length: count }, () => newMessage('orders', { queueId: 0 })))
  const request = receiveRequest('orders', 'billing', { queueId: 0, maxMessages: count })
  await broker.receive(request)
  const turn = countTurns(t)
  let nowMs = clock.monotonic() + 30_000
  clock.monotonic = () => {
    nowMs += 10
    return nowMs
  }
  clock.advance(30_000)
  let again = 0
  const turns = new Set<number>()
  while (again < count) {
    await new Promise((resolve) => setImmediate(resolve))
    const received = await broker.receive({ ...request, maxMessages: count })
    if (received.length > 0) turns.add(turn())
    again += received.length
  }
  t.true(turns.size >= count / 4, `${turns.size} turns`)
})

test.serial('what many consumers were handed first is found in one look', async (t) => {
  const { broker, clock } = await delivered(t)
  const { findFirsts } = GroupQueue.prototype
  let looks = 0
  GroupQueue.prototype.findFirsts = function (this: GroupQueue, found) {
    looks++
    findFirsts.call(this, found)
  }
  t.teardown(() => {
    GroupQueue.prototype.findFirsts = findFirsts
  })
  clock.advance(30_000)
  const again = await broker.receive(receiveRequest('orders', 'billing'))
  t.is(again.length, QUEUES)
  // The group's retry queue is one more.
  t.true(looks <= QUEUES + 1, `${looks} looks`)
})

test.serial('a new group is no matter of the groups that are there', async (t) => {
  const { broker } = await startBroker(t)
  const count = 20
  const { refresh } = ReceivingGroup.prototype
  let refreshed = 0
  ReceivingGroup.prototype.refresh = function (this: ReceivingGroup, topic) {
    refreshed++
    refresh.call(this, topic)
  }
  t.teardown(() => {
    ReceivingGroup.prototype.refresh = refresh
  })
  await broker.topics.ensure('orders')
  for (let i = 0; i < count; i++) await broker.receive(receiveRequest('orders', `group-${i}`))
  t.true(refreshed <= 2 * count, `${refreshed} times`)
})

test('the filters of an owner are let go over many turns', async (t) => {
  const { broker, clock } = await startBroker(t)
  const count = 50
  for (let i = 0; i < count; i++) await broker.lightQueues.bind(`f/${i}`, 'owner')
  endSlicesAtOnce(t, clock)
  const turns = countTurns(t)
  await broker.lightQueues.unbindAll('owner')
  t.true(turns() >= count, `${turns()} turns`)
})

const priced = (price: number) =>
  newMessage('orders', { queueId: 0, properties: { price: `${price}` }, body: `${price}` })

/** A broker whose slices are over at once, and the most reads that it made in one turn. */
async function searched(t: ExecutionContext) {
  const { broker, numbers, clock } = await startBroker(t)
  await broker.publish(Array.from({ length: 100 }, (_, i) => priced(i)))
  endSlicesAtOnce(t, clock)
  const turn = countTurns(t)
  const reads = new Map<number, number>()
  const { read } = LogStore.prototype
  LogStore.prototype.read = function (this: LogStore, request) {
    reads.set(turn(), (reads.get(turn()) ?? 0) + 1)
    return read.call(this, request)
  }
  t.teardown(() => {
    LogStore.prototype.read = read
  })
  const most = () => Math.max(...reads.values())
  return { broker, numbers, reads, most }
}

test.serial('searches of many pulls by conditions take turns', async (t) => {
  const { broker, most } = await searched(t)
  const filter = parseSqlFilter('price = 99')
  const request = pullRequest('orders', { filter, maxMessages: 4 })
  const pulls = await Promise.all(Array.from({ length: 20 }, () => broker.pull(request)))
  for (const { records } of pulls) {
    t.deepEqual(
      [...recordsOf(records)].map(({ body }) => `${body}`),
      ['99'],
    )
  }
  t.is(most(), 1)
})

test.serial('receives of many groups by conditions search what arrives in turns', async (t) => {
  const { broker, numbers, reads, most } = await searched(t)
  const filter = parseSqlFilter('price = 1000')
  const shape = { filter, waitMs: 20_000 }
  const receives = Array.from({ length: 20 }, (_, i) =>
    broker.receive(receiveRequest('orders', `group-${i}`, shape)),
  )
  // All have looked through what was there, and wait.
  await eventually(
    async () => (await numberOf(numbers, 'trivet_held_requests')) === 20 || undefined,
  )
  reads.clear()
  await broker.publish([priced(1000)])
  for (const messages of await Promise.all(receives)) t.deepEqual(bodiesOf(messages), ['1000'])
  t.is(most(), 1)
})

test.serial('held pulls by conditions search what arrives in turns, and are held on', async (t) => {
  const { broker, most } = await searched(t)
  const filter = parseSqlFilter('price = 1000')
  const request = pullRequest('orders', { filter, offset: 100, maxMessages: 4, waitMs: 20_000 })
  const pulls = Array.from({ length: 20 }, () => broker.pull(request))
  await broker.publish(Array.from({ length: 100 }, (_, i) => priced(i)))
  await broker.publish([priced(1000)])
  for (const { records, nextOffset } of await Promise.all(pulls)) {
    t.deepEqual(
      [...recordsOf(records)].map(({ body }) => `${body}`),
      ['1000'],
    )
    t.is(nextOffset, 201 as never)
  }
  t.is(most(), 1)
})

/** As `price = 99`, with the turns in which messages are looked at. */
function watched(turn: () => number) {
  const filter = parseSqlFilter('price = 99')
  const turns = new Set<number>()
  const matches: typeof filter.matches = (properties) => {
    turns.add(turn())
    return filter.matches(properties)
  }
  return { filter: { ...filter, matches }, turns }
}

for (const how of ['pull', 'receive'] as const) {
  test(`large messages that a condition of a ${how} looks at have a turn each`, async (t) => {
    const { broker, clock } = await startBroker(t)
    const count = 12
    const large = { large: 'x'.repeat(5000) }
    const messages = Array.from({ length: count }, (_, i) =>
      newMessage('orders', {
        queueId: 0,
        properties: { ...large, price: i === count - 1 ? '99' : '1' },
        body: `${i}`,
      }),
    )
    await broker.publish(messages)
    endSlicesAtOnce(t, clock)
    const { filter, turns } = watched(countTurns(t))
    const shape = { filter, maxMessages: 32, maxBytes: 1 << 20, waitMs: 20_000 }
    const pulled = async () => (await broker.pull(pullRequest('orders', shape))).count
    const received = async () =>
      (await broker.receive(receiveRequest('orders', 'billing', shape))).length
    t.is(await (how === 'pull' ? pulled() : received()), 1)
    t.true(turns.size >= count / 2, `${turns.size} turns`)
  })
}

const LARGE = 4096 + 1

/** A batch for one queue, with the appends that it takes. */
async function publishLarge(t: ExecutionContext, properties: Record<string, string> = {}) {
  const { broker } = await startBroker(t)
  const { append } = LogStore.prototype
  const groups: AppendGroup[] = []
  LogStore.prototype.append = function (this: LogStore, group) {
    groups.push(group)
    return append.call(this, group)
  }
  t.teardown(() => {
    LogStore.prototype.append = append
  })
  const last = { queueId: 0, body: 'last', properties }
  const batch = Array.from({ length: LARGE }, (_, i) =>
    newMessage('orders', i === LARGE - 1 ? last : { queueId: 0, body: `${i}` }),
  )
  const receipts = await broker.publishTogether(batch)
  return {
    broker,
    receipts,
    messages: groups.find(({ messages }) => messages.length > 0)!.messages,
  }
}

test.serial('a large batch is encoded before the turn that appends it', async (t) => {
  const { broker, receipts, messages } = await publishLarge(t)
  t.true(messages.every(({ encoded }) => encoded !== undefined))
  const { records } = await broker.pull(
    pullRequest('orders', { offset: LARGE - 2, maxMessages: 2 }),
  )
  const read = [...recordsOf(records)]
  t.deepEqual(
    read.map(({ body, queueOffset }) => [`${body}`, queueOffset as number]),
    [
      [`${LARGE - 2}`, LARGE - 2],
      ['last', LARGE - 1],
    ],
  )
  t.is(read[1]!.position, receipts[LARGE - 1]!.position)
  t.not(read[0]!.property('UNIQ_KEY'), read[1]!.property('UNIQ_KEY'))
})

/** What a large transaction appends, and in which turns it is drafted. */
async function settleLarge(t: ExecutionContext, during?: (broker: Broker) => Promise<unknown>) {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('one')
  await broker.topics.ensure('two')
  const messages = Array.from({ length: LARGE }, (_, i) =>
    newMessage(i % 2 === 0 ? 'one' : 'two', { queueId: 0, body: `${i}` }),
  )
  const settled = broker.publishAndSettle(messages, [])
  const outcome = codeOf(settled)
  await during?.(broker)
  return { broker, receipts: () => settled, code: await outcome }
}

test.serial('a large transaction is drafted over several turns, and stored in order', async (t) => {
  const turn = countTurns(t)
  const { append } = LogStore.prototype
  let appended = 0
  LogStore.prototype.append = function (this: LogStore, group) {
    appended = turn()
    return append.call(this, group)
  }
  t.teardown(() => {
    LogStore.prototype.append = append
  })
  let began = 0
  const { broker, receipts } = await settleLarge(t, async () => {
    began = turn()
  })
  t.true(appended >= began + 2)
  t.is((await receipts()).length, LARGE)
  const { records } = await broker.pull(pullRequest('one', { offset: 2_000, maxMessages: 1 }))
  t.is([...recordsOf(records)][0]!.body.toString(), '4000')
})

test('of a large transaction nothing is stored when one of its topics goes while it is drafted', async (t) => {
  const { broker, code } = await settleLarge(t, (broker) => broker.topics.delete('two'))
  t.is(code, 'TOPIC_NOT_FOUND')
  t.is((await broker.cursors.range(queueOf('one'))).maxOffset, 0 as never)
})

test.serial('a large batch with a delayed message parks it', async (t) => {
  const { broker, messages } = await publishLarge(t, { TIMER_DELAY_MS: '60000' })
  t.is(messages.length, LARGE)
  const { maxOffset } = await broker.pull(pullRequest('orders', { offset: LARGE - 1 }))
  t.is(maxOffset, (LARGE - 1) as never)
})

test.serial('a large batch is answered in another turn than it becomes readable in', async (t) => {
  const turn = countTurns(t)
  const { apply } = ViewKeeper.prototype
  let applied = 0
  ViewKeeper.prototype.apply = function (this: ViewKeeper, frame, tell) {
    applied = turn()
    apply.call(this, frame, tell)
  }
  t.teardown(() => {
    ViewKeeper.prototype.apply = apply
  })
  await publishLarge(t)
  t.true(turn() > applied)
})

for (const what of ['groups', 'topics'] as const) {
  test(`${what} that are made by their first use have a turn each`, async (t) => {
    const { broker, clock } = await startBroker(t)
    const count = 20
    endSlicesAtOnce(t, clock)
    const turns = countTurns(t)
    await Promise.all(Array.from({ length: count }, (_, i) => broker[what].ensure(`new-${i}`)))
    t.true(turns() >= count - 1, `${turns()} turns`)
  })
}

const HELD = 600

test('the pulls and receives that wait on a deleted topic are refused over several turns', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  await broker.groups.ensure('billing')
  const turn = countTurns(t)
  const perTurn = new Map<number, number>()
  const refused = async (waiting: Promise<unknown>): Promise<void> => {
    await t.throwsAsync(waiting, { code: 'TOPIC_NOT_FOUND' })
    perTurn.set(turn(), (perTurn.get(turn()) ?? 0) + 1)
  }
  const all = Array.from({ length: HELD }, (_, n) => [
    refused(broker.pull(pullRequest('orders', { waitMs: 20_000 }))),
    refused(
      broker.receive(
        receiveRequest('orders', 'billing', { memberId: `member-${n}`, waitMs: 20_000 }),
      ),
    ),
  ])
  await new Promise((resolve) => setImmediate(resolve))
  await broker.topics.delete('orders')
  await Promise.all(all.flat())
  const most = Math.max(...perTurn.values())
  t.true(most <= HELD, `${most} of ${2 * HELD} in one turn`)
})

test('a pull that waits on a deleted topic does not read the one that is made anew', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  const held = Array.from({ length: HELD }, () =>
    broker.pull(pullRequest('orders', { waitMs: 20_000 })),
  )
  const ends = Promise.allSettled(held)
  await new Promise((resolve) => setImmediate(resolve))
  const deleted = broker.topics.delete('orders')
  await broker.publish([newMessage('orders', { queueId: 0 })])
  await deleted
  t.true((await ends).every(({ status }) => status === 'rejected'))
})
