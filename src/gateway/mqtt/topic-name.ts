// Which topic names and filters are legal on the wire, and the names with a meaning of their own.
import { checkTopicFilter } from '../../model/topic-filter.ts'
import { TOPIC_LEVELS_MAX } from './limits.ts'
import type { Properties } from './properties.ts'
import { violation } from './protocol.ts'

const SHARE_PREFIX = '$share/'
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
])

/** Where a bridge of mosquitto says, with a retained will, whether it is connected. */
const BRIDGE_STATE = /^\$SYS\/broker\/connection\/[^/]+\/state$/

/** A name a message can be published to: not empty, no wildcards, not too many levels. */
export function isTopicName(topic: string): boolean {
  if (topic === '') return false
  let levels = 1
  for (let i = 0; i < topic.length; i++) {
    const code = topic.charCodeAt(i)
    if (code === 35 || code === 43) return false // '#', '+'
    if (code === 47 && ++levels > TOPIC_LEVELS_MAX) return false // '/'
  }
  return true
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

export interface FilterName {
  /** The filter proper, without the share. */
  readonly filter: string
  /** Name of the shared subscription, if it is one. */
  readonly share: string | undefined
}

/** The parts of a filter as sent, or undefined when it is none (MQTT 4.7.1, 4.8.2). */
export function parseFilter(text: string): FilterName | undefined {
  let filter = text
  let share: string | undefined
  if (text.startsWith(SHARE_PREFIX)) {
    const slash = text.indexOf('/', SHARE_PREFIX.length)
    if (slash === -1) return undefined
    share = text.slice(SHARE_PREFIX.length, slash)
    filter = text.slice(slash + 1)
    if (share === '' || share.includes('+') || share.includes('#')) return undefined
  } else if (isReservedTopic(text) && firstLevel(text) !== '$SYS') {
    return undefined
  }
  try {
    checkTopicFilter(filter)
  } catch {
    return undefined
  }
  return { filter, share }
}
