// MQTT clients before two masters of a real Apache RocketMQ, through several gateways, with AMQP and
// native clients beside them; gateways and a master are killed in between.
import test, { type ExecutionContext } from 'ava'
import mqtt from 'mqtt'
import {
  type ClientShape,
  mqttClient,
  persistent,
  type TestClient,
} from '../../test/support/mqtt/mqtt.ts'
import type { SpawnedServer } from '../../test/support/server.ts'
import { MatrixClient } from '../matrix/client.ts'
import type { Task } from '../matrix/client-main.ts'
import type { Driver, Producing } from '../matrix/driver.ts'
import { mqtt3, mqtt5 } from '../matrix/drivers/mqtt.ts'
import { driver as amqp } from '../matrix/drivers/rhea.ts'
import { driver as native } from '../matrix/drivers/sdk.ts'
import {
  CLIENTS,
  type ClientName,
  expectedReport,
  idOf,
  KEYS_PER_PRODUCER,
  type Received,
  reportOf,
  type Sample,
  sampleOf,
} from '../matrix/sample.ts'
import {
  type ApacheCluster,
  apacheRocketmqMissing,
  startApacheCluster,
} from '../support/apache-rocketmq.ts'
import {
  BeforeCluster,
  idOfBody,
  ids,
  sendAll,
  sendPatiently,
  until,
} from '../support/before-cluster.ts'

const missing = await apacheRocketmqMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: MQTT before Apache RocketMQ, because ${missing}\n`)
  test.skip(`MQTT before Apache RocketMQ: ${missing}`, (t) => t.pass())
}
const testAll = missing === undefined ? test.serial : test.skip

const MASTER_B = 'broker-b/0'
const EACH = 40
const ROUNDS = 40
const DRIVERS: Readonly<Record<Exclude<ClientName, 'ali-ons'>, Driver>> = {
  mqtt3,
  mqtt5,
  rhea: amqp,
  sdk: native,
}
let apache: ApacheCluster
let before: BeforeCluster

test.before(async (t) => {
  t.timeout(400_000)
  if (missing !== undefined) return
  apache = await startApacheCluster(['broker-a/0', MASTER_B])
  before = new BeforeCluster(apache)
})
test.after.always(() => apache?.stop())

/** Leases so short that what a killed gateway held comes soon. */
const gateway = (t: ExecutionContext): Promise<SpawnedServer> =>
  before.gateway(t, { amqp: { lockMs: 5_000 }, mqtt: { invisibleMs: 5_000 } })

/** Of MQTT 5, with a session that is kept. */
const client = (t: ExecutionContext, server: SpawnedServer, id: string, shape: ClientShape = {}) =>
  mqttClient(t, server.port('mqtt'), 5, { ...persistent(id), ...shape })

/** As `topic text`, each once. */
const heard = (...clients: readonly TestClient[]): string[] => [
  ...new Set(
    clients.flatMap(({ received }) => received.map(({ topic, text }) => `${topic} ${text}`)),
  ),
]

/** Every message of each ordering key, in its order. */
function checkOrder(t: ExecutionContext, received: readonly Received[], sent: readonly Sample[]) {
  const laneOf = ({ producer, lane }: Sample): string => `${producer}/${lane}`
  const order = ids(received).map(sampleOf)
  for (const lane of new Set(sent.map(laneOf))) {
    const isIn = (sample: Sample): boolean => laneOf(sample) === lane
    t.deepEqual(order.filter(isIn).map(idOf), sent.filter(isIn).map(idOf))
  }
}

const untilAll = (
  t: ExecutionContext,
  received: readonly Received[],
  sent: readonly unknown[],
  name: string,
): Promise<void> =>
  until(
    t,
    () => ids(received).length >= sent.length,
    () => `${name}: ${ids(received).length} of ${sent.length}`,
  )

async function untilHeard(
  t: ExecutionContext,
  wanted: readonly string[],
  ...clients: readonly TestClient[]
): Promise<void> {
  await until(
    t,
    () => heard(...clients).length >= wanted.length,
    () => `${heard(...clients).length} of ${wanted.length}`,
  )
  t.deepEqual(heard(...clients).sort(), [...wanted].sort())
}

/** Of ali-ons, in a process of its own, as its connections keep one alive. */
function aliOns(t: ExecutionContext, task: Omit<Task, 'client'>): MatrixClient {
  const started = new MatrixClient({ ...task, client: 'ali-ons' } as Task, () => {})
  t.teardown(() => started.stop())
  return started
}

testAll('every client’s messages reach every client, through two gateways', async (t) => {
  t.timeout(300_000)
  const topic = await before.newTopic('matrix')
  const servers = [await gateway(t), await gateway(t)] as const
  const at = before.addressesOf(servers[0])
  const group = (name: string): string => `matrix-${name}`
  const foreign = [
    aliOns(t, { role: 'consume', at, topic, group: group('ali-ons'), clientId: 'ali-ons' } as Task),
    aliOns(t, { role: 'produce', at, topic, count: EACH } as Task),
  ] as const
  const names = CLIENTS.filter((name) => name !== 'ali-ons')
  const consumers = await Promise.all(
    names.map(async (name, i) => ({
      name,
      received: await before.consumer(t, DRIVERS[name], servers[i % 2]!, {
        ...{ topic, group: group(name) },
      }),
    })),
  )
  await Promise.all(foreign.map(({ ready }) => ready))
  foreign[1].go()
  const sending = names.map(async (name, i) => {
    const producing = await DRIVERS[name].openProducer(before.addressesOf(servers[i % 2]!), topic)
    t.teardown(() => producing.close())
    return sendPatiently(producing, name, EACH, 0)
  })
  const sent = (await Promise.all(sending)).flat()
  for (let n = 0; n < EACH; n++) {
    sent.push({
      producer: 'ali-ons',
      lane: n % KEYS_PER_PRODUCER,
      n: Math.floor(n / KEYS_PER_PRODUCER),
    })
  }
  const [aliConsumer] = foreign
  const aliIds = () => new Set(aliConsumer.reports.map(({ id }) => id))
  await until(
    t,
    () => aliIds().size >= sent.length,
    () => `ali-ons: ${aliIds().size} of ${sent.length} ${aliConsumer.stderr.slice(-300)}`,
  )
  for (const { atUs: _, ...report } of aliConsumer.reports) {
    const { orderingKey, ...rest } = report
    t.deepEqual({ ...rest, orderingKey }, expectedReport(sampleOf(report.id), 'ali-ons'))
  }
  for (const { name, received } of consumers) {
    await untilAll(t, received, sent, name)
    for (const one of received) {
      const report = reportOf(one)
      t.deepEqual(report, expectedReport(sampleOf(report.id), name))
    }
    // What gateways sent.
    const ours = sent.filter(({ producer }) => producer !== 'ali-ons')
    if (name === 'sdk') checkOrder(t, received, ours)
  }
})

testAll('a group goes on without loss when one of its gateways is killed', async (t) => {
  t.timeout(200_000)
  const topic = await before.newTopic('shared')
  const [one, other] = [await gateway(t), await gateway(t)]
  const members = await Promise.all(
    [one, other].map((server) => before.consumer(t, mqtt5, server, { topic, group: 'workers' })),
  )
  const producing = await mqtt3.openProducer(before.addressesOf(other), topic)
  t.teardown(() => producing.close())
  const sent = [...(await sendAll(producing, 'mqtt3', EACH))]
  await until(
    t,
    () => members.flatMap(ids).length > 0,
    () => 'none came',
  )
  await one.kill()
  sent.push(...(await sendAll(producing, 'mqtt3', EACH, EACH)))
  const all = () => [...new Set(members.flatMap(ids))].sort()
  await until(
    t,
    () => all().length >= sent.length,
    () => `${all().length} of ${sent.length}`,
  )
  t.deepEqual(all(), sent.map(idOf).sort())
})

testAll('a gateway that is added in the middle of the load takes its part', async (t) => {
  t.timeout(200_000)
  const topic = await before.newTopic('grown')
  const [one, other] = [await gateway(t), await gateway(t)]
  const join = (server: SpawnedServer) =>
    before.consumer(t, mqtt5, server, { topic, group: 'grown' })
  const members = [await join(one), await join(other)]
  const whole = await before.consumer(t, mqtt5, one, { topic })
  const producing = await mqtt3.openProducer(before.addressesOf(one), topic)
  t.teardown(() => producing.close())
  const sent = [...(await sendAll(producing, 'mqtt3', EACH))]
  const [third, more] = await Promise.all([gateway(t), sendAll(producing, 'mqtt3', EACH, EACH)])
  sent.push(...more)
  const added = await join(third)
  members.push(added)
  const through = await mqtt5.openProducer(before.addressesOf(third), topic)
  t.teardown(() => through.close())
  // Until the new member has had some: the others may take the first ones.
  for (let round = 0; added.length === 0 && round < 20; round++) {
    sent.push(...(await sendAll(through, 'mqtt5', EACH, round * EACH)))
  }
  await until(
    t,
    () => added.length > 0,
    () => 'the member of the new gateway is handed nothing',
  )
  const all = () => [...new Set(members.flatMap(ids))].sort()
  await until(
    t,
    () => all().length >= sent.length,
    () => `${all().length} of ${sent.length}`,
  )
  t.deepEqual(all(), sent.map(idOf).sort())
  await untilAll(t, whole, sent, 'a subscriber of all')
  checkOrder(t, whole, sent)
})

testAll('a group of a filter that is no topic looks at each message', async (t) => {
  t.timeout(200_000)
  const servers = [await gateway(t), await gateway(t)] as const
  const members = await Promise.all(servers.map((server, n) => client(t, server, `looks-${n}`)))
  for (const member of members) await member.subscribe('$share/heat/rooms/+/heat')
  const publisher = await client(t, servers[1], 'rooms')
  const wanted: string[] = []
  for (let n = 0; n < EACH; n++) {
    for (const what of ['heat', 'light']) await publisher.publish(`rooms/${n % 5}/${what}`, `${n}`)
    wanted.push(`rooms/${n % 5}/heat ${n}`)
  }
  await untilHeard(t, wanted, ...members)
  await t.throwsAsync(publisher.subscribe('$share/heat/+/1/heat'))
})

testAll('sessions and retained messages are at the other gateway when one is killed', async (t) => {
  t.timeout(200_000)
  const [one, other] = [await gateway(t), await gateway(t)]
  const publisher = await client(t, other, 'publisher')
  const first = await client(t, one, 'roams')
  await first.subscribe('news/+')
  await first.subscribe('exact/#', { qos: 2 })
  await publisher.publish('kept/a', 'retained', { retain: true })
  await one.kill()
  for (let n = 0; n < 10; n++) {
    await publisher.publish('news/today', `${n}`)
    await publisher.publish('exact/1', `${n}`, { qos: 2 })
  }
  const back = await client(t, other, 'roams')
  await back.subscribe('kept/#')
  const due = Array.from({ length: 10 }, (_, n) => [`news/today ${n}`, `exact/1 ${n}`]).flat()
  await untilHeard(t, [...due, 'kept/a retained'], back)
  const exact = back.received.filter(({ topic }) => topic === 'exact/1')
  t.deepEqual(
    exact.map(({ text }) => text),
    Array.from({ length: 10 }, (_, n) => `${n}`),
  )
})

testAll('a client that connects to two gateways in turn misses nothing', async (t) => {
  t.timeout(300_000)
  const servers = [await gateway(t), await gateway(t)] as const
  const publisher = await client(t, servers[0], 'speaker')
  const lives: TestClient[] = []
  const wanted: string[] = []
  // The client's part of the session; without it what it has of QoS 2 would be lost.
  const incomingStore = new mqtt.Store({ clean: false })
  for (let n = 0; n < ROUNDS; n++) {
    // Each takes over from the one before, which is connected still.
    const roamer = await client(t, servers[n % 2]!, 'alternates', { incomingStore })
    lives.push(roamer)
    if (n === 0) await roamer.subscribe(['turns/+', 'twice/+'], { qos: 2 })
    await publisher.publish('turns/1', `${n}`)
    await publisher.publish('twice/2', `${n}`, { qos: 2 })
    wanted.push(`turns/1 ${n}`, `twice/2 ${n}`)
  }
  await untilHeard(t, wanted, ...lives)
  const twice = lives.flatMap(({ received }) => received.filter(({ qos }) => qos === 2))
  t.is(twice.length, ROUNDS)
})

testAll('the will of a client goes out when its gateway is killed', async (t) => {
  t.timeout(200_000)
  const [one, other] = [await gateway(t), await gateway(t)]
  const watcher = await client(t, other, 'watcher')
  await watcher.subscribe('wills/#')
  const will = { topic: 'wills/1', payload: Buffer.from('gone'), qos: 1, retain: true } as const
  await client(t, one, 'mortal', { will })
  await one.kill()
  await untilHeard(t, ['wills/1 gone'], watcher)
})

/** Ids are chosen by chance, and the master that is away keeps the sessions of some. */
async function joined(server: SpawnedServer, topic: string): Promise<Producing> {
  for (let tries = 0; ; tries++) {
    try {
      return await mqtt5.openProducer(before.addressesOf(server), topic)
    } catch (error) {
      if (tries > 20) throw error
    }
  }
}

testAll('with a master killed publishing goes on, and nothing acknowledged is lost', async (t) => {
  t.timeout(400_000)
  const topic = await before.newTopic('survives')
  const servers = [await gateway(t), await gateway(t)] as const
  const consumers = await Promise.all([
    before.consumer(t, mqtt5, servers[0], { topic }),
    before.consumer(t, mqtt3, servers[1], { topic, group: 'survivors' }),
    before.consumer(t, native, servers[0], { topic, group: 'natives' }),
  ])
  const producing = await mqtt5.openProducer(before.addressesOf(servers[1]), topic)
  t.teardown(() => producing.close())
  const phases: (readonly Sample[])[] = [await sendAll(producing, 'mqtt5', EACH)]
  for (const received of consumers) await untilAll(t, received, phases.flat(), 'before')
  const master = apache.broker(MASTER_B)
  await master.kill()
  phases.push(await sendPatiently(producing, 'mqtt5', EACH, EACH))
  // One more gateway, while a master is away.
  const late = await gateway(t)
  const lateProducing = await joined(late, topic)
  t.teardown(() => lateProducing.close())
  phases.push(await sendPatiently(lateProducing, 'mqtt5', EACH, 2 * EACH))
  await master.start()
  phases.push(await sendPatiently(producing, 'mqtt5', EACH, 3 * EACH))
  for (const received of consumers) await untilAll(t, received, phases.flat(), 'after')
  for (const sent of phases) {
    const own = new Set(sent.map(idOf))
    const received = consumers[0]!.filter(({ body }) => own.has(idOfBody(body)))
    checkOrder(t, received, sent)
  }
})

testAll('while a master is away the sessions that it keeps wait for it', async (t) => {
  t.timeout(400_000)
  const server = await gateway(t)
  const master = apache.broker(MASTER_B)
  await master.kill()
  const names = Array.from({ length: 12 }, (_, n) => `waits-${n}`)
  const joined = await Promise.allSettled(names.map((name) => client(t, server, name)))
  const refused = names.filter((_, n) => joined[n]!.status === 'rejected')
  t.true(refused.length > 0 && refused.length < names.length, `${refused.length} are refused`)
  for (const name of refused) {
    const clean = await mqttClient(t, server.port('mqtt'), 4, { clientId: name, clean: true })
    await clean.publish('orders/clean', name)
    await clean.end()
  }
  await master.start()
  for (const name of refused) {
    await until(
      t,
      () =>
        client(t, server, name).then(
          () => true,
          () => false,
        ),
      () => `${name} is refused`,
    )
  }
})
