// The parts of the broker over one store, each given its collaborators. Here alone one part meets
// another's class.
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { isLightQueue } from '../model/names.ts'
import { GivenCounts } from '../numbers/given-counts.ts'
import { Numbers } from '../numbers/numbers.ts'
import type { MessageStore } from '../store/store.ts'
import { ClientTable } from './clients.ts'
import { Arrivals } from './consume/arrivals.ts'
import { CursorTable } from './consume/cursors.ts'
import { MixedGroups } from './consume/mixed-groups.ts'
import { READ, READS_EMPTY, READS_FOUND } from './consume/numbers.ts'
import { Puller } from './consume/puller.ts'
import { QueueLanes } from './consume/queue-lanes.ts'
import { Receiver } from './consume/receiver.ts'
import { Retries } from './consume/retries.ts'
import { SearchLine } from './consume/search-line.ts'
import { TopicSpread } from './consume/topic-spread.ts'
import { GroupTable } from './definitions/groups.ts'
import { LightQueueTable } from './definitions/light-queues.ts'
import { BrokerPermission } from './definitions/permission.ts'
import { noSuchBroker, TopicTable } from './definitions/topics.ts'
import { FactWriter } from './facts/fact-writer.ts'
import { StateTable } from './facts/states.ts'
import { BROKER_DEFAULTS, type BrokerOptions } from './options.ts'
import { delayedMessages } from './publish/delays.ts'
import { DispatchBudget } from './publish/dispatch-budget.ts'
import { DELAYED, DueTimer } from './publish/due-timer.ts'
import { STORED } from './publish/numbers.ts'
import { Publisher } from './publish/publisher.ts'
import { QueueLockTable } from './publish/queue-locks.ts'
import { Recalls } from './publish/recall.ts'
import { TransactionEnds } from './publish/transaction-ends.ts'
import { Rates } from './rates.ts'
import { Removal } from './removal.ts'

export interface OpenBrokerOptions {
  readonly store: MessageStore
  readonly clock: Clock
  readonly log: Logger
  /** Of the process; default: numbers that are not read. */
  readonly numbers?: Numbers
  /** The rest has the defaults of options.ts. */
  readonly options?: Partial<BrokerOptions>
}

export function assemble(given: OpenBrokerOptions) {
  const { store, clock, log, numbers = new Numbers(), options: changed } = given
  const options: BrokerOptions = { ...BROKER_DEFAULTS, ...changed }
  const isMaster = !store.status().isPassive
  const facts = new FactWriter(store, clock, log, options.cursorFlushMs)
  const topics = new TopicTable(store, facts, options)
  const permission = new BrokerPermission(store, facts, options.brokerName)
  const groups = new GroupTable(store, facts, topics, options)
  const cursors = new CursorTable(store, facts, log)
  const lightQueues = new LightQueueTable(store, facts, options.namedQueuesMax)
  const isThere = (topic: string): boolean =>
    isLightQueue(topic) ? lightQueues.has(topic) : topics.find(topic) !== undefined
  // Not with a damaged log: the damaged part, which may hold a topic's definition, may be put back.
  // A fact that the store refuses now is an orphan again at the next start.
  if (isMaster && store.status().damage.length === 0)
    facts.write(cursors.dropOrphans(isThere)).catch(() => {})
  const arrivals = new Arrivals(log)
  const common = {
    store,
    clock,
    log,
    options,
    facts,
    permission,
    topics,
    groups,
    cursors,
    lightQueues,
    arrivals,
    spread: new TopicSpread(clock, options.brokerName),
    numbers,
    givenCounts: new GivenCounts(clock),
    searches: new SearchLine(clock),
    dispatchBudget: new DispatchBudget(),
  }
  const dueTimer = new DueTimer(store, clock, log, common.dispatchBudget)
  dueTimer.handle(DELAYED, delayedMessages(store, topics, log))
  const locks = new QueueLockTable(clock, options.lockLeaseMs)
  const states = new StateTable(store, facts, clock, log)
  const publisher = new Publisher({ ...common, dueTimer, locks, states })
  const recalls = new Recalls({ ...common, dueTimer })
  const mixed: MixedGroups = new MixedGroups({
    ...common,
    locks,
    serving: () => ({ receiver, puller }),
  })
  const puller: Puller = new Puller({ ...common, mixed })
  const lanes = new QueueLanes()
  const retries = new Retries({ ...common, dueTimer, lanes })
  const receiver: Receiver = new Receiver({ ...common, mixed, retries, lanes })
  const clients = new ClientTable({ ...common, mixed, locks, receiver })
  const transactions = new TransactionEnds({ ...common, dueTimer, clients })
  if (isMaster) dueTimer.arm()
  const removal = new Removal({ ...common, puller, receiver, locks })
  // What a crash left held. Bindings of owners may be in the damaged part of a log.
  if (isMaster && store.status().damage.length === 0) void removal.unwantedBindings()
  store.onArrival(arrivals.note)
  store.onWritable((writable) => {
    // Made a master, the store has another broker.
    if (!writable || !isMaster) return
    dueTimer.arm()
    void topics.unsavedTopics.saveAll()
    void groups.unsaved.saveAll()
    void removal.unwantedBindings()
  })
  topics.watch((topic) => receiver.refresh(topic))
  const counters = countersOf(numbers)
  return {
    ...common,
    ...{ dueTimer, publisher, recalls, transactions, puller, retries, locks, mixed, receiver },
    ...{ clients, states, removal, counters, rates: new Rates(clock, counters) },
    startedAtMs: clock.now(),
    checkOwn: ownQueueCheck(options.brokerName),
  }
}

const countersOf = (numbers: Numbers) => ({
  stored: numbers.counter(STORED),
  read: numbers.counter(READ),
  readsFound: numbers.counter(READS_FOUND),
  readsEmpty: numbers.counter(READS_EMPTY),
})

/** @throws QUEUE_NOT_FOUND for a queue of another broker */
const ownQueueCheck =
  (own: string) =>
  ({ brokerName = own }: { readonly brokerName?: string | undefined }): void => {
    if (brokerName !== own) throw noSuchBroker(brokerName)
  }

export type BrokerParts = ReturnType<typeof assemble>
