// The broker over a passive store: it answers what reads, and refuses what would change anything,
// in the words of Apache's slaves, after which producers try another broker.
import { BrokerError } from '../errors.ts'
import type { GroupDefinition } from '../model/group.ts'
import type { NewMessage, PublishResult } from '../model/message.ts'
import type { TopicDefinition } from '../model/topic.ts'
import type { TransactionEnd } from '../model/transaction.ts'
import { EmbeddedBroker } from './broker.ts'
import { FollowedFacts } from './followed-facts.ts'
import { showBroker } from './numbers.ts'
import { assemble, type BrokerParts, type OpenBrokerOptions } from './parts.ts'
import {
  cursorsPort,
  groupsPort,
  lightQueuesPort,
  permissionPort,
  statesPort,
  topicsPort,
  transactionsPort,
} from './ports.ts'

const refused = (): BrokerError =>
  new BrokerError(
    'BUSY',
    '[REJECTREQUEST]system busy, start flow control for a while: this broker is a slave, ask its master',
  )
const refuse = (): Promise<never> => Promise.reject(refused())

const REFUSED_BINDINGS = {
  bind: refuse,
  hold: refuse,
  letGo: refuse,
  unbind: refuse,
  unbindAll: refuse,
}
const REFUSED_STATES = {
  save: refuse,
  saveSoon: refuse,
  delete: refuse,
  claim: refuse,
  claimFree: refuse,
}

/** Of a passive store. It stays its owner's to close, after the broker. */
export function openSlaveBroker(given: OpenBrokerOptions): SlaveBroker {
  return new SlaveBroker(assemble(given))
}

class SlaveBroker extends EmbeddedBroker {
  override readonly pops = { pop: refuse, ack: refuse, change: refuse }
  override readonly queueLocks = { lock: refuse, unlock: refuse }
  override readonly permission
  override readonly topics: EmbeddedBroker['topics']
  override readonly groups
  override readonly cursors
  override readonly lightQueues
  override readonly states: EmbeddedBroker['states']
  override readonly transactions
  readonly #followed: FollowedFacts
  readonly #shown: readonly Disposable[]

  constructor(parts: BrokerParts) {
    super(parts)
    this.cursors = { ...cursorsPort(parts), commit: refuse, reset: refuse }
    this.permission = { ...permissionPort(parts), set: refuse }
    // What these keep while the store is read-only would hide what comes from the master.
    this.topics = { ...topicsPort(parts), put: refuse, ensure: this.#topic, delete: refuse }
    // One that the master just made is in the log, and the tables may not have it yet.
    const ensure = async (name: string): Promise<GroupDefinition> => {
      if (parts.groups.find(name) === undefined) await this.#followed.look()
      return parts.groups.ensure(name)
    }
    this.groups = { ...groupsPort(parts), put: refuse, ensure, delete: refuse }
    this.lightQueues = { ...lightQueuesPort(parts), ...REFUSED_BINDINGS }
    this.states = { ...statesPort(parts), ...REFUSED_STATES }
    this.transactions = {
      ...transactionsPort(parts),
      end: refuse,
      endAll: async (ends: readonly TransactionEnd[]) => ends.map(refused),
    }
    const { store, clock, log, topics, groups, cursors, permission, lightQueues, states } = parts
    this.#shown = showBroker(parts.numbers, parts)
    this.#followed = new FollowedFacts(store, clock, log, {
      broker: () => permission.follow(),
      topic: (name, value) => topics.follow(name, value),
      group: (name, value) => groups.follow(name, value),
      cursor: (key, value) => cursors.follow(key, value),
      state: (id, value) => states.follow(id, value === undefined),
      binding: (key, value) => lightQueues.follow(key, value !== undefined),
    })
  }

  /** Only masters make topics. */
  readonly #topic = async (name: string): Promise<TopicDefinition> => {
    if ((await this.topics.get(name)) === undefined) await this.#followed.look()
    const topic = await this.topics.get(name)
    if (topic !== undefined) return topic
    throw new BrokerError('TOPIC_NOT_FOUND', `topic '${name}' is not on this slave`)
  }

  /** Settles when what the log has by now holds here. */
  followed(): Promise<void> {
    return this.#followed.look()
  }

  override async publish(messages: readonly NewMessage[]): Promise<readonly PublishResult[]> {
    if (messages.length === 0) throw refused()
    return messages.map(refused)
  }
  override async publishTogether(): Promise<never> {
    throw refused()
  }
  override async publishAndSettle(): Promise<never> {
    throw refused()
  }
  override async recall(): Promise<never> {
    throw refused()
  }
  override async receive(): Promise<never> {
    throw refused()
  }
  override async ack(): Promise<never> {
    throw refused()
  }
  override async nack(): Promise<never> {
    throw refused()
  }
  override async release(): Promise<never> {
    throw refused()
  }
  override async abandon(): Promise<never> {
    throw refused()
  }
  override async extend(): Promise<never> {
    throw refused()
  }
  override async deadLetter(): Promise<never> {
    throw refused()
  }
  override async sendBack(): Promise<never> {
    throw refused()
  }

  override async close(): Promise<void> {
    for (const shown of this.#shown) shown[Symbol.dispose]()
    await this.#followed.close()
    await super.close()
  }
}
