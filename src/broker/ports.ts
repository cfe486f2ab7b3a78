// The smaller parts of the Broker port in its asynchronous form, each over the table that does the
// work. A broker in its own process may answer at once; one across a network may not.
import { BrokerError } from '../errors.ts'
import type { ClientRegistration } from '../model/client.ts'
import type { GroupDefinition } from '../model/group.ts'
import type {
  PopDelivery,
  Popped,
  PopRequest,
  QueueLag,
  QueueName,
  QueueRange,
} from '../model/message.ts'
import type { MessageFilter } from '../model/message-filter.ts'
import { isLightQueue, isNamedQueue } from '../model/names.ts'
import type { LogPosition, QueueOffset } from '../model/positions.ts'
import type {
  Claim,
  State,
  StateEntry,
  StateGuard,
  StateNews,
  StateVersion,
} from '../model/state.ts'
import type { RecentCounts } from '../model/status.ts'
import { checkReadable, type TopicDefinition } from '../model/topic.ts'
import type { HalfName, TransactionAsker, TransactionEnd } from '../model/transaction.ts'
import { findMessages, readMessage } from './consume/lookup.ts'
import { PopReceiver } from './consume/pops.ts'
import { groupLags } from './lags.ts'
import type { BrokerParts } from './parts.ts'

export const popsPort = ({ receiver, clock, checkOwn }: BrokerParts) => {
  const pops = new PopReceiver(receiver, clock)
  return {
    pop: async (request: PopRequest): Promise<Popped> => {
      checkOwn(request)
      return pops.pop(request)
    },
    ack: async (deliveries: readonly PopDelivery[]): Promise<readonly number[]> =>
      pops.ack(deliveries),
    change: async (
      delivery: PopDelivery,
      invisibleMs: number,
      isSuspended: boolean,
    ): Promise<number | undefined> => pops.change(delivery, invisibleMs, isSuspended),
  }
}

export const topicsPort = ({ topics, removal }: BrokerParts) => ({
  list: async (): Promise<readonly TopicDefinition[]> => topics.list(),
  get: async (name: string): Promise<TopicDefinition | undefined> => topics.find(name)?.definition,
  put: (definition: TopicDefinition): Promise<void> => topics.put(definition),
  ensure: async (name: string): Promise<TopicDefinition> => (await topics.ensure(name)).definition,
  delete: (name: string): Promise<void> => removal.topic(name),
  ranges: async (name: string): Promise<readonly QueueRange[]> => topics.ranges(name),
  watch: (changed: (topic: string) => void): Disposable => topics.watch(changed),
})

export const permissionPort = ({ permission }: BrokerParts) => ({
  get: async (): Promise<number> => permission.perm,
  set: (perm: number): Promise<void> => permission.set(perm),
  watch: (changed: () => void): Disposable => permission.watch(changed),
})

export const groupsPort = (parts: BrokerParts) => {
  const { groups, removal, mixed, permission, topics } = parts
  return {
    list: async (): Promise<readonly GroupDefinition[]> => groups.list(),
    get: async (name: string): Promise<GroupDefinition | undefined> => groups.find(name),
    put: (definition: GroupDefinition): Promise<void> => groups.put(definition),
    ensure: (name: string): Promise<GroupDefinition> => groups.ensure(name),
    delete: (name: string, options?: { keepOffsets?: boolean }): Promise<void> =>
      removal.group(name, options?.keepOffsets === true),
    checkReceiving: async (name: string, topic: string, filter: MessageFilter): Promise<void> => {
      permission.checkReadable()
      const definition = topics.find(topic)?.definition
      if (definition !== undefined) checkReadable(definition)
      await mixed.checkReceivingHere(name, { topic, filter })
    },
    lags: async (name: string): Promise<readonly QueueLag[]> => {
      groups.need(name)
      return groupLags(parts, name)
    },
    given: async (name: string, topic?: string): Promise<RecentCounts> =>
      parts.givenCounts.of(name, topic),
  }
}

export const cursorsPort = (parts: BrokerParts) => {
  const { cursors, groups, topics, lightQueues, store, receiver, puller, mixed, checkOwn } = parts
  const checkQueue = (queue: QueueName): void => {
    checkOwn(queue)
    const { topic, queueId } = queue
    if (isLightQueue(topic)) lightQueues.need(topic)
    const queues = isLightQueue(topic) ? 1 : topics.need(topic).definition.readQueues
    if (Number.isInteger(queueId) && queueId >= 0 && queueId < queues) return
    throw new BrokerError(
      'QUEUE_NOT_FOUND',
      `'${topic}' has no queue ${queueId}; its queues are 0 to ${queues - 1}`,
    )
  }
  /**
   * The offset as it may be kept. Only what exists gets a cursor: names from the wire must not fill
   * the memory. No cursor stands beyond the end: what comes up to there would be taken for
   * consumed.
   */
  const check = (group: string, queue: QueueName, offset: QueueOffset): QueueOffset => {
    groups.need(group)
    checkQueue(queue)
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new BrokerError('ARGUMENT_INVALID', `${offset} is not a queue offset`)
    }
    const { maxOffset } = store.range(queue.topic, queue.queueId)
    return offset < maxOffset ? offset : maxOffset
  }
  return {
    committed: async (group: string, queue: QueueName) => {
      checkOwn(queue)
      return cursors.committed(group, queue.topic, queue.queueId)
    },
    available: async (group: string, queue: QueueName) => {
      checkQueue(queue)
      return cursors.available(group, queue.topic, queue.queueId)
    },
    commit: async (group: string, queue: QueueName, offset: QueueOffset, member?: string) => {
      const { topic, queueId } = queue
      const kept = check(group, queue, offset)
      let place = kept
      if (member !== undefined) mixed.share(group)?.touch(member, queue)
      else if (cursors.committed(group, topic, queueId) === undefined) {
        place = cursors.begin(group, topic, queueId, kept)
        // Where native members that have not committed yet begin is their affair.
        if (mixed.haveNatives(group, topic)) return
      }
      const isReceiving = cursors.commit(group, topic, queueId, place)
      // Messages below the offset are settled, which may let a waiting receive go on.
      if (isReceiving) receiver.wake(group, topic)
    },
    range: async (queue: QueueName): Promise<QueueRange> => {
      const { topic, brokerName, queueId } = queue
      if (!isNamedQueue(topic) || lightQueues.has(topic)) checkQueue(queue)
      return { topic, brokerName, queueId, ...store.range(topic, queueId) }
    },
    byTime: async (
      queue: QueueName,
      timestampMs: number,
      boundary: 'lower' | 'upper',
    ): Promise<QueueOffset> => {
      checkQueue(queue)
      return cursors.byTime(queue.topic, queue.queueId, timestampMs, boundary)
    },
    reset: async (group: string, queue: QueueName, offset: QueueOffset) => {
      const { topic, queueId } = queue
      await cursors.reset(group, topic, queueId, check(group, queue, offset))
      // Members that wait for news are to see what is there again.
      receiver.wake(group, topic)
      puller.moved(group, topic, queueId)
    },
  }
}

export const lightQueuesPort = ({ lightQueues, removal, options }: BrokerParts) => ({
  bind: async (
    filter: string,
    owner: string | undefined,
  ): Promise<QueueName & { offset: QueueOffset }> => {
    const { topic, offset } = await lightQueues.bind(filter, owner)
    return { topic, brokerName: options.brokerName, queueId: 0, offset }
  },
  hold: async (filter: string): Promise<QueueName & { offset: QueueOffset }> => {
    const { topic, offset } = await lightQueues.hold(filter)
    return { topic, brokerName: options.brokerName, queueId: 0, offset }
  },
  letGo: (filter: string): Promise<void> => removal.hold(filter),
  unbind: (filter: string, owner: string | undefined): Promise<void> =>
    removal.binding(filter, owner),
  /** Many at a time go with one sync; each looks at all groups. */
  unbindAll: (owner: string): Promise<void> => removal.owner(owner),
})

export const lookupPort = ({ store, options }: BrokerParts) => ({
  // Also by an address that it had before.
  brokerAt: async (): Promise<string | undefined> => options.brokerName,
  byPosition: async (brokerName: string, position: LogPosition): Promise<Buffer | undefined> =>
    brokerName === options.brokerName ? readMessage(store, position) : undefined,
  byKey: (
    topic: string,
    key: string,
    options: { max: number; maxBytes?: number; fromMs?: number; toMs?: number },
  ): Promise<readonly Buffer[]> => findMessages(store, topic, key, options),
})

export const clientsPort = ({ clients, mixed, receiver, options }: BrokerParts) => ({
  register: (registration: ClientRegistration): Promise<void> => clients.register(registration),
  unregister: async (connectionId: string, group?: string): Promise<void> =>
    clients.unregister(connectionId, group),
  list: async (): Promise<readonly ClientRegistration[]> => [
    ...clients.list(),
    ...mixed.virtualMembers(),
  ],
  consumerIds: async (group: string, asking?: string): Promise<readonly string[]> => {
    if (asking !== undefined) mixed.share(group)?.told(asking)
    return clients.consumerIds(group)
  },
  virtualQueues: async (
    group: string,
    clientId: string,
  ): Promise<readonly QueueName[] | undefined> => {
    const ids = mixed.share(group)?.virtualIds ?? []
    const at = ids.indexOf(clientId)
    if (at === -1) return undefined
    return [...receiver.openQueues(group)]
      .filter((_, i) => i % ids.length === at)
      .map(({ cursor: { topic, queueId } }) => ({ topic, brokerName: options.brokerName, queueId }))
  },
  watch: (changed: (group: string) => void): Disposable => clients.watch(changed),
})

export const statesPort = ({ states }: BrokerParts) => ({
  load: async (id: string): Promise<State | undefined> => states.load(id),
  save: (id: string, value: Uint8Array, guard?: StateGuard): Promise<StateVersion> =>
    states.save(id, value, guard),
  saveSoon: async (id: string, value: Uint8Array, claim?: Claim): Promise<void> =>
    states.saveSoon(id, value, { claim }),
  delete: (id: string, guard?: StateGuard): Promise<void> => states.delete(id, guard),
  list: (prefix: string): AsyncIterable<readonly StateEntry[]> => states.list(prefix),
  watch: (prefix: string, changed: (news: StateNews) => void): Disposable =>
    states.watch(prefix, changed),
  watchFree: (prefix: string, freed: (id: string) => void): Disposable =>
    states.watchFree(prefix, freed),
  claim: (id: string, lost: () => void): Promise<Claim> => states.claim(id, lost),
  claimFree: async (id: string, lost: () => void): Promise<Claim | undefined> =>
    states.claimFree(id, lost),
  release: async (claim: Claim): Promise<void> => states.claims.release(claim),
})

export const transactionsPort = ({ transactions, checkOwn }: BrokerParts) => ({
  end: async (end: TransactionEnd): Promise<void> => {
    checkOwn(end.half)
    await transactions.end(end)
  },
  endAll: async (
    ends: readonly TransactionEnd[],
  ): Promise<readonly (BrokerError | undefined)[]> => {
    for (const { half } of ends) checkOwn(half)
    return transactions.endAll(ends)
  },
  topic: async (half: HalfName): Promise<string | undefined> => {
    checkOwn(half)
    return transactions.topic(half)
  },
  watch: (asker: TransactionAsker): Disposable => transactions.watch(asker),
})

export const queueLocksPort = ({
  locks,
  groups,
  topics,
  lightQueues,
  mixed,
  options,
}: BrokerParts) => ({
  /**
   * Only queues that exist are locked: names from the wire must not fill the memory. A named light
   * queue is made, as by a pull.
   */
  lock: async (
    group: string,
    clientId: string,
    queues: readonly QueueName[],
  ): Promise<readonly QueueName[]> => {
    groups.need(group)
    const named = new Set(queues.map(({ topic }) => topic).filter(isNamedQueue))
    // One that would be too many keeps no other from being locked.
    const ensure = async (topic: string): Promise<void> => lightQueues.ensureNamed(topic)
    for (const topic of named) await ensure(topic).catch(() => named.delete(topic))
    const known = queues.filter(({ topic, brokerName, queueId }) => {
      if (brokerName !== options.brokerName) return false
      const count = named.has(topic) ? 1 : (topics.find(topic)?.definition.readQueues ?? 0)
      return Number.isInteger(queueId) && queueId >= 0 && queueId < count
    })
    const share = mixed.share(group)
    const free = known.filter((queue) => share?.mayLock(clientId, queue) ?? true)
    return locks.lock(group, clientId, free)
  },
  unlock: async (group: string, clientId: string, queues: readonly QueueName[]): Promise<void> =>
    locks.unlock(
      group,
      clientId,
      queues.filter(({ brokerName }) => brokerName === options.brokerName),
    ),
})
