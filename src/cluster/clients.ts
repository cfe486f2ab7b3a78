// The clients of this gateway. Members of a group at other gateways are known to the brokers, which
// are asked where it matters.
import { consumerIds } from '../client/calls/calls.ts'
import type { ClientRegistration } from '../model/client.ts'
import type { Clients } from '../port/broker.ts'
import type { Links } from './links.ts'
import type { ClusterOptions } from './options.ts'

interface Parts {
  readonly links: Links
  readonly options: ClusterOptions
}

export class ClusterClients implements Clients {
  readonly #parts: Parts
  /** By connection. */
  readonly #clients = new Map<string, ClientRegistration>()
  readonly #watchers = new Set<(group: string) => void>()
  #turn = 0

  constructor(parts: Parts) {
    this.#parts = parts
  }

  get size(): number {
    return this.#clients.size
  }

  async register(registration: ClientRegistration): Promise<void> {
    const before = this.#clients.get(registration.connectionId)
    this.#clients.set(registration.connectionId, registration)
    this.#tell(before, registration)
    await this.#produce(before, registration)
  }

  async unregister(connectionId: string, group?: string): Promise<void> {
    const before = this.#clients.get(connectionId)
    if (before === undefined) return
    const consumers =
      group === undefined ? [] : before.consumers.filter((consumer) => consumer.group !== group)
    if (group === undefined) this.#clients.delete(connectionId)
    else this.#clients.set(connectionId, { ...before, consumers })
    this.#tell(before, undefined)
    if (group === undefined) await this.#produce(before, undefined)
  }

  /** Connections that produce for the group, another one first each time. */
  producers(group: string): readonly string[] {
    const all = [...this.#clients.values()]
      .filter(({ producerGroups }) => producerGroups.includes(group))
      .map(({ connectionId }) => connectionId)
    const at = this.#turn++ % Math.max(1, all.length)
    return [...all.slice(at), ...all.slice(0, at)]
  }

  /** Brokers ask about half messages at producers of their group. */
  async #produce(...changed: readonly (ClientRegistration | undefined)[]): Promise<void> {
    const of = (one: ClientRegistration | undefined): string =>
      [...(one?.producerGroups ?? [])].sort().join()
    if (of(changed[0]) === of(changed[1])) return
    const all = [...this.#clients.values()].flatMap(({ producerGroups }) => producerGroups)
    await this.#parts.links.produceFor([...new Set(all)].sort())
  }

  async list(): Promise<readonly ClientRegistration[]> {
    return [...this.#clients.values()]
  }

  async consumerIds(group: string): Promise<readonly string[]> {
    const ids = new Set<string>()
    for (const { clientId, consumers } of this.#clients.values()) {
      if (consumers.some((consumer) => consumer.group === group)) ids.add(clientId)
    }
    const limits = { timeoutMs: this.#parts.options.requestTimeoutMs }
    const { masters } = this.#parts.links
    for (const { address } of await masters.list(limits)) {
      const connection = await masters.connection(address, limits)
      for (const id of await consumerIds(connection, group, limits)) ids.add(id)
    }
    return [...ids].sort()
  }

  async virtualQueues(): Promise<undefined> {
    return undefined
  }

  watch(changed: (group: string) => void): Disposable {
    const watcher = (group: string): void => changed(group)
    this.#watchers.add(watcher)
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) }
  }

  #tell(...registrations: readonly (ClientRegistration | undefined)[]): void {
    const consumers = registrations.flatMap((registration) => registration?.consumers ?? [])
    for (const group of new Set(consumers.map((consumer) => consumer.group))) {
      for (const watcher of this.#watchers) watcher(group)
    }
  }
}
