import {
  bodiesOf,
  codeOf,
  codesOf,
  newMessage,
  receiptsOf,
  receiveRequest,
} from '../../support/broker.ts'
import type { BrokerUnderTest, Case } from '../broker.ts'
import { firstQueue, newGroup, newTopic, read, send, WAIT_MS } from './support.ts'

/** A topic to send to; and another with these messages, with the group that receives them. */
async function working({ port }: BrokerUnderTest, ...bodies: string[]) {
  const [from, to] = [await newTopic(port), await newTopic(port)]
  const group = await newGroup(port)
  await send(port, from, ...bodies)
  const receive = (shape: object = {}) =>
    port.receive(receiveRequest(from, group, { waitMs: WAIT_MS, maxMessages: 16, ...shape }))
  return { from, to, group, receive }
}

const ACK = { kind: 'ack' } as const

export function publishingAndSettling(test: Case): void {
  test(
    'messages of several topics and acknowledgements hold together',
    async (t, at) => {
      const { port, pass } = at
      const { from, to, receive } = await working(at, 'a', 'b')
      const receipts = receiptsOf(await receive({ invisibleMs: 10_000 }))
      const bodies = ['1', '2', '3']
      const messages = [...bodies.map((body) => newMessage(to, { body })), newMessage(from)]
      const settlements = receipts.map((receipt) => ({ receipt, verdict: ACK }))
      const stored = await port.publishAndSettle(messages, settlements)
      t.is(stored.length, 4)
      t.deepEqual(await read(port, to, 3), bodies)
      t.deepEqual(bodiesOf(await receive()), ['hello'])
      const late = codesOf(await port.ack(receipts))
      t.true(late.every((code) => code === 'RECEIPT_EXPIRED' || code === null))
      await pass(20_000)
      t.deepEqual(await receive({ waitMs: 0 }), [])
    },
    'together',
  )

  test(
    'one message that is refused: nothing is stored and nothing settled',
    async (t, at) => {
      const { port } = at
      const { to, receive } = await working(at, 'a')
      const receipts = receiptsOf(await receive())
      const messages = [newMessage(to), newMessage(to, { queueId: 77 })]
      const settlements = receipts.map((receipt) => ({ receipt, verdict: ACK }))
      t.is(await codeOf(port.publishAndSettle(messages, settlements)), 'QUEUE_NOT_FOUND')
      t.is(Number((await firstQueue(port, to)).maxOffset), 0)
      t.deepEqual(await port.ack(receipts), [null])
    },
    'together',
  )

  test('messages of one queue and acknowledgements hold together', async (t, at) => {
    const { port, pass } = at
    const { to, receive } = await working(at, 'a', 'b')
    const receipts = receiptsOf(await receive({ invisibleMs: 10_000 }))
    const bodies = ['1', '2', '3']
    const settlements = receipts.map((receipt) => ({ receipt, verdict: ACK }))
    const messages = bodies.map((body) => newMessage(to, { body, orderingKey: 'k' }))
    const stored = await port.publishAndSettle(messages, settlements)
    t.is(stored.length, 3)
    const { brokerName, queueId } = stored[0]!
    t.deepEqual(await read(port, to, 3, { brokerName, queueId }), bodies)
    await pass(20_000)
    t.deepEqual(await receive({ waitMs: 0 }), [])
  })

  test('messages of one queue that are refused: nothing is settled', async (t, at) => {
    const { port } = at
    const { to, receive } = await working(at, 'a')
    const receipts = receiptsOf(await receive())
    const nowhere = { queueId: 77 }
    const settlements = receipts.map((receipt) => ({ receipt, verdict: ACK }))
    const messages = [newMessage(to, nowhere), newMessage(to, nowhere)]
    t.is(await codeOf(port.publishAndSettle(messages, settlements)), 'QUEUE_NOT_FOUND')
    t.deepEqual(await port.ack(receipts), [null])
  })

  test('one receipt that is not good any more: nothing is stored and nothing settled', async (t, at) => {
    const { port } = at
    const { to, receive } = await working(at, 'a', 'b')
    const receipts = receiptsOf(await receive())
    await port.ack(receipts.slice(0, 1))
    const settlements = receipts.map((receipt) => ({ receipt, verdict: ACK }))
    t.is(await codeOf(port.publishAndSettle([newMessage(to)], settlements)), 'RECEIPT_EXPIRED')
    t.is(Number((await firstQueue(port, to)).maxOffset), 0)
    t.deepEqual(await port.ack(receipts.slice(1)), [null])
  })

  test('each message is settled as it is said', async (t, at) => {
    const { port, pass } = at
    const { to, group, receive } = await working(at, 'ack', 'nack', 'release', 'dead')
    const receipts = receiptsOf(await receive())
    const verdicts = [
      ACK,
      { kind: 'nack' },
      { kind: 'release' },
      { kind: 'deadLetter', reason: 'no good' },
    ] as const
    const settlements = receipts.map((receipt, i) => ({ receipt, verdict: verdicts[i]! }))
    await port.publishAndSettle([newMessage(to)], settlements)
    t.deepEqual(await read(port, `%DLQ%${group}`, 1), ['dead'])
    const again: [string, number][] = []
    while (again.length < 2) {
      const receiving = receive()
      await pass(1000)
      for (const message of await receiving) {
        again.push([bodiesOf([message])[0]!, message.attempt])
      }
    }
    t.deepEqual(again.sort(), [['nack', 2], ['release', 1]]) // biome-ignore format: pairs
  })

  test(
    'messages alone, ordered and delayed ones among them, are stored in the order of the calls',
    async (t, at) => {
      const { port, pass } = at
      const to = await newTopic(port, 4)
      const calls = [0, 1, 2, 3, 4].map((i) => {
        const shape = { orderingKey: 'k', body: String(i) }
        const late = newMessage(to, { ...shape, properties: { TIMER_DELAY_MS: '60000' } })
        return port.publishAndSettle(
          i === 2 ? [newMessage(to, shape), late] : [newMessage(to, shape)],
          [],
        )
      })
      const stored = (await Promise.all(calls)).map(([first]) => first!)
      const { brokerName, queueId } = stored[0]!
      t.deepEqual(await read(port, to, 5, { brokerName, queueId }), ['0', '1', '2', '3', '4'])
      const last = read(port, to, 1, { brokerName, queueId, offset: 5 })
      await pass(70_000)
      t.deepEqual(await last, ['2'])
    },
    'together',
  )

  test('settlements alone hold together too', async (t, at) => {
    const { port } = at
    const { receive } = await working(at, 'a', 'b')
    const receipts = receiptsOf(await receive())
    const settlements = receipts.map((receipt) => ({ receipt, verdict: ACK }))
    t.deepEqual(await port.publishAndSettle([], settlements), [])
    const [late] = codesOf(await port.deadLetter(receipts.slice(0, 1), 'late'))
    t.is(late, 'RECEIPT_EXPIRED')
  })
}
