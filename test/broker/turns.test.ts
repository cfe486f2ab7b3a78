// However much of a group or an owner is over at once, others have their turns in between.
import test from 'ava'
import { GroupQueue } from '../../src/broker/consume/group-queue.ts'
import { openReceipt } from '../../src/broker/consume/receipt.ts'
import { newMessage, receiveRequest, startBroker } from '../support/broker.ts'
import { countTurns, endSlicesAtOnce } from '../support/turns.ts'

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
  const { expire } = GroupQueue.prototype
  const turns = new Set<number>()
  GroupQueue.prototype.expire = function (this: GroupQueue, nowMs, over) {
    turns.add(turn())
    expire.call(this, nowMs, over)
  }
  t.teardown(() => {
    GroupQueue.prototype.expire = expire
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

test('the filters of an owner are let go over many turns', async (t) => {
  const { broker, clock } = await startBroker(t)
  const count = 50
  for (let i = 0; i < count; i++) await broker.lightQueues.bind(`f/${i}`, 'owner')
  endSlicesAtOnce(t, clock)
  const turns = countTurns(t)
  await broker.lightQueues.unbindAll('owner')
  t.true(turns() >= count, `${turns()} turns`)
})
