// One group of unmodified clients of every kind: two Java members and one of Go, which share its
// queues among themselves, and one over MQTT and one over AMQP, which share per message. Members
// join, leave and are killed while messages come. `TRIVET_MIXED_MESSAGES` says how many.
import { setTimeout as delay } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { connect } from '../../src/client/index.ts'
import { type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import { mqtt5 } from '../matrix/drivers/mqtt.ts'
import { driver as amqp } from '../matrix/drivers/rhea.ts'
import { bodyOf, type ForeignClient } from '../support/foreign-client.ts'
import { goClient, goMissing } from '../support/go-client.ts'
import { java, javaClientMissing, mqadmin } from '../support/java-client.ts'

const missing = (await javaClientMissing()) ?? (await goMissing())
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: a group of every kind of client, because ${missing}\n`)
  test.skip(`a group of every kind of client: ${missing}`, (t) => t.pass())
}
const testAll = missing === undefined ? test.serial : test.skip

const COUNT = Number(process.env['TRIVET_MIXED_MESSAGES'] ?? 6_000)
const QUEUES = 8
const KEYS = 64
const BATCH = 50
const STUCK_MS = 90_000

interface Member {
  readonly name: string
  readonly bodies: readonly string[]
}

class Group {
  readonly members: Member[] = []
  readonly #t: ExecutionContext
  readonly #server: SpawnedServer
  readonly topic: string
  readonly group: string

  constructor(t: ExecutionContext, server: SpawnedServer, name: string) {
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
    return this.#foreign(`java ${instance}`, await java(this.#t, 'push', { ...common, ...options }))
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
    return (protocol === 'mqtt' ? mqtt5 : amqp).openConsumer(at, {
      ...{ topic, group, clientId },
      received: ({ body }) => void bodies.push(Buffer.from(body).toString()),
    })
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

  #foreign(name: string, client: ForeignClient): ForeignClient {
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
async function produce(group: Group, steps: readonly (() => Promise<unknown>)[]): Promise<void> {
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
      await steps[step]?.()
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
    async () => (await group.go()).ready(),
    async () => {
      second = await group.java('two')
      await second.ready()
    },
    async () => {
      links = await group.perMessage('amqp', 'amqp-1')
    },
    async () => {
      const shown = await mqadmin('consumerConnection', '-n', group.nameServer, '-g', group.group)
      t.regex(shown, /0\.0\.0\.0@/)
    },
    () => first.kill(),
    () => mqtt.close(),
    () => second.stop(),
    () => links.close(),
  ])
  const counts = [...group.counts().values()]
  t.log(group.seen(), `${counts.filter((count) => count > 1).length} came again`)
  t.pass()
})
