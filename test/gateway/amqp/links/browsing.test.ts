// Browsing (distribution-mode copy, JMS' QueueBrowser) shows what a group could be handed now, and
// takes nothing.
import test from 'ava'
import { bodyText, type Message, type RheaClient } from '../../../support/amqp/rhea-client.ts'
import { eventually } from '../../../support/waiting.ts'
import { lag, numbered, publish, setup } from '../receiving.ts'

/** Everything there is, by a link of its own. */
async function messagesOf(client: RheaClient, address: string): Promise<Message[]> {
  const source = { address, distribution_mode: 'copy' }
  const browser = await client.receiver({ source, snd_settle_mode: 1 })
  browser.credit(1000)
  await browser.drain()
  const came: Message[] = []
  while (browser.backlog > 0) came.push((await browser.take()).message)
  await browser.detach()
  return came
}

const browsed = async (client: RheaClient, address: string): Promise<string[]> =>
  (await messagesOf(client, address)).map(bodyText)

test('what the group consumed is not shown, in whatever order it was settled', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(10), {}, 0)
  t.deepEqual(await browsed(client, 'orders'), numbered(10))
  const receiver = await client.receiver('orders')
  receiver.credit(8)
  const came = []
  for (let i = 0; i < 8; i++) came.push(await receiver.take())
  for (const i of [0, 1, 3, 4, 6]) came[i]!.delivery?.accept()
  for (const i of [2, 5, 7]) came[i]!.delivery?.release()
  await eventually(async () => ((await lag(broker, 'q-orders')) === 8 ? true : undefined))
  t.deepEqual(await browsed(client, 'orders'), ['m2', 'm5', 'm7', 'm8', 'm9'])
  t.deepEqual(
    (await receiver.accept(5)).map(bodyText),
    ['m2', 'm5', 'm7', 'm8', 'm9'],
    'a browser takes nothing',
  )
  t.deepEqual(await browsed(client, 'orders'), [])
})

test('what is with a consumer is not shown, a retry that is due is', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(3), {}, 0)
  const receiver = await client.receiver('orders')
  receiver.credit(2)
  const first = await receiver.take()
  await receiver.take()
  first.delivery?.modified({
    delivery_failed: true,
    message_annotations: { 'x-opt-delivery-time': Date.now() } as never,
  })
  await eventually(async () => {
    const seen = await browsed(client, 'orders')
    return seen.length === 2 && seen.includes('m0') && seen.includes('m2') ? true : undefined
  })
  const seen = await messagesOf(client, 'orders')
  t.is(seen.find((message) => bodyText(message) === 'm0')?.delivery_count, 1)
})

test('a filter selects among what waits again, and shows nothing between', async (t) => {
  const { broker, client } = await setup(t)
  for (const [i, body] of numbered(6).entries()) {
    await publish(broker, 'orders', [body], { TAGS: i % 2 === 0 ? 'even' : 'odd' }, 0)
  }
  const receiver = await client.receiver('orders')
  receiver.credit(5)
  const came = []
  for (let i = 0; i < 5; i++) came.push(await receiver.take())
  for (const i of [2, 3]) came[i]!.delivery?.accept()
  for (const i of [0, 1, 4]) came[i]!.delivery?.release()
  await eventually(async () => ((await browsed(client, 'orders')).length === 4 ? true : undefined))
  t.deepEqual(await browsed(client, 'orders?tag=even'), ['m0', 'm4'])
  t.deepEqual(await browsed(client, 'orders?tag=odd'), ['m1', 'm5'])
})

test('a named group is browsed, and the log is read from where an offset says', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(4), {}, 0)
  const receiver = await client.receiver('orders::billing')
  await receiver.accept(3)
  await eventually(async () => ((await lag(broker, 'billing')) === 1 ? true : undefined))
  t.deepEqual(await browsed(client, 'orders::billing'), ['m3'])
  t.deepEqual(await browsed(client, 'orders?offset=first'), numbered(4))
  t.deepEqual(await browsed(client, '/topics/orders/queues/0'), numbered(4))
})

test('retries of another topic are passed over, however many bytes they have', async (t) => {
  const { broker, client } = await setup(t)
  const large = 'l'.repeat(700_000)
  let retries = 0
  const fail = async (topic: string, bodies: readonly string[]): Promise<void> => {
    await publish(broker, topic, bodies, {}, 0)
    const receiver = await client.receiver(`${topic}::g`)
    receiver.credit(bodies.length)
    const came = []
    for (const _ of bodies) came.push(await receiver.take())
    const message_annotations = { 'x-opt-delivery-time': Date.now() } as never
    for (const { delivery } of came) {
      delivery?.modified({ delivery_failed: true, message_annotations })
    }
    retries += bodies.length
    await eventually(async () => {
      const [range] = await broker.topics.ranges('%RETRY%g')
      return range?.maxOffset === retries ? true : undefined
    })
    await receiver.detach()
  }
  await fail('bills', [large, large, large])
  await fail('orders', ['retried'])
  t.deepEqual(await browsed(client, 'orders::g'), ['retried'])
})
