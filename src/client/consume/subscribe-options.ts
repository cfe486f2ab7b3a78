// A consumer's options, and the same checked and with their defaults.
import { BrokerError } from '../../errors.ts'
import { checkGroupName, checkTopicName } from '../../model/names.ts'
import { parseTagFilter, type TagFilter, tagFilterOf } from '../../model/tag-filter.ts'
import { checkNames } from '../calls/option-names.ts'
import type { MemberOptions } from './member-options.ts'
import type { StartAt } from './start-offset.ts'

/** Tags wanted: a list, or RocketMQ's expression ('A || B'). */
export type Tags = string | readonly string[]

export interface SubscribeOptions {
  /** Its members share the messages; in broadcasting each gets all of them. */
  readonly group: string
  readonly topic?: string | undefined
  readonly tags?: Tags | undefined
  /** Several topics, each with its tags ('*': all). All members of a group must want the same. */
  readonly topics?: Readonly<Record<string, Tags>> | ReadonlyMap<string, Tags> | undefined
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
const NAMES: Readonly<Record<keyof SubscribeOptions | 'concurrency' | 'signal', true>> = {
  group: true,
  topic: true,
  tags: true,
  topics: true,
  broadcasting: true,
  ordered: true,
  from: true,
  prefetch: true,
  retriesMax: true,
  concurrency: true,
  signal: true,
}

/** @throws BrokerError ARGUMENT_INVALID, NAME_INVALID, FILTER_INVALID */
export function memberOptions(options: SubscribeOptions): MemberOptions {
  checkNames('option of a subscription', options, NAMES)
  checkGroupName(options.group)
  const { prefetch = PREFETCH_DEFAULT, retriesMax } = options
  checkCount('prefetch', prefetch, 1, PREFETCH_MAX)
  if (retriesMax !== undefined) checkCount('retriesMax', retriesMax, 0, 1_000_000)
  return {
    group: options.group,
    topics: topicsOf(options),
    broadcasting: options.broadcasting ?? false,
    ordered: options.ordered ?? false,
    isRegistered: true,
    from: options.from ?? 'last',
    prefetch,
    retriesMax,
  }
}

function topicsOf({ topic, tags, topics }: SubscribeOptions): ReadonlyMap<string, TagFilter> {
  const wanted = new Map<string, TagFilter>()
  if (topic !== undefined) wanted.set(topic, filterOf(tags))
  else if (tags !== undefined) throw invalid("'tags' belong to a 'topic', which is missing")
  if (topics !== undefined) {
    const entries = Symbol.iterator in topics ? topics : Object.entries(topics)
    for (const [name, some] of entries) wanted.set(name, filterOf(some))
  }
  if (wanted.size === 0) throw invalid("a subscription needs a 'topic' or 'topics'")
  for (const name of wanted.keys()) checkTopicName(name)
  return wanted
}

/** @throws BrokerError FILTER_INVALID */
export const filterOf = (tags: Tags | undefined): TagFilter =>
  typeof tags === 'string' || tags === undefined || tags.length === 0
    ? parseTagFilter(tags?.length === 0 ? undefined : (tags as string | undefined))
    : tagFilterOf(tags)

/** @throws BrokerError ARGUMENT_INVALID */
export function checkCount(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return
  throw invalid(`'${name}' is ${value}; an integer from ${least} to ${most} is due`)
}

const invalid = (text: string): BrokerError => new BrokerError('ARGUMENT_INVALID', text)
