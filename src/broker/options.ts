// The broker's settings with their defaults, and its limits that are no settings.
import { BODY_BYTES_DEFAULT } from '../model/limits.ts'

export interface BrokerOptions {
  readonly clusterName: string
  readonly brokerName: string
  /** 0 = master. */
  readonly brokerId: number
  /** Create a topic at its first use. */
  readonly autoCreateTopics: boolean
  /** Create a consumer group at its first use. */
  readonly autoCreateGroups: boolean
  /** Queues of a topic that is created without a count. */
  readonly queuesDefault: number
  /** Topics of users; retry and dead-letter topics come on top. */
  readonly topicsMax: number
  readonly groupsMax: number
  readonly bodyBytesMax: number
  /** Longest delay of a message. RocketMQ's default is three days. */
  readonly delayMsMax: number
  /** Pulls that wait for a message at the same time. */
  readonly heldPullsMax: number
  /** Receives that wait for a message at the same time. */
  readonly heldReceivesMax: number
  /** Delivered and unsettled messages of one group on one queue. */
  readonly inFlightMax: number
  /** Delivered and unsettled bytes of one group on one topic, its retry topic included. */
  readonly inFlightBytesMax: number
  /** A client that is silent this long is forgotten (RocketMQ's 120 s). */
  readonly clientExpiryMs: number
  /** A queue lock that is not renewed this long is free (RocketMQ's 60 s). */
  readonly lockLeaseMs: number
  /** Acks and committed offsets are durable this long after the call at most. */
  readonly cursorFlushMs: number
}

const DAY_MS = 86_400_000

export const BROKER_DEFAULTS: BrokerOptions = {
  clusterName: 'DefaultCluster',
  brokerName: 'broker-a',
  brokerId: 0,
  autoCreateTopics: true,
  autoCreateGroups: true,
  queuesDefault: 4,
  topicsMax: 10_000,
  groupsMax: 10_000,
  bodyBytesMax: BODY_BYTES_DEFAULT,
  delayMsMax: 3 * DAY_MS,
  heldPullsMax: 100_000,
  heldReceivesMax: 100_000,
  inFlightMax: 16_384,
  inFlightBytesMax: 256 * 1024 * 1024,
  clientExpiryMs: 120_000,
  lockLeaseMs: 60_000,
  cursorFlushMs: 200,
}

/**
 * The bytes of one append without its last message or fact: below the log's frame by more than one
 * record, so that the last message that fits may be as large as a message gets.
 */
export const APPEND_BYTES_TARGET = 2 * 1024 * 1024
/** Facts in one append when many are written together. */
export const APPEND_FACTS_MAX = 4096
/**
 * Of a sender. As with Apache's broker the rest of the 32,767 that a record holds is for what the
 * broker adds; what it adds for a retry or a delay may not fit.
 */
export const PROPERTIES_ACCEPTED_BYTES_MAX = 32_700
/** The properties that parking adds: the due time and the queue; the topic's name comes on top. */
export const PARKED_PROPERTIES_BYTES = 64
