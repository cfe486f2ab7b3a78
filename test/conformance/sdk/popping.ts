// Consuming per message through the SDK, with TrivetMQ and with RocketMQ 5.
import test from 'ava'
import type { Delivery } from '../../../src/client/index.ts'
import { type MakeClient, type MakeTopic, nameOf, numbers, sendMany, WAIT_MS } from './support.ts'

export function popping(client: MakeClient, topic: MakeTopic): void {
  /** A new topic with so many messages, popped by a new group. */
  const consumed = async (t: Parameters<MakeClient>[0], count: number, queues?: number) => {
    const mq = await client(t)
    const name = await topic(mq, queues)
    const group = nameOf('g')
    await sendMany(mq, name, 0, count)
    const pop = (options = {}, receive = {}) =>
      mq.pop(
        { group, topic: name, from: 'first', ...options },
        { max: 32, waitMs: WAIT_MS, ...receive },
      )
    const popAll = async (wanted: number): Promise<Delivery[]> => {
      const all: Delivery[] = []
      while (all.length < wanted) all.push(...(await pop()))
      return all
    }
    return { mq, name, group, pop, popAll }
  }
  const texts = (deliveries: readonly Delivery[]): string[] => deliveries.map((one) => one.text())

  test('popped and acknowledged messages do not come again', async (t) => {
    const { pop, popAll } = await consumed(t, 20)
    const popped = await popAll(20)
    t.deepEqual(texts(popped).toSorted(), numbers(0, 20).toSorted())
    await Promise.all(popped.map((one) => one.ack()))
    t.true(popped.every(({ isExpired }) => isExpired))
    await t.throwsAsync(popped[0]!.ack(), { code: 'RECEIPT_EXPIRED' })
    t.deepEqual(await pop({}, { waitMs: 0 }), [])
  })

  test('a pop that waits is answered by the next message', async (t) => {
    const { mq, name, popAll } = await consumed(t, 1)
    await Promise.all((await popAll(1)).map((one) => one.ack()))
    const waiting = popAll(1)
    await mq.send({ topic: name, body: 'late' })
    const [late] = await waiting
    t.is(late?.text(), 'late')
    t.is(late?.topic, name)
    await late?.ack()
  })

  test('a popped message that is refused comes again, as another attempt', async (t) => {
    const { name, popAll } = await consumed(t, 1)
    const [first] = await popAll(1)
    t.is(first?.attempt, 1)
    await first?.nack({ delayMs: 1000 })
    const [again] = await popAll(1)
    t.is(again?.text(), '0')
    t.is(again?.topic, name)
    t.is(again?.attempt, 2)
    await again?.ack()
  })

  test('a popped message that failed too often is a dead letter', async (t) => {
    const { mq, group, pop } = await consumed(t, 1)
    const [popped] = await pop({ retriesMax: 0 })
    await popped?.nack()
    const dead = mq.read({ topic: `%DLQ%${group}`, from: 'first' })
    t.is((await dead.next()).value?.text(), '0')
    await dead.return()
  })

  test('an extended message is settled under its new handle', async (t) => {
    const { pop, popAll } = await consumed(t, 1)
    const [popped] = await popAll(1)
    await popped?.extend({ ms: 120_000 })
    t.false(popped?.isExpired)
    await popped?.ack()
    t.deepEqual(await pop({}, { waitMs: 0 }), [])
  })
}
