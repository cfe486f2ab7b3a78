// The settings of the broker: their bounds, defaults and meaning; and its limits that are no
// settings.
import { z } from 'zod'
import { ROUNDS_MAX } from '../model/due-rounds.ts'
import { BODY_BYTES_DEFAULT, BODY_BYTES_MAX, QUEUES_PER_TOPIC_MAX } from '../model/limits.ts'

const DAY_MS = 86_400_000
/** Fewer than the rounds that a record may wait, so that the last one is always found. */
const TRANSACTION_CHECKS_MAX = ROUNDS_MAX - 4

const definitionSettings = () => ({
  autoCreateGroups: z.boolean().default(true).describe('Create consumer groups on first use.'),
  queuesDefault: z
    .int()
    .min(1)
    .max(QUEUES_PER_TOPIC_MAX)
    .default(4)
    .describe('Queues of a topic that is created without a count.'),
  topicsMax: z.int().min(1).default(10_000).describe('Topics, besides those of groups.'),
  groupsMax: z.int().min(1).default(10_000).describe('Consumer groups.'),
  namedQueuesMax: z
    .int()
    .min(0)
    .default(20_000)
    .describe(
      "Light queues that native clients name (`%LMQ%name`), as RocketMQ's `maxLmqConsumeQueueNum`.",
    ),
  bodyBytesMax: z
    .int()
    .min(1024)
    .max(BODY_BYTES_MAX)
    .default(BODY_BYTES_DEFAULT)
    .describe("Body of one message, as RocketMQ's `maxMessageSize`; clients have one too."),
  delayMsMax: z
    .int()
    .min(1)
    .default(3 * DAY_MS)
    .describe('Longest delay of a message.'),
  recall: z
    .boolean()
    .default(true)
    .describe('Producers may take delayed messages back before their time.'),
})

const transactionSettings = () => ({
  transactionTimeoutMs: z
    .int()
    .min(1)
    .default(6_000)
    .describe(
      "A half message is checked first this long after it was sent; RocketMQ's `transactionTimeOut`.",
    ),
  transactionCheckIntervalMs: z
    .int()
    .min(1_000)
    .default(30_000)
    .describe('From one check of a half message to the next.'),
  transactionChecksMax: z
    .int()
    .min(1)
    .max(TRANSACTION_CHECKS_MAX)
    .default(15)
    .describe('Checks of a half message; then it goes to the topic TRANS_CHECK_MAX_TIME_TOPIC.'),
  transactionMsMax: z
    .int()
    .min(1)
    .default(3 * DAY_MS)
    .describe('A half message that is open for this long goes there too.'),
})

const deliverySettings = () => ({
  expired: z
    .enum(['drop', 'deadLetter'])
    .default('drop')
    .describe(
      'What becomes of a message that has expired before a group that receives per message got it.',
    ),
  heldPullsMax: z.int().min(1).default(100_000).describe('Pulls that wait at one time.'),
  heldReceivesMax: z.int().min(1).default(100_000).describe('Receives that wait at one time.'),
  // Each stands in the group's place on the queue, which is written and moved as a whole.
  inFlightMax: z
    .int()
    .min(1)
    .max(65_536)
    .default(16_384)
    .describe('Delivered and unsettled messages of one group on one queue.'),
  inFlightBytesMax: z
    .int()
    .min(1)
    .default(256 * 1024 * 1024)
    .describe('Delivered and unsettled bytes of one group on one topic.'),
  clientExpiryMs: z
    .int()
    .min(1)
    .default(120_000)
    .describe('A client that is silent this long is forgotten.'),
  lockLeaseMs: z
    .int()
    .min(1)
    .default(60_000)
    .describe('A lock on an ordered queue that is not renewed this long is free.'),
  cursorFlushMs: z
    .int()
    .min(1)
    .default(200)
    .describe('Acknowledgements and committed offsets are durable this long after at most.'),
})

export const brokerSettings = () => ({
  ...definitionSettings(),
  ...transactionSettings(),
  ...deliverySettings(),
})

type Settings = Readonly<z.output<z.ZodObject<ReturnType<typeof brokerSettings>>>>

export interface BrokerOptions extends Settings {
  readonly clusterName: string
  readonly brokerName: string
  /** 0 = master. */
  readonly brokerId: number
  /** Create a topic at its first use. */
  readonly autoCreateTopics: boolean
}

export const BROKER_DEFAULTS: BrokerOptions = {
  ...z.object(brokerSettings()).parse({}),
  clusterName: 'DefaultCluster',
  brokerName: 'broker-a',
  brokerId: 0,
  autoCreateTopics: true,
}

/**
 * The bytes of one append without its last message or fact: below the log's frame by more than one
 * record, so that the last message that fits may be as large as a message gets.
 */
export const APPEND_BYTES_TARGET = 2 * 1024 * 1024
/**
 * Entries in named queues that are on their way into the log at one time: a message that names many
 * costs the turn in which it is there far more than its bytes suggest.
 */
export const DISPATCHES_AT_ONCE_MAX = 16_384
/** Facts in one append when many are written together. */
export const APPEND_FACTS_MAX = 4096
/**
 * Of a sender. As with Apache's broker the rest of the 32,767 that a record holds is for what the
 * broker adds; what it adds for a retry or a delay may not fit.
 */
export const PROPERTIES_ACCEPTED_BYTES_MAX = 32_700
/** The properties that parking adds: the due time and the queue; the topic's name comes on top. */
export const PARKED_PROPERTIES_BYTES = 64
/**
 * The same of a half message and of the one that it becomes: also its kind, its rounds and the
 * checks; its id once more comes on top.
 */
export const HALF_PROPERTIES_BYTES = 256
