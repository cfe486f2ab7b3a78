// Where the messages for a receiving peer come from: a consumer group, or queues read by position.
// Resolves an attach's source against the broker and the peer's rights.

import type { Authenticator } from '../../../access/auth.ts'
import { BrokerError } from '../../../errors.ts'
import { ANY_QUEUE, type QueueRange } from '../../../model/message.ts'
import type { MessageFilter } from '../../../model/message-filter.ts'
import { checkGroupName } from '../../../model/names.ts'
import { type QueueOffset, queueOffset } from '../../../model/positions.ts'
import { EVERY_TAG, tagFilterOf } from '../../../model/tag-filter.ts'
import { type Address, GRAMMAR, parseAddress, type StartAt } from '../address.ts'
import type { SourceTerminus } from '../codec/terminus.ts'
import { cursorsOfGroup } from './browsing.ts'
import type { Feed } from './feed.ts'
import { GroupFeed, type GroupSource } from './group-feed.ts'
import type { Peer } from './link.ts'
import type { LinkClaim } from './link-claims.ts'
import { ensureTopic } from './node.ts'
import type { Presence } from './presence.ts'
import { type QueueCursor, QueueFeed } from './queue-feed.ts'
import { nameSubscription, type SubscriptionName, type Subscriptions } from './subscriptions.ts'

/** A bare topic name is a queue to AMQP's world: its readers share this group. */
const QUEUE_GROUP_PREFIX = 'q-'

export interface SourceRequest {
  readonly linkName: string
  readonly source: SourceTerminus
  readonly lockMsDefault: number
  /** Taken when nothing else can refuse the link, before it reads. */
  readonly claim: LinkClaim
}

export interface OpenedSource {
  readonly feed: Feed
  /**
   * The group of a durable subscription, which goes when the link is closed and not just detached.
   */
  readonly subscription: string | undefined
}

/**
 * @throws BrokerError TOPIC_NOT_FOUND, QUEUE_NOT_FOUND, PERMISSION_DENIED,
 * SUBSCRIPTION_CONFLICT, ...
 */
export async function openSource(
  request: SourceRequest,
  peer: Peer,
  presence: Presence,
  subscriptions: Subscriptions,
  auth: Authenticator,
): Promise<OpenedSource> {
  const { source, claim } = request
  if (source.address === undefined) {
    throw new BrokerError('TOPIC_NOT_FOUND', `a source without an address; write ${GRAMMAR}`)
  }
  const address = parseAddress(source.address)
  if (address.replyTo !== undefined) {
    throw new BrokerError('TOPIC_NOT_FOUND', 'replies are sent to it, and none is received from it')
  }
  const { topic } = address
  auth.authorize(peer.principal, 'consume', { kind: 'topic', name: topic })
  const filter = filterOf(source, address)
  const startAt = source.filters.find((one) => one.startAt)?.startAt ?? address.startAt
  const isSubscription = address.group === undefined && isTopicLink(source, address)
  const subscribed = isSubscription ? subscriptionOf(request, address, peer) : undefined
  const group = subscribed?.group ?? groupOf(source, address, startAt)
  const isBrowser = source.isCopy && subscribed === undefined && startAt === undefined
  await ensureTopic(topic, peer.broker, auth, peer.principal)
  if (group === undefined) {
    claim.take()
    const feed = await openQueues(address, filter, startAt, peer)
    return { feed, subscription: undefined }
  }
  checkGroupName(group)
  auth.authorize(peer.principal, 'consume', { kind: 'group', name: group })
  if (isBrowser) {
    claim.take()
    const cursors = await cursorsOfGroup(peer.broker, group, topic, address.queueId)
    const takesNewQueues = address.queueId === undefined
    const feed = new QueueFeed(peer, { topic, filter, cursors, takesNewQueues })
    return { feed, subscription: undefined }
  }
  const from: GroupSource = {
    topic,
    group,
    queueId: address.queueId ?? ANY_QUEUE,
    filter,
    // A subscription has one selector; a queue's consumers have one each (JMS).
    leavesRest: !isSubscription && filter.kind === 'sql' && filter.dialect === 'jms',
    ordered: address.ordered || address.queueId !== undefined,
    startAt: groupStart(startAt, isSubscription),
    lockMs: address.lockMs ?? request.lockMsDefault,
  }
  const leave = (): void => {
    presence.leave(from)
    if (subscribed?.isDurable === false) subscriptions.left(group)
  }
  const join = (): Promise<boolean> =>
    joinGroup(from, subscribed, claim, { peer, presence, subscriptions })
  try {
    const joined = subscribed === undefined ? join() : subscriptions.exclusively(group, join)
    const subscription = (await joined) ? group : undefined
    const feed = new GroupFeed(peer, from, leave)
    if (from.startAt === 'last') await feed.start()
    return { feed, subscription }
  } catch (error) {
    leave()
    throw error
  }
}

/**
 * Every check that may refuse the link is made before the link is taken from where it is attached.
 * Answers whether the group is its subscription's own.
 */
async function joinGroup(
  from: GroupSource,
  subscribed: SubscriptionName | undefined,
  claim: LinkClaim,
  parts: { peer: Peer; presence: Presence; subscriptions: Subscriptions },
): Promise<boolean> {
  const { topic, filter } = from
  const { peer, presence, subscriptions } = parts
  if (subscribed === undefined) {
    await checkGroup(from, peer)
    claim.take()
    await presence.join(from)
    return false
  }
  const selection = { topic, filter: filter.expression }
  const take = (): void => claim.take()
  const isOwned = await subscriptions.open(subscribed, selection, peer.principal, take)
  await checkGroup(from, peer)
  await presence.join(from)
  return isOwned
}

/**
 * A group that is there already goes on where it is; a new one begins at the first or at the next
 * message.
 */
function groupStart(startAt: StartAt | undefined, isSubscription: boolean): 'first' | 'last' {
  if (startAt === undefined) return isSubscription ? 'last' : 'first'
  return startAt.kind === 'next' || startAt.kind === 'last' ? 'last' : 'first'
}

/** undefined for reading by position. */
function groupOf(
  source: SourceTerminus,
  address: Address,
  startAt: StartAt | undefined,
): string | undefined {
  // A copy that begins where it says is one of the log, not of what is left for a group.
  const isOfLog = source.isCopy && startAt !== undefined
  if (address.group !== undefined && !isOfLog) return address.group
  if (address.broadcast || address.queueId !== undefined) return undefined
  if (isTopicLink(source, address) || isOfLog) return undefined
  return QUEUE_GROUP_PREFIX + address.topic
}

/** An address that says how its messages are shared goes before a capability. */
const isTopicLink = (source: SourceTerminus, address: Address): boolean =>
  address.routing === undefined
    ? source.capabilities.includes('topic')
    : address.routing === 'topic'

/**
 * JMS' subscriptions that are durable or shared; any other reader of a topic gets everything by
 * itself.
 */
function subscriptionOf(
  { source, linkName }: SourceRequest,
  address: Address,
  peer: Peer,
): SubscriptionName | undefined {
  if (address.broadcast || address.queueId !== undefined) return undefined
  const isDurable = source.durable > 0 || source.expiryPolicy === 'never'
  const isShared = source.capabilities.includes('shared')
  const isGlobal = source.capabilities.includes('global')
  if (!isDurable && !isShared) return undefined
  return nameSubscription(linkName, peer.containerId, { isDurable, isShared, isGlobal })
}

/** Filters win over options, for clients that can set both. */
function filterOf(source: SourceTerminus, address: Address): MessageFilter {
  const chosen = source.filters.find((one) => one.selects)?.selects ?? address.filter
  if (chosen !== undefined) return chosen
  return address.tag === undefined ? EVERY_TAG : tagFilterOf([address.tag])
}

async function checkGroup(source: GroupSource, { broker }: Peer): Promise<void> {
  const { group, topic, filter, leavesRest } = source
  await broker.groups.ensure(group)
  await broker.groups.checkReceiving(group, topic, filter, leavesRest)
}

async function openQueues(
  address: Address,
  filter: MessageFilter,
  startAt: StartAt | undefined,
  peer: Peer,
): Promise<Feed> {
  const { topic, queueId } = address
  const ranges = await peer.broker.topics.ranges(topic)
  const wanted = queueId === undefined ? ranges : ranges.filter((one) => one.queueId === queueId)
  if (wanted.length === 0) {
    throw new BrokerError(
      'QUEUE_NOT_FOUND',
      `topic '${topic}' has the queues 0 to ${ranges.length - 1}, not ${queueId}`,
    )
  }
  // One queue begins at the beginning, a broadcast now.
  const start = startAt ?? { kind: queueId === undefined ? 'next' : 'first' }
  const cursors: QueueCursor[] = []
  for (const range of wanted) {
    const offset = await offsetOf(start, range, peer)
    const { brokerName } = range
    cursors.push({
      ...{ topic, brokerName, queueId: range.queueId },
      ...{ waiting: [], offset, mayHaveMore: true },
    })
  }
  return new QueueFeed(peer, { topic, filter, cursors, takesNewQueues: queueId === undefined })
}

async function offsetOf(start: StartAt, range: QueueRange, peer: Peer): Promise<QueueOffset> {
  const { minOffset, maxOffset } = range
  switch (start.kind) {
    case 'first':
      return minOffset
    case 'next':
      return maxOffset
    case 'last':
      return queueOffset(Math.max(minOffset, maxOffset - 1))
    case 'offset':
      return queueOffset(start.offset)
    case 'time':
      return peer.broker.cursors.byTime(range, start.epochMs, 'lower')
  }
}
