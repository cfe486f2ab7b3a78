// Subscriptions before a broker without light queues: topics are followed, and matched in memory.
import test, { type ExecutionContext } from 'ava'
import { BrokerError } from '../../../../src/errors.ts'
import { Audience } from '../../../../src/gateway/mqtt/follow/audience.ts'
import type { OutgoingMessage } from '../../../../src/gateway/mqtt/outgoing/outgoing-message.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import { topicOf } from '../../../support/broker.ts'
import {
  FollowedPublisher,
  FollowingClient,
  inRooms,
} from '../../../support/mqtt/following-client.ts'
import { openGateway, startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import { subscriptionOf } from '../../../support/mqtt/mqtt-places.ts'
import { withoutLightQueues } from '../../../support/mqtt/without-light-queues.ts'
import { numberOf } from '../../../support/numbers.ts'
import { overridden } from '../../../support/overridden.ts'
import { freshSeed, Random } from '../../../support/random.ts'
import { eventually } from '../../../support/waiting.ts'

const FILTERS = ['a/#', 'a/x', '+/x', '#', 'b/+', 'c/x', 'c/#', 'b/x/#', 'a/+/1']
const NAMES = ['a/x', 'a/y', 'a/y/1', 'b/x', 'b/y', 'c/x', 'c/z/1']
const TOPICS = ['a', 'b', 'c']
const STEPS = 120

test('sessions get exactly what they subscribed to, whatever happens in between', (t) =>
  live(t, freshSeed(t)))

// Of these, sessions once got messages of before, missed some of a topic that was made again, and
// got some again.
for (const seed of [684_377, 512_979, 251_328]) {
  test(`sessions get what they subscribed to while topics are deleted and made again (${seed})`, (t) =>
    live(t, seed))
}

async function live(t: ExecutionContext, seed: number): Promise<void> {
  const random = new Random(seed)
  // Readers make no topics at a cluster.
  const options = { autoCreateTopics: false }
  const first = await startMqttOver(t, { bend: withoutLightQueues, broker: options })
  const { broker } = first
  const second = await openGateway(t, withoutLightQueues(broker))
  const ports = [first.port, second.port]
  const publishers = await Promise.all(
    ports.map((port, i) => FollowedPublisher.connect(port, `publisher-${i}`)),
  )
  const clients = Array.from({ length: 4 }, (_, i) => new FollowingClient(`client-${i}`))
  t.teardown(() => {
    for (const one of clients) one.cut()
    for (const one of publishers) one.end()
  })
  let count = 0
  /** Messages of one name are in order while its topic stays as it is. */
  const changes = new Map<string, number>()
  const orders: string[] = []
  const publish = async (names: readonly string[]): Promise<void> => {
    const messages = names.map((name) => [name, `m${count++}`] as const)
    for (const name of names) orders.push(`${name} ${changes.get(name.slice(0, 1)) ?? 0}`)
    await random.pick(publishers).publish(messages)
    for (const [name, text] of messages) for (const one of clients) one.published(name, text)
  }
  const changeTopic = async (): Promise<string> => {
    const topic = random.pick(TOPICS)
    changes.set(topic, (changes.get(topic) ?? 0) + 1)
    const isThere = (await broker.topics.get(topic)) !== undefined
    if (!isThere || random.chance(0.5)) {
      await broker.topics.put(topicOf(topic, isThere ? 4 : 1 + random.int(3)))
      return `${topic} is ${isThere ? 'changed' : 'made'}`
    }
    for (const one of clients) one.giveUp((name) => name.startsWith(`${topic}/`))
    await broker.topics.delete(topic)
    return `${topic} is deleted`
  }
  const step = async (): Promise<string> => {
    const client = random.pick(clients)
    const kind = random.int(12)
    if (kind < 4) {
      const names = Array.from({ length: 1 + random.int(12) }, () => random.pick(NAMES))
      await publish(names)
      return `publish ${names}`
    }
    if (kind === 4) {
      return changeTopic()
    }
    if (!client.isConnected || kind === 5) {
      await client.connect(random.pick(ports))
      return `${client.clientId} connects`
    }
    if (kind < 8) {
      const filter = random.pick(FILTERS)
      await client.subscribe(filter)
      return `${client.clientId} subscribes to ${filter}`
    }
    if (kind === 8) {
      const filter = random.pick(FILTERS)
      await client.unsubscribe(filter)
      return `${client.clientId} unsubscribes from ${filter}`
    }
    if (kind === 9) {
      if (client.isSlow) client.goOn()
      else client.isSlow = true
      return `${client.clientId} is ${client.isSlow ? 'slow' : 'quick'}`
    }
    if (kind === 10) client.cut()
    else client.leave()
    return `${client.clientId} goes`
  }
  const steps: string[] = []
  for (let i = 0; i < STEPS; i++) {
    const before = count
    steps.push(`m${before}: ${await step()}`)
  }
  for (const client of clients) {
    await client.connect(random.pick(ports))
    client.goOn()
  }
  const all = (): Promise<true> =>
    eventually(async () => clients.every(({ missing }) => missing.length === 0) || undefined)
  await all().catch((error: unknown) => {
    const missing = clients.map(({ clientId, filters, missing, expected }) => {
      const texts = missing.map((text) => `${text} of ${expected.get(text)!.name}`)
      return `${clientId} of ${[...filters]} misses ${texts}`
    })
    throw new Error(`${steps.join('\n')}\n${missing.join('\n')}`, { cause: error })
  })
  // What should not come would stand before these.
  await publish(NAMES)
  await all()
  for (const { clientId, taken, expected } of clients) {
    const last = new Map<string, number>()
    const seen = new Set<string>()
    for (const { name, text, isDup } of taken) {
      t.true(expected.has(text), `${clientId} got ${text} of ${name}\n${steps.join('\n')}`)
      if (seen.has(text)) {
        t.true(isDup, `${clientId} got ${text} of ${name} again\n${steps.join('\n')}`)
        continue
      }
      seen.add(text)
      const serial = Number(text.slice(1))
      const order = orders[serial]!
      t.true(serial > (last.get(order) ?? -1), `${clientId}: ${text} of ${order} out of order`)
      last.set(order, serial)
    }
  }
}

test('a message visits the sessions that want it and no others', (t) => {
  const audience = new Audience<string>()
  const visited: string[] = []
  for (let i = 0; i < 1000; i++) {
    for (const filter of [`rooms/${i}/+`, ...(i < 3 ? ['rooms/#'] : [])]) {
      audience.add(filter, {
        alone: [subscriptionOf(filter, [])],
        recipient: { offer: (queue) => visited.push(`${queue} ${i} ${filter}`) },
      })
    }
  }
  const count = audience.offer('q', { topicName: 'rooms/2/x' } as OutgoingMessage)
  t.is(count, 4)
  t.deepEqual(visited.sort(), ['q 0 rooms/#', 'q 1 rooms/#', 'q 2 rooms/#', 'q 2 rooms/2/+'])
})

test('one read of a topic serves all sessions', async (t) => {
  let pulls = 0
  const bend = (broker: Broker): Broker =>
    overridden(withoutLightQueues(broker), {
      pull: (request) => {
        pulls++
        return broker.pull(request)
      },
    })
  const { port } = await startMqttOver(t, { bend })
  const clients = Array.from({ length: 20 }, (_, i) => new FollowingClient(`client-${i}`))
  t.teardown(() => {
    for (const one of clients) one.cut()
  })
  for (const client of clients) {
    await client.connect(port)
    await client.subscribe('rooms/+')
  }
  const publisher = await FollowedPublisher.connect(port, 'publisher')
  t.teardown(() => publisher.end())
  await publisher.publish([['rooms/a', 'm0']])
  for (const client of clients) client.published('rooms/a', 'm0')
  await eventually(async () => clients.every(({ missing }) => missing.length === 0))
  t.true(pulls <= 3, `${pulls} reads`)
})

test('what comes while a queue cannot be read is sent once it can', async (t) => {
  let isDown = false
  let refused = 0
  const bend = (broker: Broker): Broker =>
    overridden(withoutLightQueues(broker), {
      pull: async (request) => {
        if (!isDown) return broker.pull(request)
        refused++
        throw new BrokerError('UNREACHABLE', 'the broker is away')
      },
    })
  const { port } = await startMqttOver(t, { bend })
  const client = new FollowingClient('client')
  t.teardown(() => client.cut())
  await client.connect(port)
  await client.subscribe('rooms/+')
  const publisher = await FollowedPublisher.connect(port, 'publisher')
  t.teardown(() => publisher.end())
  isDown = true
  await publisher.publish([['rooms/a', 'm0']])
  client.published('rooms/a', 'm0')
  await eventually(async () => refused > 1)
  t.deepEqual(client.taken, [])
  isDown = false
  await eventually(async () => client.missing.length === 0)
  t.is(client.taken.length, 1)
})

test('how far a session is behind that takes no more is shown', async (t) => {
  const { port, numbers } = await startMqttOver(t, { bend: withoutLightQueues })
  const { client, publisher } = await inRooms(t, port)
  await client.connect(port)
  await client.subscribe('rooms/+')
  client.isSlow = true
  await publisher.publish(Array.from({ length: 10 }, (_, i) => ['rooms/a', `m${i}`] as const))
  for (let i = 0; i < 10; i++) client.published('rooms/a', `m${i}`)
  const behind = () => numberOf(numbers, 'trivet_mqtt_session_lag_messages{client_id="client"}')
  await eventually(async () => (await behind()) === 6)
  client.goOn()
  await eventually(async () => client.missing.length === 0)
  await eventually(async () => (await numberOf(numbers, 'trivet_mqtt_backlog_messages')) === 0)
  t.pass()
})

test('a session that was further at another gateway gets nothing again', async (t) => {
  const first = await startMqttOver(t, { bend: withoutLightQueues })
  const { broker } = first
  let isDeaf = false
  const late = overridden(withoutLightQueues(broker), {
    watch: (topic, arrived) => broker.watch(topic, (...news) => isDeaf || arrived(...news)),
  })
  const second = await openGateway(t, late)
  const [client, other] = [new FollowingClient('client'), new FollowingClient('other')]
  const publisher = await FollowedPublisher.connect(first.port, 'publisher')
  t.teardown(() => {
    for (const one of [client, other]) one.cut()
    publisher.end()
  })
  await other.connect(second.port)
  await other.subscribe('rooms/+')
  await client.connect(first.port)
  await client.subscribe('rooms/+')
  isDeaf = true
  const publish = async (text: string): Promise<void> => {
    await publisher.publish([['rooms/a', text]])
    client.published('rooms/a', text)
    await eventually(async () => client.missing.length === 0)
  }
  await publish('m0')
  await publish('m1')
  client.leave()
  await client.connect(second.port)
  isDeaf = false
  await publish('m2')
  t.deepEqual(
    client.taken.map(({ text }) => text),
    ['m0', 'm1', 'm2'],
  )
})

test('a place is not taken for one in a topic that was made again before it was known', async (t) => {
  const first = await startMqttOver(t, { bend: withoutLightQueues })
  const { broker } = first
  const { client, publish } = await inRooms(t, first.port)
  await broker.topics.put(topicOf('rooms', 1))
  await client.connect(first.port)
  await client.subscribe('rooms/+')
  await publish('m0', 'm1')
  await eventually(async () => client.missing.length === 0)
  client.leave()
  await eventually(async () => (await broker.states.load('mqtt/session/client')) !== undefined)
  await broker.topics.delete('rooms')
  const told: ((topic: string) => void)[] = []
  const topics = overridden(broker.topics, {
    watch: (changed) => {
      told.push(changed)
      return { [Symbol.dispose]: () => {} }
    },
  })
  const second = await openGateway(t, overridden(withoutLightQueues(broker), { topics }))
  await client.connect(second.port)
  await broker.topics.put(topicOf('rooms', 1))
  await publish('n0', 'n1', 'n2')
  for (const tell of told) tell('rooms')
  await eventually(async () => client.missing.length === 0)
  t.deepEqual(
    client.taken.map(({ text }) => text),
    ['m0', 'm1', 'n0', 'n1', 'n2'],
  )
})

test('a queue of a broker that is back goes on where the session was', async (t) => {
  const first = await startMqttOver(t, { bend: withoutLightQueues })
  const { broker } = first
  let isAway = true
  const isThere = (queueId: number): boolean => queueId === 0 || !isAway
  const topics = overridden(broker.topics, {
    ranges: async (name) =>
      (await broker.topics.ranges(name)).filter(({ queueId }) => isThere(queueId)),
  })
  const half = overridden(withoutLightQueues(broker), {
    topics,
    watch: (topic, arrived) =>
      broker.watch(topic, (brokerName, queueId, maxOffset) => {
        if (isThere(queueId)) arrived(brokerName, queueId, maxOffset)
      }),
  })
  const second = await openGateway(t, half)
  const { client, publisher } = await inRooms(t, first.port)
  const publish = async (part: string): Promise<void> => {
    const messages = Array.from({ length: 8 }, (_, i) => [`rooms/${i}`, `${part}${i}`] as const)
    await publisher.publish(messages)
    for (const [name, text] of messages) client.published(name, text)
  }
  await broker.topics.put(topicOf('rooms', 2))
  await client.connect(first.port)
  await client.subscribe('rooms/+')
  await publish('m')
  await eventually(async () => client.missing.length === 0)
  client.leave()
  await client.connect(second.port)
  isAway = false
  await publish('n')
  await eventually(async () => client.missing.length === 0)
  const texts = client.taken.map(({ text }) => text)
  t.deepEqual(texts, [...new Set(texts)])
})

/** Counts how often a front-end asks how far topics reach. */
function rangesAsked() {
  const asked = { times: 0 }
  const bend = (broker: Broker): Broker => {
    const ranges: Broker['topics']['ranges'] = (name) => {
      asked.times++
      return broker.topics.ranges(name)
    }
    const topics = overridden(broker.topics, { ranges })
    return overridden(withoutLightQueues(broker), { topics })
  }
  return { asked, bend }
}

test('a session that comes back asks for its topics once, however many filters it has', async (t) => {
  const { asked, bend } = rangesAsked()
  const { port } = await startMqttOver(t, { bend })
  const { client, publisher } = await inRooms(t, port)
  await client.connect(port)
  for (let i = 0; i < 20; i++) await client.subscribe(`rooms/${i}/+`)
  client.leave()
  asked.times = 0
  await client.connect(port)
  await publisher.publish([['rooms/19/x', 'm0']])
  client.published('rooms/19/x', 'm0')
  await eventually(async () => client.missing.length === 0)
  t.is(client.taken.length, 1)
  t.true(asked.times <= 4, `${asked.times} times`)
})

test('sessions that come back to a gateway that reads their topics ask for none', async (t) => {
  const { asked, bend } = rangesAsked()
  const { port } = await startMqttOver(t, { bend })
  const { client, publisher } = await inRooms(t, port)
  await client.connect(port)
  await client.subscribe('rooms/+/+')
  await publisher.publish([['rooms/1/x', 'm0']])
  client.published('rooms/1/x', 'm0')
  await eventually(async () => client.missing.length === 0)
  client.leave()
  await client.connect(port)
  asked.times = 0
  for (let i = 0; i < 10; i++) {
    client.leave()
    await client.connect(port)
  }
  t.is(asked.times, 0)
  await publisher.publish([['rooms/2/x', 'm1']])
  client.published('rooms/2/x', 'm1')
  await eventually(async () => client.missing.length === 0)
  t.is(client.taken.length, 2)
})

test('a session that is behind hears of a topic made again whose first message cannot be read', async (t) => {
  const first = await startMqttOver(t, { bend: withoutLightQueues })
  const { broker } = first
  let failures = 0
  const deaf = overridden(withoutLightQueues(broker), {
    topics: overridden(broker.topics, { watch: () => ({ [Symbol.dispose]: () => {} }) }),
    pull: async (request) => {
      if (failures > 0 && request.offset === 0 && request.maxMessages === 1) {
        failures--
        throw new BrokerError('UNREACHABLE', 'the broker is away')
      }
      return broker.pull(request)
    },
  })
  await broker.topics.put(topicOf('rooms', 1))
  const second = await openGateway(t, deaf)
  const { client, publish } = await inRooms(t, first.port)
  await client.connect(second.port)
  await client.subscribe('rooms/+')
  client.isSlow = true
  await publish(...Array.from({ length: 10 }, (_, i) => `m${i}`))
  await eventually(async () => client.taken.length === 4)
  client.giveUp(() => true)
  failures = 1
  await broker.topics.delete('rooms')
  await broker.topics.put(topicOf('rooms', 1))
  await publish('n0', 'n1', 'n2')
  await eventually(async () => failures === 0)
  client.goOn()
  await eventually(async () => client.missing.length === 0)
  t.deepEqual(
    client.taken.map(({ text }) => text).filter((text) => text.startsWith('n')),
    ['n0', 'n1', 'n2'],
  )
})
