// The consumers of this front-end: the broker's client registry is told of them, and told again
// before it forgets, and is asked for all members that a group has.
import { BrokerError } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import type { ConsumerRegistration } from '../../../model/client.ts'
import type { Broker } from '../../../port/broker.ts'
import type { GroupSource } from './group-feed.ts'

/** The members of groups: links of this front-end, and all that the registry knows of. */
export class GroupMembers {
  readonly #clients: Broker['clients']
  /** Links per group, over all connections of the front-end. */
  readonly #links = new Map<string, number>()
  /** What the registry is being told. */
  readonly #telling = new Set<Promise<void>>()

  constructor(clients: Broker['clients']) {
    this.#clients = clients
  }

  /** Has it links of this front-end? */
  hasLinks(group: string): boolean {
    return this.#links.has(group)
  }

  /** Has it a member, here or anywhere else? */
  async isConsumed(group: string): Promise<boolean> {
    if (this.hasLinks(group)) return true
    // Links that left here are members to the registry until it has heard.
    await Promise.all(this.#telling)
    return this.hasLinks(group) || (await this.#clients.consumerIds(group)).length > 0
  }

  join(group: string): void {
    this.#links.set(group, (this.#links.get(group) ?? 0) + 1)
  }

  /** `told`: the registry has heard of it; never rejects. */
  leave(group: string, told: Promise<void>): void {
    const left = (this.#links.get(group) ?? 0) - 1
    if (left > 0) this.#links.set(group, left)
    else this.#links.delete(group)
    if (this.#telling.has(told)) return
    this.#telling.add(told)
    void told.then(() => this.#telling.delete(told))
  }
}

export interface PresenceClient {
  readonly clientId: string
  readonly connectionId: string
  readonly address: string
  /** The client's own words: product and version. */
  readonly language: string
}

/** The consuming links of one connection, as the client registry is told. */
export class Presence {
  readonly #broker: Broker
  readonly #log: Logger
  readonly #members: GroupMembers
  readonly #client: PresenceClient
  readonly #sources = new Set<GroupSource>()
  /** The registry is about to be told, once for all links that a session takes with it. */
  #telling: Promise<void> | undefined

  constructor(broker: Broker, log: Logger, members: GroupMembers, client: PresenceClient) {
    this.#broker = broker
    this.#log = log
    this.#members = members
    this.#client = client
  }

  async join(source: GroupSource): Promise<void> {
    this.#sources.add(source)
    this.#members.join(source.group)
    try {
      await this.#register()
    } catch (error) {
      this.leave(source)
      throw error
    }
  }

  leave(source: GroupSource): void {
    if (!this.#sources.delete(source)) return
    this.#telling ??= Promise.resolve().then(() => {
      this.#telling = undefined
      return this.#quietly(this.#sources.size > 0 ? this.#register() : this.#unregister())
    })
    this.#members.leave(source.group, this.#telling)
  }

  /** Before the registry forgets. */
  renew(): void {
    if (this.#sources.size > 0) void this.#quietly(this.#register())
  }

  close(): void {
    if (this.#sources.size === 0) return
    const told = this.#quietly(this.#unregister())
    for (const { group } of this.#sources) this.#members.leave(group, told)
    this.#sources.clear()
  }

  #unregister(): Promise<void> {
    return this.#broker.clients.unregister(this.#client.connectionId)
  }

  #register(): Promise<void> {
    const { clientId, connectionId, address, language } = this.#client
    return this.#broker.clients.register({
      clientId,
      connectionId,
      protocol: 'amqp',
      address,
      language,
      version: 0,
      consumers: this.#consumers(),
      producerGroups: [],
    })
  }

  #consumers(): ConsumerRegistration[] {
    const byGroup = new Map<string, Map<string, GroupSource>>()
    for (const source of this.#sources) {
      let sources = byGroup.get(source.group)
      if (sources === undefined) {
        sources = new Map()
        byGroup.set(source.group, sources)
      }
      // Links that ask for the same are one subscription.
      sources.set(`${source.topic} ${source.filter.expression}`, source)
    }
    return [...byGroup].map(([group, sources]) => consumerOf(group, [...sources.values()]))
  }

  #quietly(work: Promise<void>): Promise<void> {
    return work.catch((thrown: unknown) => {
      const { message } = BrokerError.from(thrown)
      const fields = { evt: 'amqp.registry_failed', error: message }
      this.#log.warn(fields, 'the client registry could not be told')
    })
  }
}

const consumerOf = (group: string, sources: readonly GroupSource[]): ConsumerRegistration => ({
  group,
  model: 'clustering',
  mode: 'per-message',
  subscriptions: sources.map(({ topic, filter }) => ({ topic, filter, version: 0 })),
  consumeType: 'CONSUME_PASSIVELY',
  consumeFrom:
    sources[0]?.startAt === 'last' ? 'CONSUME_FROM_LAST_OFFSET' : 'CONSUME_FROM_FIRST_OFFSET',
})
