// Which topic names and filters are legal on the wire, and the names with a meaning of their own.
import { BrokerError } from '../../../errors.ts'
import { checkTopicFilter, levelsOf } from '../../../model/topic-filter.ts'
import type { MqttOptions } from '../options.ts'
import type { Properties } from './properties.ts'
import { violation } from './protocol.ts'

const SHARE_PREFIX = '$share/'
/** Of a name in a message for people. */
const SHOWN_CHARS = 80
/** First levels that a client may neither publish to nor (but for $share and $SYS) subscribe to. */
const RESERVED: ReadonlySet<string> = new Set([
  '$SYS',
  '$share',
  '$oshare',
  '$queue',
  '$from',
  '$mq',
  '$delayed',
  '$CONTROL',
  '$trivet',
  '$lmq',
])

/** Where a bridge of mosquitto says, with a retained will, whether it is connected. */
const BRIDGE_STATE = /^\$SYS\/broker\/connection\/[^/]+\/state$/

/** How long names and filters may be here; the standard has no limit but 65,535 bytes. */
export type TopicLimits = Pick<MqttOptions, 'topicBytesMax' | 'topicLevelsMax'>

/** A name a message can be published to: not empty, no wildcards (MQTT-4.7.3-1, MQTT-3.3.2-2). */
export const isTopicName = (topic: string): boolean =>
  topic !== '' && !topic.includes('#') && !topic.includes('+')

/** Why a legal name or filter is more than is taken here; undefined when it is not. */
export function topicExcess(topic: string, limits: TopicLimits): string | undefined {
  const { topicBytesMax, topicLevelsMax } = limits
  const bytes = Buffer.byteLength(topic)
  if (bytes > topicBytesMax) return `it has ${bytes} bytes; mqtt.topicBytesMax is ${topicBytesMax}`
  const levels = levelsOf(topic)
  if (levels <= topicLevelsMax) return undefined
  return `it has ${levels} levels; mqtt.topicLevelsMax is ${topicLevelsMax}`
}

/** A name to which answers can be published (MQTT-3.3.2-14). @throws ProtocolError */
export function checkResponseTopic({ responseTopic }: Properties): void {
  if (responseTopic === undefined || isTopicName(responseTopic)) return
  throw violation('the response topic is empty or has wildcards')
}

export function firstLevel(topic: string): string {
  const slash = topic.indexOf('/')
  return slash === -1 ? topic : topic.slice(0, slash)
}

export const isReservedTopic = (topic: string): boolean =>
  topic.charCodeAt(0) === 36 && RESERVED.has(firstLevel(topic)) && !BRIDGE_STATE.test(topic) // '$'

/** @throws BrokerError for a legal name that is not taken here */
export function checkName(name: string, limits: TopicLimits): void {
  const excess = topicExcess(name, limits)
  const shown = JSON.stringify(name.slice(0, SHOWN_CHARS))
  if (excess !== undefined) {
    throw new BrokerError('NAME_INVALID', `the topic ${shown} is too long: ${excess}`)
  }
  if (isReservedTopic(name)) {
    throw new BrokerError('PERMISSION_DENIED', `the topic ${shown} is reserved; choose another`)
  }
}

export interface FilterName {
  /** The filter proper, without the share. */
  readonly filter: string
  /** Name of the shared subscription, if it is one. */
  readonly share: string | undefined
}

/**
 * The parts of a filter as sent, or undefined when it is none (MQTT 4.7.1, 4.8.2) or not offered.
 */
export function parseFilter(text: string): FilterName | undefined {
  let filter = text
  let share: string | undefined
  if (text.startsWith(SHARE_PREFIX)) {
    const slash = text.indexOf('/', SHARE_PREFIX.length)
    if (slash === -1) return undefined
    share = text.slice(SHARE_PREFIX.length, slash)
    filter = text.slice(slash + 1)
    if (share === '' || share.includes('+') || share.includes('#')) return undefined
  }
  if (isReservedTopic(filter) && firstLevel(filter) !== '$SYS') return undefined
  try {
    checkTopicFilter(filter)
  } catch {
    return undefined
  }
  return { filter, share }
}
