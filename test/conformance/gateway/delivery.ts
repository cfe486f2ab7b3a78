// Sending, receiving and settling: what an acknowledgement promises, and what comes again.
import test from 'ava'
import { bodiesOf, pullRequest } from '../../support/broker.ts'
import { freshSeed, Random } from '../../support/random.ts'
import { eventually } from '../../support/waiting.ts'
import type { Client, Delivery, Driver, Reader } from './driver.ts'
import { type Served, serve, serveOver, TOPIC } from './server.ts'

const GROUP = 'workers'
const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i}`)
const textOf = ({ body }: Delivery): string => body.toString()

async function takeAll(reader: Reader, count: number): Promise<Delivery[]> {
  const taken: Delivery[] = []
  while (taken.length < count) taken.push(await reader.take())
  return taken
}

/** Each message is acknowledged in turn or all at once. @throws unless all are accepted */
async function sendAll(client: Client, bodies: readonly (string | Buffer)[]): Promise<void> {
  const verdicts = await Promise.all(bodies.map((body) => client.send(TOPIC, body)))
  const refused = verdicts.filter((verdict) => verdict !== 'accepted')
  if (refused.length > 0) throw new Error(`${refused.length} were ${refused[0]}`)
}

export function deliveryCases(driver: Driver, isUnsteady: boolean): void {
  const name = `${driver.name}${isUnsteady ? ' over an unsteady broker' : ''}`
  const start = (t: Parameters<typeof serve>[0]): Promise<Served> =>
    serve(t, driver, isUnsteady ? { unsteady: { seed: freshSeed(t) } } : {})

  test(`${name}: messages are received as they were, in the order sent`, async (t) => {
    const served = await start(t)
    const random = new Random(1)
    const bodies: Buffer[] = [Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))]
    for (let i = 0; i < 200; i++)
      bodies.push(random.bytes(1 + random.int(i % 20 === 0 ? 30_000 : 99)))
    const reader = await (await served.connect()).reader(TOPIC, GROUP)
    await sendAll(await served.connect(), bodies)
    for (const [i, body] of bodies.entries()) {
      const delivery = await reader.take()
      t.true(delivery.body.equals(body), `message ${i}`)
      await delivery.accept()
    }
  })

  test(`${name}: what is acknowledged is on the disk`, async (t) => {
    const served = await start(t)
    const client = await served.connect()
    for (const body of numbered(20)) t.is(await client.send(TOPIC, body), 'accepted')
    const after = await served.host.crash()
    t.deepEqual(bodiesOf(await after.broker.pull(pullRequest(TOPIC))), numbered(20))
  })

  for (const [how, go] of [
    ['is lost', (client: Client) => client.cut()],
    ['ends in order', (client: Client) => client.leave()],
  ] as const) {
    test(`${name}: what was not settled when its connection ${how} comes again, and no more`, async (t) => {
      const served = await start(t)
      const sender = await served.connect()
      const first = await served.connect()
      const held = await first.reader(TOPIC, GROUP)
      await sendAll(sender, numbered(6))
      const taken = await takeAll(held, 6)
      for (const delivery of taken.slice(0, 2)) await delivery.accept()
      await go(first)
      await served.left(1)
      const reader = await (await served.connect()).reader(TOPIC, GROUP)
      const again = await takeAll(reader, 4)
      t.deepEqual(again.map(textOf).sort(), numbered(6).slice(2))
      for (const delivery of again) await delivery.accept()
      await sendAll(sender, ['last'])
      t.is(textOf(await reader.take()), 'last')
    })
  }

  test(`${name}: what was not settled when the front-end stops comes again`, async (t) => {
    const served = await start(t)
    const client = await served.connect()
    const reader = await client.reader(TOPIC, GROUP)
    await sendAll(client, numbered(4))
    const [first] = await takeAll(reader, 4)
    await first!.accept()
    await served.passing(served.gateway.close(1000))
    const next = await serveOver(t, driver, served.host)
    const again = await takeAll(await (await next.connect()).reader(TOPIC, GROUP), 3)
    t.deepEqual(again.map(textOf).sort(), numbered(4).slice(1))
  })

  outcomeCases(driver, name, start)
}

function outcomeCases(
  { outcomes }: Driver,
  name: string,
  start: (t: Parameters<typeof serve>[0]) => Promise<Served>,
): void {
  for (const outcome of outcomes.filter((one) => one !== 'reject')) {
    const word = outcome === 'retry' ? 'failed' : 'was released'
    test(`${name}: a message that ${word} comes again as it was`, async (t) => {
      const served = await start(t)
      const client = await served.connect()
      const reader = await client.reader(TOPIC, GROUP)
      await sendAll(client, ['again'])
      const delivery = await reader.take()
      await delivery[outcome]!()
      const second = await served.passing(reader.take())
      t.is(textOf(second), 'again')
      t.like(second.labels, delivery.labels)
      await second.accept()
    })
  }

  if (!outcomes.includes('reject')) return
  test(`${name}: a message that is rejected is a dead letter, and those behind it come`, async (t) => {
    const served = await start(t)
    const client = await served.connect()
    const reader = await client.reader(TOPIC, GROUP)
    await sendAll(client, ['poison', 'good'])
    const [poison, good] = await takeAll(reader, 2)
    await poison!.reject!()
    await good!.accept()
    const topic = `%DLQ%${GROUP}`
    const dead = await eventually(async () => {
      if ((await served.host.broker.topics.get(topic)) === undefined) return undefined
      const bodies = await served.stored(topic)
      return bodies.length > 0 ? bodies : undefined
    })
    t.deepEqual(dead, ['poison'])
  })
}
