// Consumers of one group that each select by a filter of their own, and leave the rest to the
// others.
import test from 'ava'
import fc from 'fast-check'
import { parseSelector } from '../../../src/model/sql92/sql-filter.ts'
import { parseTagFilter } from '../../../src/model/tag-filter.ts'
import {
  bodiesOf,
  codeOf,
  newMessage,
  receiptsOf,
  receiveRequest,
  startBroker,
  type TestBroker,
  topicOf,
} from '../../support/broker.ts'
import { Random } from '../../support/random.ts'

const GROUP = 'q-orders'

async function started(t: Parameters<typeof startBroker>[0], options: object = {}, queues = 1) {
  const at = await startBroker(t, options)
  await at.broker.topics.put(topicOf('orders', queues))
  return at
}

const send = ({ broker }: TestBroker, ...colours: string[]) =>
  broker.publish(
    colours.map((colour, i) =>
      newMessage('orders', { body: `${colour}${i}`, properties: { colour } }),
    ),
  )

const receive = ({ broker }: TestBroker, colour: string, shape: object = {}) =>
  broker.receive(
    receiveRequest('orders', GROUP, {
      ...{ memberId: colour, filter: parseSelector(`colour = '${colour}'`), leavesRest: true },
      ...shape,
    }),
  )

/** Without a selector. */
const receiveAny = ({ broker }: TestBroker, shape: object = {}) =>
  broker.receive(receiveRequest('orders', GROUP, { memberId: 'any', ...shape }))

test('each consumer gets what it selects, and what none selects waits for one that does', async (t) => {
  const at = await started(t)
  await send(at, 'red', 'blue', 'green', 'red', 'blue')
  t.deepEqual(bodiesOf(await receive(at, 'blue')), ['blue1', 'blue4'])
  t.deepEqual(bodiesOf(await receive(at, 'red')), ['red0', 'red3'])
  t.deepEqual(bodiesOf(await receive(at, 'red')), [])
  t.deepEqual(bodiesOf(await receiveAny(at)), ['green2'])
})

test('a waiting consumer gets what another one leaves, and what comes later', async (t) => {
  const at = await started(t)
  const red = receive(at, 'red', { waitMs: 60_000 })
  await send(at, 'blue', 'red')
  t.deepEqual(bodiesOf(await receive(at, 'blue')), ['blue0'])
  t.deepEqual(bodiesOf(await red), ['red1'])
  const green = receive(at, 'green', { waitMs: 60_000 })
  await send(at, 'red', 'green')
  t.deepEqual(bodiesOf(await green), ['green1'])
})

test('what is handed back goes to one that selects it, in its place', async (t) => {
  const at = await started(t)
  await send(at, 'red', 'blue', 'red', 'red')
  const first = await receive(at, 'red', { maxMessages: 2 })
  t.deepEqual(bodiesOf(await receive(at, 'blue')), ['blue1'])
  await at.broker.release(receiptsOf(first))
  t.deepEqual(bodiesOf(await receive(at, 'blue')), [])
  t.deepEqual(bodiesOf(await receive(at, 'red', { memberId: 'other' })), ['red0', 'red2', 'red3'])
})

test('a message that its consumer does not want again waits for another one that selects it', async (t) => {
  const at = await started(t)
  await send(at, 'red', 'red')
  const [first] = receiptsOf(await receive(at, 'red', { maxMessages: 1 }))
  await at.broker.release([first!], { isNotHere: true })
  t.deepEqual(bodiesOf(await receive(at, 'red')), ['red1'])
  t.deepEqual(bodiesOf(await receive(at, 'blue')), [])
  t.deepEqual(bodiesOf(await receive(at, 'red')), [])
  t.deepEqual(bodiesOf(await receive(at, 'red', { memberId: 'other' })), ['red0'])
})

test('what was left survives a restart, and attempts are counted', async (t) => {
  const at = await started(t)
  await send(at, 'blue', 'red')
  const receipts = receiptsOf(await receive(at, 'red'))
  await at.broker.nack(receipts)
  const after = await at.reopen()
  const [red] = await receive(after, 'red')
  t.is(red?.attempt, 2)
  t.deepEqual(bodiesOf(await receiveAny(after)), ['blue0'])
})

test('beyond so many messages that none selects nothing more is found, until they are consumed', async (t) => {
  const at = await started(t, { inFlightMax: 4 })
  await send(at, 'blue', 'blue', 'blue', 'blue', 'red')
  t.deepEqual(bodiesOf(await receive(at, 'red')), [])
  const red = receive(at, 'red', { waitMs: 60_000 })
  const blue = await receive(at, 'blue', { maxMessages: 1 })
  await at.broker.ack(receiptsOf(blue))
  t.deepEqual(bodiesOf(await red), ['red4'])
})

test('a filter that steps over messages and selectors do not share a group at one time', async (t) => {
  const at = await started(t)
  await send(at, 'red', 'blue')
  const tags = { filter: parseTagFilter('TagA') }
  const red = await receive(at, 'red')
  t.is(await codeOf(receiveAny(at, tags)), 'SUBSCRIPTION_CONFLICT')
  await at.broker.ack(receiptsOf(red))
  t.deepEqual(await receiveAny(at, tags), [])
  // The blue one was there for the selectors' consumers, and is when they come back.
  t.deepEqual(bodiesOf(await receive(at, 'blue')), ['blue1'])
})

test('consumers without a selector go on when one with a selector joins', async (t) => {
  const at = await started(t)
  await send(at, 'red', 'blue')
  const [first] = await receiveAny(at, { maxMessages: 1 })
  t.deepEqual(bodiesOf([first!]), ['red0'])
  const red = receive(at, 'red', { waitMs: 60_000 })
  t.deepEqual(bodiesOf(await receiveAny(at)), ['blue1'])
  await at.broker.release(receiptsOf([first!]))
  t.deepEqual(bodiesOf(await red), ['red0'])
})

test('whatever consumers do, each message is consumed once, by one that selects it', async (t) => {
  const colours = ['red', 'blue', 'green'] as const
  await fc.assert(
    fc.asyncProperty(fc.nat(), async (seed) => {
      const random = new Random(seed)
      const at = await started(t, { inFlightMax: 500 }, 3)
      const sent = Array.from({ length: 60 }, () => random.pick(colours))
      const consumed: string[] = []
      let given = 0
      while (consumed.length < sent.length) {
        if (given < sent.length && random.chance(0.3)) {
          const part = sent.slice(given, given + 7)
          const messages = part.map((colour, i) =>
            newMessage('orders', { body: `${colour}${given + i}`, properties: { colour } }),
          )
          await at.broker.publish(messages)
          given += part.length
        }
        const colour = random.pick([...colours, 'any'])
        const shape = { maxMessages: 1 + random.int(4), memberId: `${colour}${random.int(2)}` }
        const got = await (colour === 'any' ? receiveAny(at, shape) : receive(at, colour, shape))
        for (const message of got) {
          const [body] = bodiesOf([message]) as [string]
          if (colour !== 'any') t.true(body.startsWith(colour), `${seed}: ${body} for ${colour}`)
          const what = random.int(4)
          if (what === 0) await at.broker.release([message.receipt])
          else if (what === 1) await at.broker.nack([message.receipt], 0)
          else {
            await at.broker.ack([message.receipt])
            consumed.push(body)
          }
        }
      }
      t.is(new Set(consumed).size, sent.length, String(seed))
      await at.close()
    }),
    { numRuns: 15 },
  )
})
