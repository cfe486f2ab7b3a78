// What the brokers of a cluster sort out by themselves; the rest a gateway looks at itself.
import type { MessageFilter } from '../../model/message-filter.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'

/** Apache's brokers refuse other than tags, unless they are told `enablePropertyFilter`. */
export const filterOfPull = (filter: MessageFilter): MessageFilter =>
  filter.kind === 'sql' ? EVERY_TAG : filter

/**
 * A condition is a condition to every broker; of the words of a JMS selector it knows none, and
 * would pass over, for the whole group, what they select.
 */
export const filterOfPop = (filter: MessageFilter): MessageFilter =>
  filter.kind === 'sql' && filter.dialect === 'jms' ? EVERY_TAG : filter
