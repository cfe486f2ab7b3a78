// The consumers of this front-end: the broker's client registry is told of them, and told again
// before it forgets, and links of one group know whether they are alone.
import { BrokerError } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import type { ConsumerRegistration } from '../../../model/client.ts'
import type { Broker } from '../../../port/broker.ts'
import type { GroupSource } from './group-feed.ts'

/** Links per group, over all connections of the front-end. */
export class GroupMembers {
  readonly #links = new Map<string, number>()

  count(group: string): number {
    return this.#links.get(group) ?? 0
  }

  join(group: string): void {
    this.#links.set(group, this.count(group) + 1)
  }

  leave(group: string): void {
    const left = this.count(group) - 1
    if (left > 0) this.#links.set(group, left)
    else this.#links.delete(group)
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
  #isStale = false

  constructor(broker: Broker, log: Logger, members: GroupMembers, client: PresenceClient) {
    this.#broker = broker
    this.#log = log
    this.#members = members
    this.#client = client
  }

  /** @throws BrokerError GROUP_MODE_CONFLICT when native consumers have the group by queue */
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
    this.#members.leave(source.group)
    if (this.#isStale) return
    this.#isStale = true
    // Once for all links that a session takes with it.
    queueMicrotask(() => {
      this.#isStale = false
      this.#quietly(this.#sources.size > 0 ? this.#register() : this.#unregister())
    })
  }

  /** Before the registry forgets. */
  renew(): void {
    if (this.#sources.size > 0) this.#quietly(this.#register())
  }

  close(): void {
    if (this.#sources.size === 0) return
    for (const { group } of this.#sources) this.#members.leave(group)
    this.#sources.clear()
    this.#quietly(this.#unregister())
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

  #quietly(work: Promise<void>): void {
    work.catch((thrown: unknown) => {
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
