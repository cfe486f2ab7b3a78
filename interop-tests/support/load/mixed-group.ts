// One group of unmodified clients of every kind, and what each of them was given.
import { setTimeout as delay } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { type Client, connect } from '../../../src/client/index.ts'
import { mqtt5 } from '../../matrix/drivers/mqtt.ts'
import { driver as amqp } from '../../matrix/drivers/rhea.ts'
import { bodyOf, type ForeignClient } from '../foreign-client.ts'
import { goClient } from '../go-client.ts'
import { javaAlone } from '../java-client.ts'

const COUNT = Number(process.env['TRIVET_MIXED_MESSAGES'] ?? 6_000)
export const QUEUES = 8
/**
 * By consistent hash a member has none of eight queues in one run of twenty: client ids are made
 * anew. Of so many it has some.
 */
export const QUEUES_OF_RING = 64
/** Of what is sent at a time until a member has something. */
const DOUBLINGS_MAX = 8
const KEYS = 64
const BATCH = 50
const STUCK_MS = 90_000

interface Member {
  readonly name: string
  readonly bodies: readonly string[]
}

export interface Listening {
  address(listener: 'nameServer' | 'mqtt' | 'amqp'): string
}

export class Group {
  readonly members: Member[] = []
  /** All that came to members, in the order in which it was heard of. */
  readonly heard: string[] = []
  /** What happened last, and how many messages came again after each, from which member to which. */
  event = 'start'
  readonly again = new Map<string, Map<string, number>>()
  /** Messages of `untilGiven`. */
  probes = 0
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

  /**
   * Sends until this member is given something: it has queues. More each time: of single messages
   * that come to two members of one gateway, the one that was not given the last may get none.
   */
  async untilGiven(client: Client, member: string): Promise<void> {
    const found = this.members.find(({ name }) => name === member)!
    for (let round = 0; found.bodies.length === 0; round++) {
      if (round > 60) throw new Error(`nothing came to ${member}; ${this.seen()}`)
      const length = QUEUES * 2 ** Math.min(round, DOUBLINGS_MAX)
      const messages = Array.from({ length }, (_, i) => `${member} ${round} ${i}`)
      this.probes += messages.length
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
export async function produce(
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
    await group.until(sent + group.probes)
  } finally {
    await client.close()
  }
}

/** With so many queues at each broker. */
export async function createTopic({ nameServer, topic }: Group, queues = QUEUES): Promise<void> {
  const client = await connect({ nameServers: [nameServer] })
  await client.admin.topics.create({ name: topic, queues })
  await client.close()
}

/** Keys of which a message came before an earlier one; a message that comes again counts once. */
export function outOfOrder(bodies: readonly string[]): string[] {
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
