// A share on a filter that is no native group, whose members' sessions end with their connections
// or are kept: all of them read one queue.
import test, { type ExecutionContext } from 'ava'
import { cheapHash } from '../../../support/cheap-password.ts'
import {
  type ClientShape,
  mqttClient,
  persistent,
  spawnMqtt,
  type TestClient,
  VERSIONS,
  type Version,
} from '../../../support/mqtt/mqtt.ts'
import { type CrashingMqtt, startCrashingMqtt } from '../../../support/mqtt/mqtt-crash.ts'
import { startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import { freshSeed, Random } from '../../../support/random.ts'
import { eventually } from '../../../support/waiting.ts'

const SHARE = '$share/workers/jobs/+/a'
const QUEUE = '%LMQ%jobs/+/a'

const numbered = (count: number, prefix = 'm'): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`)

async function member(
  t: ExecutionContext,
  port: number,
  version: Version,
  shape: ClientShape = {},
): Promise<TestClient> {
  const client = await mqttClient(t, port, version, shape)
  await client.subscribe(SHARE)
  return client
}

const publishAll = (publisher: TestClient, texts: readonly string[]) =>
  Promise.all(texts.map((text, i) => publisher.publish(`jobs/${i}/a`, text)))

/** What the members have, once they have as many messages. */
const shared = (members: readonly TestClient[], count: number): Promise<string[]> =>
  eventually(async () => {
    const texts = members.flatMap((one) => one.texts)
    return texts.length >= count && texts
  })

for (const version of VERSIONS) {
  test(`version ${version}: members of both kinds are given each message once`, async (t) => {
    const { port } = await startMqttOver(t)
    const members = [
      await member(t, port, version),
      await member(t, port, version, persistent('kept')),
      await member(t, port, version),
    ]
    const watcher = await mqttClient(t, port, version)
    await watcher.subscribe('jobs/+/a')
    const texts = numbered(300)
    await publishAll(watcher, texts)
    await watcher.messages(300)
    t.deepEqual((await shared(members, 300)).sort(), texts.toSorted())
    for (const { received } of members) t.true(received.length > 30, `${received.length}`)
  })

  test(`version ${version}: what comes while a kept member is away is the others', or waits`, async (t) => {
    const { port, broker } = await startMqttOver(t)
    const kept = await member(t, port, version, persistent('kept'))
    const passing = await member(t, port, version)
    const publisher = await mqttClient(t, port, version)
    await kept.end()
    await publishAll(publisher, numbered(20, 'a'))
    t.deepEqual((await shared([passing], 20)).sort(), numbered(20, 'a').toSorted())
    await passing.end()
    await publishAll(publisher, numbered(20, 'b'))
    const [back, another] = [
      await member(t, port, version, persistent('kept')),
      await member(t, port, version),
    ]
    t.deepEqual((await shared([back, another], 20)).sort(), numbered(20, 'b').toSorted())
    await back.end()
    // A clean start ends the kept session, and the last member that holds the queue has left then.
    await (await mqttClient(t, port, version, { clientId: 'kept', clean: true })).end()
    t.truthy(await rangeOf(broker))
    await another.end()
    await eventually(async () => (await rangeOf(broker)) === undefined)
  })
}

const rangeOf = ({ cursors, identity: { brokerName } }: CrashingMqtt['broker']) =>
  cursors.range({ topic: QUEUE, brokerName, queueId: 0 }).catch(() => undefined)

test('a kept member that unsubscribes leaves the queue to the others, and the other way round', async (t) => {
  const { port } = await startMqttOver(t)
  const kept = await member(t, port, 5, persistent('kept'))
  const passing = await member(t, port, 5)
  const publisher = await mqttClient(t, port, 5)
  await kept.client.unsubscribeAsync(SHARE)
  await publishAll(publisher, ['a'])
  t.deepEqual(await shared([passing], 1), ['a'])
  await kept.subscribe(SHARE)
  await passing.client.unsubscribeAsync(SHARE)
  await publishAll(publisher, ['b'])
  t.deepEqual(await shared([kept], 1), ['b'])
})

test('a session that is taken over, and then begins anew as the other kind, stays a member', async (t) => {
  const { port } = await startMqttOver(t)
  const publisher = await mqttClient(t, port, 5)
  const other = await member(t, port, 5)
  const shapes = [persistent('m'), persistent('m'), { clientId: 'm' }, persistent('m')]
  for (const [round, shape] of shapes.entries()) {
    const taken = await member(t, port, 5, shape)
    const texts = numbered(40, `${round} `)
    await publishAll(publisher, texts)
    // What was acknowledged as the session was taken over may come again.
    const came = await eventually(async () => {
      const all = [other, taken].flatMap((one) => one.texts.filter((text) => texts.includes(text)))
      return all.length >= 40 && all
    })
    t.deepEqual(came.sort(), texts.toSorted())
    t.true(taken.texts.some((text) => texts.includes(text)))
  }
})

test('a kept session that expires while others hold its queue takes nothing from them', async (t) => {
  const mqtt = await startCrashingMqtt(t)
  const shape = { clientId: 'kept', clean: false, expiry: 5, keepalive: 0 }
  const kept = await member(t, mqtt.port, 5, shape)
  const passing = await member(t, mqtt.port, 5, { keepalive: 0 })
  await kept.end()
  await publishAll(passing, ['a'])
  await shared([passing], 1)
  mqtt.clock.advance(6_000)
  await publishAll(passing, ['b'])
  t.deepEqual(await shared([passing], 2), ['a', 'b'])
})

test('members of both kinds may have only what they may read', async (t) => {
  const user = { admin: false, publish: ['*'], create: [], password: cheapHash('pw') }
  const users = {
    may: { ...user, consume: ['MQTT', 'workers'] },
    not: { ...user, consume: ['MQTT', 'others'] },
  }
  const { port } = await startMqttOver(t, { users })
  const as = (username: string, shape: ClientShape) =>
    mqttClient(t, port, 5, { username, password: 'pw', ...shape })
  for (const shape of [{}, persistent('kept')]) {
    const client = await as('not', { ...shape, clientId: `not ${shape.clientId}` })
    await t.throwsAsync(client.subscribe(SHARE))
    await (await as('may', shape)).subscribe(SHARE)
  }
})

test('after an orderly restart and after kill -9 the kept member goes on', async (t) => {
  const server = await spawnMqtt(t)
  // The group begins with one whose session is not kept.
  const first = await member(t, server.port('mqtt'), 5)
  const kept = await member(t, server.port('mqtt'), 5, persistent('kept'))
  await first.end()
  await kept.end()
  const seen: string[] = []
  for (const [i, end] of (['stop', 'kill'] as const).entries()) {
    const port = server.port('mqtt')
    const passing = await member(t, port, 5)
    const publisher = await mqttClient(t, port, 5)
    await publishAll(publisher, numbered(10, `shared${i} `))
    seen.push(...(await shared([passing], 10)))
    await passing.end()
    await publishAll(publisher, numbered(10, `kept${i} `))
    await server[end]()
    await server.start()
    const back = await member(t, server.port('mqtt'), 5, persistent('kept'))
    const came = await eventually(async () => {
      const texts = back.texts.filter((text) => text.startsWith(`kept${i}`))
      return new Set(texts).size === 10 && texts
    })
    seen.push(...came)
    await back.end()
  }
  const all = [0, 1].flatMap((i) => [...numbered(10, `shared${i} `), ...numbered(10, `kept${i} `)])
  t.deepEqual([...new Set(seen)].sort(), all.sort())
})

/** A group over many joins and leaves; one kept session is its member all the time. */
class Model {
  readonly #t: ExecutionContext
  readonly #random: Random
  /** Members are killed, and the broker. */
  readonly #hasLosses: boolean
  readonly #members = new Map<string, TestClient>()
  readonly #all: TestClient[] = []
  readonly published: string[] = []
  #mqtt: CrashingMqtt
  #serial = 0

  constructor(t: ExecutionContext, mqtt: CrashingMqtt, random: Random, hasLosses: boolean) {
    this.#t = t
    this.#mqtt = mqtt
    this.#random = random
    this.#hasLosses = hasLosses
  }

  get received(): string[] {
    return this.#all.flatMap(({ texts }) => texts)
  }

  async join(name: string): Promise<void> {
    if (!this.#hasLosses && this.#members.has(name)) await this.#leave(name, 'end')
    const shape = name.startsWith('kept') ? persistent(name) : { clientId: name }
    const client = await member(this.#t, this.#mqtt.port, 5, { ...shape, keepalive: 0 })
    this.#members.set(name, client)
    this.#all.push(client)
  }

  async step(): Promise<void> {
    const names = [...this.#members.keys()]
    switch (this.#random.int(this.#hasLosses ? 8 : 5)) {
      case 0:
        return this.join(`passing ${this.#serial++}`)
      case 1:
        return this.join(`kept ${this.#random.int(3)}`)
      case 2:
        if (names.length > 0) await this.#leave(this.#random.pick(names), 'end')
        return
      case 5:
        if (names.length > 0) await this.#leave(this.#random.pick(names), 'cut')
        return
      case 6:
        if (this.#random.chance(0.3)) await this.#restart()
        return
      default:
        return this.#publish(1 + this.#random.int(20))
    }
  }

  async settled(): Promise<void> {
    if (this.#members.size === 0) return
    await eventually(async () => {
      // A message that was lost twice waits for its next try.
      if (this.#hasLosses) this.#mqtt.clock.advance(10_000)
      return new Set(this.received).size === this.published.length
    })
  }

  async #leave(name: string, how: 'end' | 'cut'): Promise<void> {
    // A member that leaves in order has acknowledged what it was given.
    if (!this.#hasLosses) await this.settled()
    const client = this.#members.get(name)!
    this.#members.delete(name)
    await client[how]()
  }

  async #restart(): Promise<void> {
    this.#mqtt = await this.#mqtt.restart()
    this.#members.clear()
  }

  async #publish(count: number): Promise<void> {
    const texts = numbered(count, `${this.#serial++} `)
    const publisher = await mqttClient(this.#t, this.#mqtt.port, 4, { keepalive: 0 })
    await publishAll(publisher, texts)
    this.published.push(...texts)
    await publisher.end()
  }
}

for (const hasLosses of [false, true]) {
  const promise = hasLosses ? 'no message is lost' : 'each message comes once'
  test(`${promise} while members of both kinds ${hasLosses ? 'are killed' : 'come and go'}`, async (t) => {
    const model = new Model(t, await startCrashingMqtt(t), new Random(freshSeed(t)), hasLosses)
    await model.join('kept 0')
    for (let i = 0; i < 60; i++) await model.step()
    await model.join('kept 0')
    await model.settled()
    const { received, published } = model
    const got = hasLosses ? [...new Set(received)] : received
    t.deepEqual(got.sort(), published.toSorted())
  })
}
