// A consumer's options, and the same checked and with their defaults.
import { BrokerError } from '../../errors.ts'
import {
  EXPRESSION_TYPE,
  type MessageFilter,
  parseMessageFilter,
} from '../../model/message-filter.ts'
import { checkGroupName, checkTopicName } from '../../model/names.ts'
import { EVERY_TAG, parseTagFilter, tagFilterOf } from '../../model/tag-filter.ts'
import { checkKind, checkNames, KIND, type Kind, shown } from '../calls/option-names.ts'
import type { MemberOptions } from './member-options.ts'
import type { StartAt } from './start-offset.ts'

/** Tags wanted: a list, or RocketMQ's expression ('A || B'). */
export type Tags = string | readonly string[]

/** What is wanted of one of several topics. */
export type Selection = Tags | { readonly sql: string }

export interface SubscribeOptions {
  /** Its members share the messages; in broadcasting each gets all of them. */
  readonly group: string
  readonly topic?: string | undefined
  readonly tags?: Tags | undefined
  /** Instead of tags: a condition over the messages' properties, in RocketMQ's SQL92. */
  readonly sql?: string | undefined
  /** Several topics, each with its tags ('*': all). All members of a group must want the same. */
  readonly topics?: Readonly<Record<string, Selection>> | ReadonlyMap<string, Selection> | undefined
  readonly broadcasting?: boolean | undefined
  /**
   * One message of a queue at a time, by one member of the group at a time; failures repeat in
   * place.
   */
  readonly ordered?: boolean | undefined
  /** Where the group starts when it never committed; default: messages sent from now on. */
  readonly from?: StartAt | undefined
  /**
   * Messages that may be here unsettled, shared out evenly over the queues read (the retry topic's
   * too), at least one for each; reading waits at this bound.
   */
  readonly prefetch?: number | undefined
  /**
   * Deliveries after the first before the dead-letter topic; default: as the group is defined (16).
   */
  readonly retriesMax?: number | undefined
}

const PREFETCH_DEFAULT = 1000
const PREFETCH_MAX = 100_000

/** `concurrency` and `signal` go to the call that begins the consumption. */
const NAMES: Readonly<Record<keyof SubscribeOptions | 'concurrency' | 'signal', Kind | true>> = {
  group: KIND.text,
  topic: KIND.text,
  tags: true,
  sql: KIND.text,
  topics: KIND.object,
  broadcasting: KIND.flag,
  ordered: KIND.flag,
  from: true,
  prefetch: KIND.number,
  retriesMax: KIND.number,
  concurrency: KIND.number,
  signal: KIND.signal,
}

/** @throws BrokerError ARGUMENT_INVALID, NAME_INVALID, FILTER_INVALID */
export function memberOptions(options: SubscribeOptions): MemberOptions {
  checkNames('option of a subscription', options, NAMES)
  checkGroupName(options.group)
  const { prefetch = PREFETCH_DEFAULT, retriesMax, from = 'last' } = options
  checkStart(from)
  checkCount('prefetch', prefetch, 1, PREFETCH_MAX)
  if (retriesMax !== undefined) checkCount('retriesMax', retriesMax, 0, 1_000_000)
  return {
    group: options.group,
    topics: topicsOf(options),
    broadcasting: options.broadcasting ?? false,
    ordered: options.ordered ?? false,
    isRegistered: true,
    from,
    prefetch,
    retriesMax,
  }
}

function topicsOf(options: SubscribeOptions): ReadonlyMap<string, MessageFilter> {
  const { topic, tags, sql, topics } = options
  const wanted = new Map<string, MessageFilter>()
  if (tags !== undefined && sql !== undefined) throw invalid("give 'tags' or 'sql', not both")
  if (topic !== undefined) wanted.set(topic, filterOf(sql === undefined ? tags : { sql }))
  else if (tags !== undefined || sql !== undefined) {
    throw invalid("'tags' and 'sql' belong to a 'topic', which is missing")
  }
  if (topics !== undefined) {
    const entries = Symbol.iterator in topics ? topics : Object.entries(topics)
    for (const entry of entries) {
      checkKind('topics', entry, KIND.list)
      wanted.set(entry[0], filterOf(entry[1]))
    }
  }
  if (wanted.size === 0) throw invalid("a subscription needs a 'topic' or 'topics'")
  for (const name of wanted.keys()) checkTopicName(name)
  return wanted
}

/** @throws BrokerError FILTER_INVALID */
export function filterOf(selection: Selection | undefined): MessageFilter {
  if (selection === undefined || typeof selection === 'string') return parseTagFilter(selection)
  checkKind('tags', selection, KIND.object)
  if ('sql' in selection) {
    checkKind('sql', selection.sql, KIND.text)
    return parseMessageFilter(selection.sql, EXPRESSION_TYPE.sql)
  }
  checkKind('tags', selection, KIND.texts)
  return selection.length === 0 ? EVERY_TAG : tagFilterOf(selection)
}

/** @throws BrokerError ARGUMENT_INVALID */
export function checkCount(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return
  throw invalid(`'${name}' is ${shown(value)}; an integer from ${least} to ${most} is due`)
}

const invalid = (text: string): BrokerError => new BrokerError('ARGUMENT_INVALID', text)

function checkStart(from: StartAt): void {
  if (from === 'first' || from === 'last') return
  checkKind('from', from, { ...KIND.object, due: "'first', 'last' or { timestampMs }" })
  checkKind('timestampMs', from.timestampMs, KIND.count)
}
