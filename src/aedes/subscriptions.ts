// The subscriptions of all sessions before one broker, in memory: whose a message of a name is.
import { FilterTrie } from '../model/filter-trie.ts'

/** One filter of a session, as aedes has it. */
export interface Subscription {
  readonly topic: string
  readonly qos: number
  readonly rh?: number | undefined
  readonly rap?: boolean | undefined
  readonly nl?: boolean | undefined
  readonly subscriptionIdentifier?: number | undefined
}

export type MatchedSubscription = Omit<Subscription, 'subscriptionIdentifier'> & {
  readonly clientId: string
}

export class SubscriptionTable {
  readonly #clients = new Map<string, ReadonlyMap<string, Subscription>>()
  /** Of QoS 1 and 2: what is queued for a session. */
  readonly #trie = new FilterTrie<Map<string, Subscription>>()
  #count = 0

  get counts(): { subsCount: number; clientsCount: number } {
    return { subsCount: this.#count, clientsCount: this.#clients.size }
  }

  /** Takes the place of what the client had. */
  set(clientId: string, subscriptions: readonly Subscription[]): void {
    for (const { topic, qos } of this.#clients.get(clientId)?.values() ?? []) {
      if (qos > 0) this.#remove(topic, clientId)
    }
    if (subscriptions.length === 0) {
      this.#clients.delete(clientId)
      return
    }
    this.#clients.set(clientId, new Map(subscriptions.map((one) => [one.topic, one])))
    for (const subscription of subscriptions) {
      if (subscription.qos > 0) this.#add(clientId, subscription)
    }
  }

  of(clientId: string): readonly Subscription[] {
    return [...(this.#clients.get(clientId)?.values() ?? [])]
  }

  /** Those of wildcards come first, as in upstream. */
  matching(name: string): readonly MatchedSubscription[] {
    const found: MatchedSubscription[] = []
    this.#trie.match(name, (clients) => {
      for (const [clientId, { topic, qos, rh, rap, nl }] of clients) {
        found.push({ clientId, topic, qos, rh, rap, nl })
      }
    })
    return found.sort((one, other) => rank(one.topic) - rank(other.topic))
  }

  *clientsOf(topic: string): Generator<string> {
    for (const [clientId, subscriptions] of this.#clients) {
      if (subscriptions.has(topic)) yield clientId
    }
  }

  #add(clientId: string, subscription: Subscription): void {
    const clients = this.#trie.get(subscription.topic) ?? new Map<string, Subscription>()
    clients.set(clientId, subscription)
    this.#trie.add(subscription.topic, clients)
    this.#count++
  }

  #remove(topic: string, clientId: string): void {
    const clients = this.#trie.get(topic)
    if (clients?.delete(clientId) !== true) return
    this.#count--
    if (clients.size === 0) this.#trie.delete(topic)
  }
}

const rank = (filter: string): number => (filter.endsWith('#') ? 0 : filter.includes('+') ? 1 : 2)
