import type { PopDelivery, Popped } from '../../../src/model/message.ts'
import { bodiesOf, receiptsOf, receiveRequest } from '../../support/broker.ts'
import type { BrokerUnderTest, Case } from '../broker.ts'
import { newGroup, newTopic, read, send, WAIT_MS, watched } from './support.ts'

/** A topic with these messages, and a group that pops them. */
async function consumed({ port }: BrokerUnderTest, ...bodies: string[]) {
  const topic = await newTopic(port)
  const group = await newGroup(port)
  await send(port, topic, ...bodies)
  await read(port, topic, bodies.length)
  const request = (shape: object = {}) =>
    receiveRequest(topic, group, { waitMs: WAIT_MS, invisibleMs: 10_000, ...shape })
  const pop = (shape: object = {}) => port.pops.pop(request(shape))
  const receive = (shape: object = {}) => port.receive(request(shape))
  /** The deliveries of a POP, one by one. */
  const named = ({ poppedAt, messages }: Popped): PopDelivery[] =>
    messages.map(({ topic: at, queueId, offset }) => {
      return { group, topic: at, queueId, poppedAt, offsets: [offset] }
    })
  return { group, pop, receive, named }
}

export function popping(test: Case): void {
  test('an acknowledged POP does not come again', async (t, at) => {
    const { pop, named } = await consumed(at, 'a', 'b')
    const popped = await pop()
    t.deepEqual(bodiesOf(popped.messages), ['a', 'b'])
    await at.port.pops.ack(named(popped))
    await at.port.pops.ack(named(popped))
    await at.pass(14_000)
    t.deepEqual((await pop({ waitMs: 0 })).messages, [])
  })

  test('after its time a popped message is popped again, under another name', async (t, at) => {
    const { pop, named } = await consumed(at, 'a')
    const first = await pop()
    const again = pop({ waitMs: 60_000 })
    const state = watched(again)
    await at.pass(9_900)
    t.false(state.isSettled)
    await at.pass(4_000)
    t.deepEqual(bodiesOf((await again).messages), ['a'])
    t.is((await again).messages[0]?.attempt, 2)
    await at.port.pops.ack(named(first))
    t.is(await at.port.pops.change(named(first)[0]!, 1000, false), undefined)
    await at.port.pops.ack(named(await again))
    await at.pass(14_000)
    t.deepEqual((await pop({ waitMs: 0 })).messages, [])
  })

  test('a changed POP begins its time again, and its old name is void', async (t, at) => {
    const { pop, named } = await consumed(at, 'a')
    const [delivery] = named(await pop())
    await at.pass(9_000)
    const changed = await at.port.pops.change(delivery!, 10_000, false)
    t.true(changed! > delivery!.poppedAt)
    await at.port.pops.ack([delivery!])
    const again = pop({ waitMs: 60_000 })
    const state = watched(again)
    await at.pass(9_000)
    t.false(state.isSettled)
    await at.pass(6_000)
    t.deepEqual(bodiesOf((await again).messages), ['a'])
  })

  test('a POP that is handed back unseen counts no attempt', async (t, at) => {
    const { pop, named } = await consumed(at, 'a')
    const [delivery] = named(await pop())
    t.not(await at.port.pops.change(delivery!, 1000, true), undefined)
    await at.pass(5_000)
    t.is((await pop()).messages[0]?.attempt, 1)
  })

  test('POPs and receives share the messages of a group, and its attempts', async (t, at) => {
    const { pop, receive, named } = await consumed(at, 'a', 'b')
    const popped = await pop({ maxMessages: 1 })
    const received = await receive()
    t.deepEqual([...bodiesOf(popped.messages), ...bodiesOf(received)].sort(), ['a', 'b'])
    await at.port.ack(receiptsOf(received))
    await at.pass(14_000)
    const [again] = await receive()
    t.is(again?.attempt, 2)
    await at.port.release(receiptsOf(again === undefined ? [] : [again]))
    const last = await pop()
    t.is(last.messages[0]?.attempt, 2)
    await at.port.pops.ack(named(last))
    await at.pass(14_000)
    t.deepEqual(await receive({ waitMs: 0 }), [])
  })

  test('the name of one group is worth nothing in another', async (t, at) => {
    const { pop, named } = await consumed(at, 'a')
    const other = await newGroup(at.port)
    const [delivery] = named(await pop())
    await at.port.pops.ack([{ ...delivery!, group: other }])
    t.is(await at.port.pops.change({ ...delivery!, group: other }, 1, false), undefined)
    await at.pass(14_000)
    t.deepEqual(bodiesOf((await pop()).messages), ['a'])
  })
}
