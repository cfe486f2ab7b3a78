// Sends and a consumer across a crash of the broker.
import type { ExecutionContext } from 'ava'
import type { Delivery } from '../../../src/client/index.ts'
import { eventually } from '../../support/waiting.ts'
import { type MakeClient, type MakeTopic, nameOf } from './support.ts'

/**
 * Sends and a consumer go on across a crash of the broker; what was accepted is delivered, in order
 * of its key.
 */
export async function survives(
  t: ExecutionContext,
  client: MakeClient,
  topic: MakeTopic,
  restart: () => Promise<void>,
): Promise<void> {
  const mq = await client(t, { timeoutMs: 150_000 })
  const name = await topic(mq, 4)
  const seen = new Set<string>()
  const order = new Map<string, number>()
  const disorder: string[] = []
  const accepted = new Set<string>()
  const group = nameOf('g')
  await mq.consume({ group, topic: name, from: 'first' }, (delivery: Delivery) => {
    const key = delivery.orderingKey!
    const n = delivery.json<number>()
    // Repeats are allowed after a crash; going on from further ahead than the next is not.
    if (n > (order.get(key) ?? -1) + 1) disorder.push(`${key}: ${order.get(key)} then ${n}`)
    order.set(key, Math.max(n, order.get(key) ?? -1))
    seen.add(`${key}:${n}`)
  })
  let restarted = false
  const senders = ['a', 'b', 'c', 'd'].map(async (orderingKey) => {
    for (let n = 0; n < 20 || !restarted; n++) {
      await mq.send({ topic: name, orderingKey, body: JSON.stringify(n) })
      accepted.add(`${orderingKey}:${n}`)
    }
    for (let n = 0; n < 5; n++)
      await mq.send({ topic: name, orderingKey: `${orderingKey}2`, body: JSON.stringify(n) })
  })
  await eventually(async () => (seen.size >= 20 ? true : undefined))
  await restart()
  restarted = true
  await Promise.all(senders)
  await eventually(async () => ([...accepted].every((one) => seen.has(one)) ? true : undefined))
  t.deepEqual(disorder, [])
  t.true(accepted.size >= 80)
}
