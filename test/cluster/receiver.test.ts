// What a gateway has popped for its takers, over a broker of our own.
import test, { type ExecutionContext } from 'ava'
import { ClusterGroups } from '../../src/cluster/definitions/groups.ts'
import { ClusterTopics } from '../../src/cluster/definitions/topics.ts'
import { Links } from '../../src/cluster/links.ts'
import { CLUSTER_DEFAULTS, type ClusterOptions } from '../../src/cluster/options.ts'
import { ClusterPublisher } from '../../src/cluster/publish/cluster-publisher.ts'
import { ClusterCursors } from '../../src/cluster/read/cursors.ts'
import { ClusterReceiver } from '../../src/cluster/receive/receiver.ts'
import { RecordView } from '../../src/model/record.ts'
import { GivenCounts } from '../../src/numbers/given-counts.ts'
import { REQUEST } from '../../src/remoting/codes.ts'
import { newMessage, receiveRequest, topicOf } from '../support/broker.ts'
import { RunningClock } from '../support/running-clock.ts'
import { startServer } from '../support/server.ts'

const LONG_MS = 600_000

async function opened(t: ExecutionContext) {
  const clock = new RunningClock()
  t.teardown(clock.run())
  const server = await startServer(t, { clock })
  const { tls: _, ...defaults } = CLUSTER_DEFAULTS
  const options: ClusterOptions = { ...defaults, nameServers: [server.address('nameServer')] }
  const links = new Links(options, clock)
  t.teardown(() => links.close())
  const parts = { links, clock, options }
  const topics = new ClusterTopics(parts)
  const counts = new GivenCounts(clock)
  t.teardown(() => counts.close())
  const given = (group: string, topic: string, messages: number): void =>
    counts.add(group, topic, messages)
  const groups = new ClusterGroups({ ...parts, topics, given: (group, of) => counts.of(group, of) })
  const cursors = new ClusterCursors({ ...parts, topics })
  const publisher = new ClusterPublisher(parts)
  t.teardown(() => publisher.close())
  const receiver = (own = links) =>
    new ClusterReceiver({ ...parts, links: own, groups, topics, cursors, given })
  await topics.put(topicOf('orders', 1))
  await groups.ensure('workers')
  const send = (...bodies: string[]) =>
    publisher.publish(bodies.map((body) => newMessage('orders', { body, queueId: 0 })))
  return { clock, receiver, send, newLinks: () => new Links(options, clock) }
}

const asked = (more: Parameters<typeof receiveRequest>[2] = {}) =>
  receiveRequest('orders', 'workers', { invisibleMs: LONG_MS, waitMs: 20_000, ...more })

test('an acknowledgement beside an extension of the time counts', async (t) => {
  const { clock, receiver, send } = await opened(t)
  const one = receiver()
  await send('a')
  const [message] = await one.receive(asked({ invisibleMs: 60_000 }))
  const [extended, acked] = await Promise.all([
    one.extend([message!.receipt], 60_000),
    one.ack([message!.receipt]),
  ])
  t.deepEqual([extended, acked], [[null], [null]])
  await clock.pass(70_000)
  await clock.pass(5_000)
  t.deepEqual(await one.receive(asked({ waitMs: 0 })), [])
  t.like(await one.ack([message!.receipt]), [{ code: 'RECEIPT_EXPIRED' }])
})

test('what was popped beyond what a taker wanted goes back at the end', async (t) => {
  const { clock, receiver, send, newLinks } = await opened(t)
  const links = newLinks()
  const [one, other] = [receiver(links), receiver()]
  await send('a', 'b', 'c')
  const [first] = await one.receive(asked({ maxMessages: 3, maxBytes: 1 }))
  t.is(first?.attempt, 1)
  await one.close()
  await links.close()
  const again: number[] = []
  for (let tries = 0; again.length < 2 && tries < 20; tries++) {
    await clock.pass(1_000)
    for (const { attempt } of await other.receive(asked({ waitMs: 0 }))) again.push(attempt)
  }
  t.deepEqual(again, [1, 1])
})

test('what is being settled at the end is settled', async (t) => {
  const { clock, receiver, send, newLinks } = await opened(t)
  const links = newLinks()
  const [one, other] = [receiver(links), receiver()]
  await send('a', 'b')
  const [a, b] = await one.receive(asked({ maxMessages: 2 }))
  const settling = [one.release([a!.receipt]), one.ack([b!.receipt])]
  await one.close()
  await links.close()
  t.deepEqual(await Promise.all(settling), [[null], [null]])
  await clock.pass(5_000)
  const [again] = await other.receive(asked())
  t.is(again?.attempt, 1)
})

test('what a held request is given at the end goes back too', async (t) => {
  const { clock, receiver, send, newLinks } = await opened(t)
  const links = newLinks()
  const [one, other] = [receiver(links), receiver()]
  await send('a')
  const [a] = await one.receive(asked())
  const stop = new AbortController()
  const held = one.receive(asked({ signal: stop.signal }))
  await clock.pass(1_000)
  stop.abort()
  await t.throwsAsync(held, { code: 'ABORTED' })
  void one.release([a!.receipt])
  await one.close()
  await links.close()
  await clock.pass(5_000)
  t.is((await other.receive(asked({ waitMs: 0 }))).length, 1)
})

test('of takers that are gone nothing is remembered', async (t) => {
  const { clock, receiver, send } = await opened(t)
  const one = receiver()
  for (const invisibleMs of [LONG_MS, LONG_MS + 1, LONG_MS + 2]) {
    await send('a')
    t.is((await one.receive(asked({ invisibleMs }))).length, 1)
    await one.receive(asked({ invisibleMs, waitMs: 0 }))
  }
  for (let tries = 0; one.lines > 0 && tries < 20; tries++) await clock.pass(1_000)
  t.is(one.lines, 0)
})

test('while POPs are answered in full, one taker has several under way', async (t) => {
  const { clock, receiver, send, newLinks } = await opened(t)
  const links = newLinks()
  const [one, other] = [receiver(links), receiver()]
  const pops = await popsOf(links)
  const bodies = Array.from({ length: 512 }, (_, i) => `m${i}`)
  await send(...bodies)
  const positions = new Set<number>()
  const take = async (from: typeof one): Promise<void> => {
    const messages = await from.receive(asked({ maxMessages: 256, waitMs: 0 }))
    t.true(messages.every(({ attempt }) => attempt === 1))
    for (const { record } of messages) positions.add(new RecordView(record).queueOffset)
    await from.ack(messages.map(({ receipt }) => receipt))
  }
  for (let times = 0; times < 6; times++) await take(one)
  t.true(pops.most > 1, `${pops.most} at a time`)
  t.true(pops.most <= 8, `${pops.most} at a time`)
  await one.close()
  await links.close()
  for (let tries = 0; positions.size < 512 && tries < 40; tries++) {
    await clock.pass(1_000)
    await take(other)
  }
  t.is(positions.size, 512)
})

test('answers of POPs that pass each other leave a queue its order', async (t) => {
  const { receiver, send, newLinks } = await opened(t)
  const links = newLinks()
  const one = receiver(links)
  await passing(links)
  await send(...Array.from({ length: 1_024 }, (_, i) => `m${i}`))
  const offsets: number[] = []
  while (offsets.length < 1_024) {
    const messages = await one.receive(asked({ maxMessages: 256 }))
    for (const { record } of messages) offsets.push(new RecordView(record).queueOffset)
  }
  t.deepEqual(offsets, [...offsets.keys()])
  await one.close()
  await links.close()
})

/** Of answers that come while others are due, each second one waits until the next has come. */
async function passing({ brokers, routes }: Links): Promise<void> {
  await routes.queues('orders')
  const connection = await brokers.connection('broker-a')
  const request = connection.request.bind(connection)
  let underWay = 0
  let letPass: (() => void) | undefined
  connection.request = async (code, options) => {
    if (code !== REQUEST.popMessage) return request(code, options)
    underWay++
    const answer = await request(code, options)
    underWay--
    if (letPass === undefined && underWay > 0) {
      await new Promise<void>((resolve) => {
        letPass = resolve
      })
    } else {
      // Behind what this answer brings about.
      setImmediate(letPass ?? (() => {}))
      letPass = undefined
    }
    return answer
  }
}

test('POPs under way at one time ask for no more than is wanted', async (t) => {
  const { clock, receiver, send, newLinks } = await opened(t)
  const links = newLinks()
  const one = receiver(links)
  const pops = await popsOf(links)
  await send(...Array.from({ length: 1_024 }, (_, i) => `m${i}`))
  const take = async (maxMessages: number) => (await one.receive(asked({ maxMessages }))).length
  // In full, until several go out at a time.
  for (let received = 0; received < 512; ) received += await take(200)
  t.true(pops.most > 1, `${pops.most} at a time`)
  // As of a link whose credit is used up; it was 200 before as well.
  for (let wanted = 200; wanted > 0; ) wanted -= await take(wanted)
  await clock.pass(2_000)
  t.is(pops.handedBack, 0)
  await one.close()
  await links.close()
})

/** Counts those under way at the broker, and what goes back there. */
async function popsOf({ brokers, routes }: Links): Promise<{ most: number; handedBack: number }> {
  await routes.queues('orders')
  const connection = await brokers.connection('broker-a')
  const request = connection.request.bind(connection)
  const pops = { most: 0, handedBack: 0 }
  let underWay = 0
  connection.request = (code, options) => {
    const answer = request(code, options)
    if (code === REQUEST.changeInvisibleTime) pops.handedBack++
    if (code !== REQUEST.popMessage) return answer
    pops.most = Math.max(pops.most, ++underWay)
    return answer.finally(() => underWay--)
  }
  return pops
}

test('a receive that was called off while its group begins asks for nothing', async (t) => {
  const { receiver } = await opened(t)
  const one = receiver()
  const stop = new AbortController()
  const receiving = one.receive(asked({ startAt: 'last', signal: stop.signal }))
  stop.abort(new Error('called off'))
  await t.throwsAsync(receiving, { message: 'called off' })
  t.is(one.lines, 0)
})

test('in order, takers of two gateways are not given the same', async (t) => {
  const { receiver, send } = await opened(t)
  await send('a', 'b')
  const ordered = { ordered: true, maxMessages: 1 }
  t.is((await receiver().receive(asked(ordered))).length, 1)
  t.deepEqual(await receiver().receive(asked({ ...ordered, waitMs: 0 })), [])
})
