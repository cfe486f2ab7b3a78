// JMS' message selectors as a source's filter: at queues, where the rest stays, and at
// subscriptions.
import test from 'ava'
import rhea from 'rhea'
import type { Message, RheaClient } from '../../../support/amqp/rhea-client.ts'
import { bodyText, next } from '../../../support/amqp/rhea-client.ts'
import { eventually } from '../../../support/waiting.ts'
import { lag, setup } from '../receiving.ts'

/** rhea's typings leave them out. */
const types = rhea.types as unknown as { wrap_described(value: string, descriptor: string): object }

const bySymbol = (selector: string): object => ({
  jms: types.wrap_described(selector, 'apache.org:selector-filter:string'),
})

const select = (address: string, filter: object, more: object = {}) => ({
  source: { address, filter, ...more },
})

async function send(client: RheaClient, topic: string, count: number): Promise<void> {
  const sender = await client.sender(`/topics/${topic}/queues/0`)
  for (let n = 0; n < count; n++) {
    await sender.send({ body: `m${n}`, application_properties: { n, odd: n % 2 === 1 } })
  }
}

const texts = (messages: readonly Message[]): string[] => messages.map(bodyText)

test('a selector is taken by its code and by its symbol, and echoed', async (t) => {
  const { client } = await setup(t)
  await send(client, 'orders', 4)
  const byCode = await client.receiver(select('orders', rhea.filter.selector('n > 2')))
  t.deepEqual(texts(await byCode.accept(1)), ['m3'])
  const symbol = await client.receiver(select('orders', bySymbol('odd')))
  t.deepEqual(texts(await symbol.accept(1)), ['m1'])
  for (const receiver of [byCode, symbol]) {
    t.true(JSON.stringify(receiver.link.source.filter ?? {}).includes('jms'))
  }
})

test('consumers of a queue have selectors of their own; what none selects is there for others', async (t) => {
  const { client } = await setup(t)
  const odd = await client.receiver(select('orders', bySymbol('odd')))
  const low = await client.receiver(select('orders', bySymbol('n < 3 AND NOT odd')))
  await send(client, 'orders', 8)
  t.deepEqual(texts(await odd.accept(4)), ['m1', 'm3', 'm5', 'm7'])
  t.deepEqual(texts(await low.accept(2)), ['m0', 'm2'])
  const rest = await client.receiver('orders')
  t.deepEqual(texts(await rest.accept(2)), ['m4', 'm6'])
})

test("a link with a filter of RocketMQ's does not share a queue with selectors", async (t) => {
  const { client } = await setup(t)
  const selecting = await client.receiver(select('orders::g', bySymbol('odd')))
  selecting.credit(1)
  const skipping = await client.receiver('orders::g?tag=TagA')
  const closed = next(skipping.link, 'receiver_error')
  skipping.credit(1)
  t.like((await closed).receiver?.error, { condition: 'amqp:illegal-state' })
})

test('a subscription steps over what its selector does not select', async (t) => {
  const { client, broker } = await setup(t)
  const topic = { capabilities: ['topic'], durable: 2, expiry_policy: 'never' }
  const receiver = await client.receiver({
    name: 'sub',
    ...select('orders', bySymbol('odd'), topic),
  })
  await send(client, 'orders', 4)
  t.deepEqual(texts(await receiver.accept(2)), ['m1', 'm3'])
  const [group] = (await broker.groups.list()).filter(({ name }) => name.endsWith('sub'))
  t.true(await eventually(async () => ((await lag(broker, group!.name)) === 0 ? true : undefined)))
})

test('a browser with a selector sees what it selects, and takes nothing', async (t) => {
  const { client } = await setup(t)
  await send(client, 'orders', 4)
  const more = { distribution_mode: 'copy' }
  const browser = await client.receiver(select('orders', bySymbol('odd'), more))
  t.deepEqual(texts(await browser.accept(2)), ['m1', 'm3'])
  const rest = await client.receiver('orders')
  t.deepEqual(texts(await rest.accept(4)), ['m0', 'm1', 'm2', 'm3'])
})
