// One group of unmodified clients of every kind: two Java members and one of Go, which share its
// queues among themselves, and one over MQTT and one over AMQP, which share per message. Members
// join, leave and are killed while messages come. `TRIVET_MIXED_MESSAGES` says how many. With
// `TRIVET_MIXED_NATIVES=apache` native members alone do the same with a broker of Apache's, with
// `trivet` with this one, to compare what comes again.

import { setTimeout as delay } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { type Client, connect } from '../../src/client/index.ts'
import { spawnServer } from '../../test/support/server.ts'
import { mqtt5 } from '../matrix/drivers/mqtt.ts'
import { driver as amqp } from '../matrix/drivers/rhea.ts'
import { startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { bodyOf, type ForeignClient } from '../support/foreign-client.ts'
import { goClient, goMissing } from '../support/go-client.ts'
import { javaAlone, javaClientMissing, mqadmin } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const missing = (await javaClientMissing()) ?? (await goMissing())
const testAll = needing('a group of every kind of client', missing)

const COUNT = Number(process.env['TRIVET_MIXED_MESSAGES'] ?? 6_000)
const QUEUES = 8
const KEYS = 64
const BATCH = 50
const STUCK_MS = 90_000

interface Member {
  readonly name: string
  readonly bodies: readonly string[]
}

interface Listening {
  address(listener: 'nameServer' | 'mqtt' | 'amqp'): string
}

class Group {
  readonly members: Member[] = []
  /** All that came to members, in the order in which it was heard of. */
  readonly heard: string[] = []
  /** What happened last, and how many messages came again after each, from which member to which. */
  event = 'start'
  readonly again = new Map<string, Map<string, number>>()
  readonly #seen = new Map<string, string>()
  readonly #t: ExecutionContext
  readonly #server: Listening
  readonly topic: string
  readonly group: string

  constructor(t: ExecutionContext, server: Listening, name: string) {
    this.#t = t
    this.#server = server
    this.topic = `T_${name}`
    this.group = `G_${name}`
  }

  get nameServer(): string {
    return this.#server.address('nameServer')
  }

  async java(instance: string, options: Record<string, string | boolean> = {}) {
    const { topic, group, nameServer } = this
    const common = { topic, group, nameServer, instance, bodiesOnly: true }
    return this.#foreign(
      `java ${instance}`,
      await javaAlone(this.#t, 'push', { ...common, ...options }),
    )
  }

  async go() {
    const args = [this.nameServer, this.topic, this.group]
    return this.#foreign('go', await goClient(this.#t, 'remoting/go', ...args))
  }

  async perMessage(protocol: 'mqtt' | 'amqp', clientId: string) {
    const bodies: string[] = []
    this.members.push({ name: clientId, bodies })
    const at = {
      nameServer: this.nameServer,
      mqtt: this.#server.address('mqtt'),
      amqp: this.#server.address('amqp'),
    }
    const { topic, group } = this
    const consuming = await (protocol === 'mqtt' ? mqtt5 : amqp).openConsumer(at, {
      ...{ topic, group, clientId },
      received: ({ body }) => {
        const text = Buffer.from(body).toString()
        bodies.push(text)
        this.#hear(text, clientId)
      },
    })
    let closing: Promise<void> | undefined
    const close = (): Promise<void> => (closing ??= consuming.close())
    this.#t.teardown(close)
    return { close }
  }

  /** Sends until this member is given something: it has queues. */
  async untilGiven(client: Client, member: string): Promise<void> {
    const { bodies } = this.members.find(({ name }) => name === member)!
    for (let round = 0; bodies.length === 0; round++) {
      if (round > 60) throw new Error(`nothing came to ${member}; ${this.seen()}`)
      const messages = Array.from({ length: QUEUES }, (_, i) => `${member} ${round} ${i}`)
      await client.sendBatch(messages.map((body) => ({ topic: this.topic, body })))
      await delay(1_000)
    }
  }

  /** Every body that members were given, with how often. */
  counts(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { bodies } of this.members) {
      for (const body of bodies) counts.set(body, (counts.get(body) ?? 0) + 1)
    }
    return counts
  }

  seen(): string {
    return this.members.map(({ name, bodies }) => `${name}: ${bodies.length}`).join(', ')
  }

  async until(count: number): Promise<void> {
    let [last, sinceMs] = [0, Date.now()]
    for (;;) {
      const has = this.counts().size
      if (has >= count) return
      if (has > last) [last, sinceMs] = [has, Date.now()]
      if (Date.now() - sinceMs > STUCK_MS) throw new Error(`${has} of ${count}; ${this.seen()}`)
      await delay(200)
    }
  }

  #hear(text: string, member: string): void {
    this.heard.push(text)
    const before = this.#seen.get(text)
    this.#seen.set(text, member)
    if (before === undefined) return
    const way = `${before} > ${member}`
    const ways = this.again.get(this.event) ?? new Map<string, number>()
    ways.set(way, (ways.get(way) ?? 0) + 1)
    this.again.set(this.event, ways)
  }

  cameAgain(): string {
    return [...this.again].map(([event, ways]) => `${event}: ${[...ways].join('; ')}`).join('\n')
  }

  #foreign(name: string, client: ForeignClient): ForeignClient {
    client.onGot = (got) => this.#hear(bodyOf(got), name)
    this.members.push({
      name,
      get bodies() {
        return client.got.map(bodyOf)
      },
    })
    return client
  }
}

/** Sends 'key/number', each key's in order, in steps between which the group changes. */
async function produce(
  group: Group,
  steps: readonly (readonly [event: string, happen: () => Promise<unknown>])[],
): Promise<void> {
  const client = await connect({ nameServers: [group.nameServer] })
  try {
    const each = Math.ceil(COUNT / (steps.length + 1) / BATCH) * BATCH
    let sent = 0
    for (let step = 0; step <= steps.length; step++) {
      for (let end = sent + each; sent < end; ) {
        const messages = Array.from({ length: BATCH }, () => {
          const key = sent % KEYS
          return {
            topic: group.topic,
            body: `${key}/${Math.floor(sent++ / KEYS)}`,
            orderingKey: `${key}`,
          }
        })
        await Promise.all(messages.map((message) => client.send(message)))
      }
      const [event, happen] = steps[step] ?? []
      if (event !== undefined) group.event = event
      await happen?.()
    }
    await group.until(sent)
  } finally {
    await client.close()
  }
}

async function createTopic({ nameServer, topic }: Group): Promise<void> {
  const client = await connect({ nameServers: [nameServer] })
  await client.admin.topics.create({ name: topic, queues: QUEUES })
  await client.close()
}

testAll('clients of every kind share a group while members come and go', async (t) => {
  t.timeout(900_000)
  const server = await spawnServer(t)
  const group = new Group(t, server, 'everybody')
  await createTopic(group)
  const mqtt = await group.perMessage('mqtt', 'mqtt-1')
  const first = await group.java('one')
  await first.ready()
  let second: ForeignClient
  let links: { close(): Promise<void> }
  await produce(group, [
    ['go joins', async () => (await group.go()).ready()],
    [
      'java two joins',
      async () => {
        second = await group.java('two')
        await second.ready()
      },
    ],
    [
      'amqp-1 joins',
      async () => {
        links = await group.perMessage('amqp', 'amqp-1')
      },
    ],
    [
      'nothing',
      async () => {
        const shown = await mqadmin('consumerConnection', '-n', group.nameServer, '-g', group.group)
        t.regex(shown, /0\.0\.0\.0@/)
      },
    ],
    ['java one is killed', () => first.kill()],
    ['mqtt-1 leaves', () => mqtt.close()],
    ['java two leaves', () => second.stop()],
    ['amqp-1 leaves', () => links.close()],
  ])
  t.log(group.seen(), `came again after\n${group.cameAgain()}`)
  t.pass()
})

const peer = process.env['TRIVET_MIXED_NATIVES']
const testNatives = peer === undefined ? test.skip : testAll

testNatives('native clients alone come and leave as those of every kind', async (t) => {
  t.timeout(900_000)
  const server = peer === 'apache' ? await apache(t) : await spawnServer(t)
  const group = new Group(t, server, 'natives')
  await createTopic(group)
  const clients = new Map<string, ForeignClient>()
  const join = async (instance: string): Promise<void> => {
    const client = await group.java(instance)
    clients.set(instance, client)
    await client.ready()
  }
  const leave = (instance: string): Promise<void> => clients.get(instance)!.stop()
  for (const instance of ['zero', 'one']) await join(instance)
  await produce(group, [
    ['go joins', async () => (await group.go()).ready()],
    ['java two joins', () => join('two')],
    ['java three joins', () => join('three')],
    ['nothing', async () => {}],
    ['java one is killed', async () => clients.get('one')!.kill()],
    ['java zero leaves', () => leave('zero')],
    ['java two leaves', () => leave('two')],
    ['java three leaves', () => leave('three')],
  ])
  t.log(group.seen(), `came again after\n${group.cameAgain()}`)
  t.pass()
})

async function apache(t: ExecutionContext): Promise<Listening> {
  const started = await startApacheRocketmq()
  t.teardown(() => started.stop())
  return { address: () => started.nameServer }
}

for (const strategy of ['average', 'circle', 'hash']) {
  testAll(
    `queues that Java clients leave by ${strategy} are consumed, each message once`,
    async (t) => {
      const server = await spawnServer(t)
      const group = new Group(t, server, strategy)
      await createTopic(group)
      for (const instance of ['one', 'two'])
        await (await group.java(instance, { strategy })).ready()
      await group.perMessage('mqtt', 'mqtt-1')
      const client = await connect({ nameServers: [group.nameServer] })
      t.teardown(() => client.close())
      await group.untilGiven(client, 'mqtt-1')
      await delay(10_000)
      const before = group.counts().size
      const count = 20 * QUEUES
      for (let i = 0; i < count; i++) await client.send({ topic: group.topic, body: `last ${i}` })
      await group.until(before + count)
      const last = [...group.counts()].filter(([body]) => body.startsWith('last'))
      t.true(last.every(([, times]) => times === 1))
      t.log(group.seen())
    },
  )
}

testAll('orderly Java clients and an MQTT client keep the order of each key', async (t) => {
  t.timeout(300_000)
  const server = await spawnServer(t)
  const group = new Group(t, server, 'ordered')
  await createTopic(group)
  const first = await group.java('one', { orderly: true })
  await first.ready()
  let mqtt: { close(): Promise<void> }
  await produce(group, [
    [
      'mqtt-1 joins',
      async () => {
        mqtt = await group.perMessage('mqtt', 'mqtt-1')
      },
    ],
    ['nothing', () => delay(5_000)],
    ['java two joins', async () => (await group.java('two', { orderly: true })).ready()],
    ['nothing', () => delay(5_000)],
    ['mqtt-1 leaves', () => mqtt.close()],
    ['amqp-1 joins', () => group.perMessage('amqp', 'amqp-1')],
    ['java one leaves', () => first.stop()],
  ])
  t.log(group.seen())
  t.deepEqual(outOfOrder(group.heard), [])
})

/** Keys of which a message came before an earlier one; a message that comes again counts once. */
function outOfOrder(bodies: readonly string[]): string[] {
  const seen = new Set<string>()
  const next = new Map<string, number>()
  const wrong: string[] = []
  for (const body of bodies) {
    if (seen.has(body)) continue
    seen.add(body)
    const [key = '', number] = body.split('/')
    if (Number(number) !== (next.get(key) ?? 0)) wrong.push(body)
    next.set(key, Number(number) + 1)
  }
  return wrong
}
