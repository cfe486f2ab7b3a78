// The connected clients: registrations by connection, kept alive by being sent again, and the news
// that a group's members or subscriptions changed. Knows no protocol and no socket.
import type { Clock, Timer } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { ClientRegistration, ConsumerRegistration } from '../model/client.ts'
import { DifferingMembers } from './consume/differing-members.ts'
import type { MixedGroups } from './consume/mixed-groups.ts'
import type { Receiver } from './consume/receiver.ts'
import type { GroupTable } from './definitions/groups.ts'
import type { BrokerOptions } from './options.ts'
import type { QueueLockTable } from './publish/queue-locks.ts'

const SWEEP_MS = 10_000

interface Client {
  registration: ClientRegistration
  seenMs: number
}

/** On its way: others of the connection may come and go before it takes effect. */
interface Registering {
  /** Without the groups that were left since; undefined: a later one took effect. */
  registration: ClientRegistration | undefined
}

interface Parts {
  readonly groups: GroupTable
  readonly mixed: MixedGroups
  readonly locks: QueueLockTable
  readonly clock: Clock
  readonly log: Logger
  readonly options: BrokerOptions
  readonly receiver: Receiver
}

export class ClientTable {
  readonly #parts: Parts
  readonly #expiryMs: number
  readonly #clients = new Map<string, Client>()
  /** By connection, the oldest first. */
  readonly #registering = new Map<string, Set<Registering>>()
  /** Client ids of a group's consumers, by connection. */
  readonly #consumers = new Map<string, Map<string, string>>()
  /** Connections of a group's producers: the one that was named longest ago first. */
  readonly #producers = new Map<string, Set<string>>()
  readonly #differing: DifferingMembers
  readonly #watchers = new Set<(group: string) => void>()
  readonly #sweeping: Timer

  constructor(parts: Parts) {
    this.#parts = parts
    parts.mixed.onChange = (group) => this.#tell([group])
    this.#expiryMs = parts.options.clientExpiryMs
    this.#differing = new DifferingMembers(parts.log)
    this.#sweeping = this.#parts.clock.every(SWEEP_MS, () => this.#sweep())
  }

  get size(): number {
    return this.#clients.size
  }

  /**
   * Takes effect before it settles, unless the connection has left or registered anew by then.
   * @throws SUBSCRIPTION_CONFLICT, GROUP_NOT_FOUND
   */
  async register(asked: ClientRegistration): Promise<void> {
    const { connectionId } = asked
    const own: Registering = { registration: asked }
    const all = this.#registering.get(connectionId) ?? new Set()
    this.#registering.set(connectionId, all.add(own))
    try {
      for (const { group } of asked.consumers) {
        if (!this.#parts.groups.isSaved(group)) await this.#parts.groups.ensure(group)
      }
      await this.#parts.mixed.look(asked)
      if (own.registration !== undefined) this.#register(own.registration)
      for (const earlier of all) {
        if (earlier === own) break
        earlier.registration = undefined
      }
    } finally {
      all.delete(own)
      if (all.size === 0) this.#registering.delete(connectionId)
    }
  }

  #register(registration: ClientRegistration): void {
    const { connectionId } = registration
    this.#parts.mixed.check(registration)
    const before = this.#clients.get(connectionId)?.registration
    this.#clients.set(connectionId, { registration, seenMs: this.#parts.clock.monotonic() })
    const [old, fresh] = differing(before?.consumers ?? [], registration.consumers)
    for (const { group } of old) this.#leave(connectionId, group)
    this.#join({ ...registration, consumers: fresh })
    this.#produce(connectionId, before?.producerGroups ?? [], registration.producerGroups)
    this.#updateGroups(old)
    this.#updateGroups(fresh)
    const changed = changedGroups(old, fresh)
    const joined = new Set(fresh.map(({ group }) => group))
    for (const group of changed) {
      if (joined.has(group)) this.#compare(group, registration)
      else this.#freeLocks(group, registration.clientId)
    }
    this.#tell(changed)
  }

  /** All of a connection, or one group of it, as producer or consumer. */
  unregister(connectionId: string, group?: string): void {
    for (const own of this.#registering.get(connectionId) ?? []) {
      own.registration = own.registration && without(own.registration, group)
    }
    const client = this.#clients.get(connectionId)
    if (client === undefined) return
    const { registration } = client
    const left = without(registration, group)
    if (left === undefined) this.#clients.delete(connectionId)
    else client.registration = left
    this.#produce(connectionId, registration.producerGroups, left?.producerGroups ?? [])
    const staying = new Set(left?.consumers)
    const gone = registration.consumers.filter((consumer) => !staying.has(consumer))
    for (const consumer of gone) {
      this.#leave(connectionId, consumer.group)
      this.#freeLocks(consumer.group, registration.clientId)
    }
    this.#updateGroups(gone)
    this.#tell(new Set(gone.map((consumer) => consumer.group)))
  }

  list(): ClientRegistration[] {
    return [...this.#clients.values()].map((client) => client.registration)
  }

  /** The members that share queues, where there are some; else all. */
  consumerIds(group: string): readonly string[] {
    const sharers = this.#parts.mixed.queueSharers(group)
    return sharers ?? [...new Set(this.#consumers.get(group)?.values() ?? [])].sort()
  }

  /** The connection of a producer of the group, another one each time. */
  nextProducer(group: string): string | undefined {
    const producers = this.#producers.get(group)
    const [next] = producers ?? []
    if (next === undefined) return undefined
    producers!.delete(next)
    producers!.add(next)
    return next
  }

  /** Topics that the group's members say they consume. */
  subscribedTopics(group: string): Set<string> {
    const topics = new Set<string>()
    for (const connectionId of this.#consumers.get(group)?.keys() ?? []) {
      for (const consumer of this.#clients.get(connectionId)?.registration.consumers ?? []) {
        if (consumer.group !== group) continue
        for (const { topic } of consumer.subscriptions) topics.add(topic)
      }
    }
    return topics
  }

  watch(changed: (group: string) => void): Disposable {
    this.#watchers.add(changed)
    return { [Symbol.dispose]: () => void this.#watchers.delete(changed) }
  }

  close(): void {
    this.#sweeping.cancel()
    this.#parts.mixed.close()
  }

  #sweep(): void {
    const silentSinceMs = this.#parts.clock.monotonic() - this.#expiryMs
    for (const [connectionId, { registration, seenMs }] of [...this.#clients]) {
      if (seenMs > silentSinceMs || this.#registering.has(connectionId)) continue
      this.#parts.log.debug(
        { evt: 'client.expired', clientId: registration.clientId, address: registration.address },
        'a client was silent for too long and is forgotten',
      )
      this.unregister(connectionId)
    }
    this.#parts.locks.sweep()
  }

  #join(registration: ClientRegistration): void {
    const { connectionId, clientId } = registration
    for (const { group } of registration.consumers) {
      let consumers = this.#consumers.get(group)
      if (consumers === undefined) {
        consumers = new Map()
        this.#consumers.set(group, consumers)
      }
      consumers.set(connectionId, clientId)
    }
    this.#parts.mixed.join(registration)
  }

  #updateGroups(consumers: readonly ConsumerRegistration[]): void {
    const { mixed, receiver } = this.#parts
    for (const { group } of consumers) {
      mixed.update(group)
      // What receives left there is the native members' now.
      if (mixed.share(group) === undefined && mixed.hasNatives(group)) receiver.retire(group)
    }
  }

  #produce(connectionId: string, before: readonly string[], after: readonly string[]): void {
    const staying = new Set(after)
    for (const group of before) {
      if (staying.has(group)) continue
      const producers = this.#producers.get(group)
      producers?.delete(connectionId)
      if (producers?.size === 0) this.#producers.delete(group)
    }
    for (const group of after) {
      const producers = this.#producers.get(group)
      if (producers === undefined) this.#producers.set(group, new Set([connectionId]))
      else producers.add(connectionId)
    }
  }

  #leave(connectionId: string, group: string): void {
    const consumers = this.#consumers.get(group)
    if (consumers?.delete(connectionId) && consumers.size === 0) {
      this.#consumers.delete(group)
      this.#differing.forget(group)
    }
    this.#parts.mixed.leave(connectionId, group)
  }

  /** With one other member: all of them subscribe alike, or the log has its line already. */
  #compare(group: string, registration: ClientRegistration): void {
    for (const connectionId of this.#consumers.get(group)?.keys() ?? []) {
      if (connectionId === registration.connectionId) continue
      const other = this.#clients.get(connectionId)
      if (other !== undefined) this.#differing.compare(group, registration, other.registration)
      return
    }
  }

  /** A client that is still a member by another connection keeps its locks. */
  #freeLocks(group: string, clientId: string): void {
    if (!this.#parts.locks.isLocking(group)) return
    for (const id of this.#consumers.get(group)?.values() ?? []) if (id === clientId) return
    this.#parts.locks.unlockAll(group, clientId)
  }

  #tell(groups: Iterable<string>): void {
    for (const group of groups) for (const changed of this.#watchers) changed(group)
  }
}

/** The group; undefined: all of them. @returns undefined when nothing is left of it */
function without(
  registration: ClientRegistration,
  group: string | undefined,
): ClientRegistration | undefined {
  if (group === undefined) return undefined
  const consumers = registration.consumers.filter((consumer) => consumer.group !== group)
  const producerGroups = registration.producerGroups.filter((name) => name !== group)
  if (consumers.length + producerGroups.length === 0) return undefined
  return { ...registration, consumers, producerGroups }
}

type Consumers = readonly ConsumerRegistration[]

/**
 * Of both those in groups of which something may have changed: a front-end that registers the very
 * objects again, and one more, is not to cost what all of them would.
 */
function differing(before: Consumers, after: Consumers): readonly [Consumers, Consumers] {
  const left = new Set(before)
  const groups = new Set<string>()
  for (const consumer of after) if (!left.delete(consumer)) groups.add(consumer.group)
  for (const { group } of left) groups.add(group)
  const isIn = ({ group }: ConsumerRegistration): boolean => groups.has(group)
  return [before.filter(isIn), after.filter(isIn)]
}

/** Groups that the client joined, left, or changed its subscriptions of. */
function changedGroups(before: Consumers, after: Consumers): Set<string> {
  const shape = ({ model, mode, subscriptions }: ConsumerRegistration): string =>
    JSON.stringify([
      model,
      mode,
      subscriptions.map(({ topic, filter }) => [topic, filter.expression]).sort(),
    ])
  const shapes = (consumers: Consumers): Map<string, string> => {
    const byGroup = new Map<string, string>()
    for (const consumer of consumers) {
      byGroup.set(consumer.group, (byGroup.get(consumer.group) ?? '') + shape(consumer))
    }
    return byGroup
  }
  const [old, fresh] = [shapes(before), shapes(after)]
  const groups = new Set([...old.keys(), ...fresh.keys()])
  for (const group of groups) if (old.get(group) === fresh.get(group)) groups.delete(group)
  return groups
}
