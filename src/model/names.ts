// Which names are legal, and the names RocketMQ derives from others. Names from the wire are keys
// of Maps, never of plain objects and never paths.
import { BrokerError } from '../errors.ts'
import { GROUP_CHARS_MAX, SYSTEM_TOPIC_CHARS_MAX, TOPIC_CHARS_MAX } from './limits.ts'

export const RETRY_PREFIX = '%RETRY%'
export const DLQ_PREFIX = '%DLQ%'
/**
 * The topic a client copies when its own does not exist yet; it exists while topics are
 * auto-created.
 */
export const AUTO_CREATE_TOPIC = 'TBW102'
/** Delayed messages wait here; RocketMQ's own name. */
export const SCHEDULE_TOPIC = 'SCHEDULE_TOPIC_XXXX'
export const HALF_TOPIC = 'RMQ_SYS_TRANS_HALF_TOPIC'
/** Half messages whose producers never said what became of them; RocketMQ's own name. */
export const TRANSACTIONS_GIVEN_UP_TOPIC = 'TRANS_CHECK_MAX_TIME_TOPIC'
const HALF_OP_TOPIC = 'RMQ_SYS_TRANS_OP_HALF_TOPIC'
/** Where clients with message trace write, unless they are told another topic. */
export const TRACE_TOPIC = 'RMQ_SYS_TRACE_TOPIC'
/** MQTT topics whose first level is no RocketMQ topic belong to this one. */
export const MQTT_CATCH_ALL_TOPIC = 'MQTT'
/** Where gateways before a cluster share what outlives a connection. */
export const STATE_TOPIC = 'TRIVET_STATE'
/** Durable facts that are no messages: definitions, cursors, sessions. */
export const FACT_TOPIC = 'rmq_sys_TRIVET_FACTS'
/** A group that every RocketMQ broker has for tools; nothing is kept for it. */
export const TOOLS_GROUP = 'TOOLS_CONSUMER'
/** A light queue is addressed as a topic of one queue: this prefix and its filter. */
export const LIGHT_QUEUE_PREFIX = '%LMQ%'
/**
 * The same for a live light queue, which has offsets of its own and is gone with its last binder.
 */
export const LIVE_QUEUE_PREFIX = '%LIVE%'

const LEGAL = /^[%|a-zA-Z0-9_-]+$/
const SYSTEM_PREFIX = 'rmq_sys_'
/** Topics no client may send to (RocketMQ's TopicValidator). */
const SEND_FORBIDDEN: ReadonlySet<string> = new Set([
  SCHEDULE_TOPIC,
  HALF_TOPIC,
  HALF_OP_TOPIC,
  TRANSACTIONS_GIVEN_UP_TOPIC,
  'SELF_TEST_TOPIC',
  'OFFSET_MOVED_EVENT',
])

export const retryTopic = (group: string): string => RETRY_PREFIX + group
export const deadLetterTopic = (group: string): string => DLQ_PREFIX + group
export const isRetryTopic = (topic: string): boolean => topic.startsWith(RETRY_PREFIX)
export const isDeadLetterTopic = (topic: string): boolean => topic.startsWith(DLQ_PREFIX)
/** Whose retry or dead-letter topic it is. */
export const groupOfTopic = (topic: string): string =>
  topic.slice((isRetryTopic(topic) ? RETRY_PREFIX : DLQ_PREFIX).length)
export const isLiveQueue = (topic: string): boolean => topic.startsWith(LIVE_QUEUE_PREFIX)
export const isLightQueue = (topic: string): boolean =>
  topic.startsWith(LIGHT_QUEUE_PREFIX) || isLiveQueue(topic)
export const lightQueueTopic = (filter: string, durable = true): string =>
  (durable ? LIGHT_QUEUE_PREFIX : LIVE_QUEUE_PREFIX) + filter

export function isSystemTopic(topic: string): boolean {
  return topic === AUTO_CREATE_TOPIC || SEND_FORBIDDEN.has(topic) || topic.startsWith(SYSTEM_PREFIX)
}

/**
 * RocketMQ's brokers also have topics of their own name and their cluster's, and some for tests.
 */
const MACHINERY: ReadonlySet<string> = new Set([
  ...['BenchmarkTest', 'DefaultCluster', TRACE_TOPIC],
  STATE_TOPIC,
])

/** Neither a group's nor one that brokers or their tools make for themselves. */
export const isUserTopic = (name: string, brokerName: string): boolean =>
  !isSystemTopic(name) &&
  !isRetryTopic(name) &&
  !isDeadLetterTopic(name) &&
  name !== brokerName &&
  !name.endsWith('_REPLY_TOPIC') &&
  !MACHINERY.has(name)

export const isSendForbidden = (topic: string): boolean =>
  SEND_FORBIDDEN.has(topic) || topic.startsWith(SYSTEM_PREFIX)

/** @throws BrokerError NAME_INVALID */
export function checkTopicName(topic: string): void {
  const isGroups = typeof topic === 'string' && (isRetryTopic(topic) || isDeadLetterTopic(topic))
  const longest = isGroups ? SYSTEM_TOPIC_CHARS_MAX : TOPIC_CHARS_MAX
  checkName('topic', topic, longest)
}

/** @throws BrokerError NAME_INVALID */
export function checkGroupName(group: string): void {
  checkName('group', group, GROUP_CHARS_MAX)
}

function checkName(noun: string, name: string, longest: number): void {
  // What is written in JavaScript may be anything.
  if (typeof name !== 'string')
    throw new BrokerError('NAME_INVALID', `the ${noun} name is no string`)
  if (name.length === 0) throw new BrokerError('NAME_INVALID', `the ${noun} name is empty`)
  if (name.length > longest) {
    const start = name.slice(0, 40)
    throw new BrokerError(
      'NAME_INVALID',
      `the ${noun} name '${start}...' has ${name.length} characters; ${longest} is the most`,
    )
  }
  if (!LEGAL.test(name)) {
    throw new BrokerError(
      'NAME_INVALID',
      `the ${noun} name ${JSON.stringify(name)} has a character outside a-z A-Z 0-9 _ - % |`,
    )
  }
}

/** Where the answers to requests are sent. */
export const replyTopic = (clusterName: string): string => `${clusterName}_REPLY_TOPIC`

// Named queues: light queues that native clients know by a name of their own, RocketMQ's LMQ. On
// the wire one is the topic `%LMQ%name`, and a message gets there because its sender names it in
// INNER_MULTI_DISPATCH: `%LMQ%a,%LMQ%b`. Here it is the light queue of the filter `$lmq/name`,
// which no routing name matches.

const NAMED_LEVEL = '$lmq/'
const NAMED_PREFIX = LIGHT_QUEUE_PREFIX + NAMED_LEVEL
const SEPARATOR = ','
/** Queues that one message names. */
export const DISPATCHES_MAX = 64

/** RocketMQ's names, and '$', which those of its lite topics have. */
const NAMED_LEGAL = /^[%|a-zA-Z0-9_$-]+$/

/**
 * The topic of the named queue that a topic on the native wire is; any other means itself. By the
 * topic that it has here no named queue is reached: rights are for names as they are on the wire.
 */
export function topicOfWire(wire: string): string {
  if (!wire.startsWith(LIGHT_QUEUE_PREFIX)) return wire
  const name = wire.slice(LIGHT_QUEUE_PREFIX.length)
  return isQueueName(name) || name.startsWith(NAMED_LEVEL) ? NAMED_PREFIX + name : wire
}

const isQueueName = (name: string): boolean =>
  name.length <= TOPIC_CHARS_MAX - LIGHT_QUEUE_PREFIX.length && NAMED_LEGAL.test(name)

/** The other way round. */
export const topicOnWire = (topic: string): string =>
  isNamedQueue(topic) ? LIGHT_QUEUE_PREFIX + topic.slice(NAMED_PREFIX.length) : topic

export const isNamedQueue = (topic: string): boolean =>
  topic.startsWith(NAMED_PREFIX) && isQueueName(topic.slice(NAMED_PREFIX.length))

/** The filter of a named queue's topic. */
export const filterOfNamed = (topic: string): string => topic.slice(LIGHT_QUEUE_PREFIX.length)

/** The names in a message's INNER_MULTI_DISPATCH, each once, as they are on the wire. */
export const namesIn = (value: string): ReadonlySet<string> =>
  new Set(value.split(SEPARATOR).filter((name) => name.trim() !== ''))

/** The topics of the queues that they mean; what is no name of one is left out. */
export const dispatchedTo = (value: string): readonly string[] =>
  [...namesIn(value)].slice(0, DISPATCHES_MAX).map(topicOfWire).filter(isNamedQueue)

/** @throws BrokerError MESSAGE_INVALID when one is left out */
export function checkDispatch(value: string): void {
  const names = namesIn(value)
  if (names.size > DISPATCHES_MAX) {
    throw invalid(`it names ${names.size} queues; ${DISPATCHES_MAX} is the most`)
  }
  for (const name of names) {
    if (isNamedQueue(topicOfWire(name))) continue
    throw invalid(
      `${JSON.stringify(name.slice(0, 40))} is not ${LIGHT_QUEUE_PREFIX} and a name of a-z A-Z 0-9 ` +
        `_ - % | $, of ${TOPIC_CHARS_MAX} characters at most`,
    )
  }
}

const invalid = (why: string): BrokerError =>
  new BrokerError('MESSAGE_INVALID', `the property INNER_MULTI_DISPATCH cannot be obeyed: ${why}`)
