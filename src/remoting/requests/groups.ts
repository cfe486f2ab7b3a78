// Consumer groups: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200) and its list (225),
// GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201), DELETE_SUBSCRIPTIONGROUP (207),
// GET_SUBSCRIPTIONGROUP_CONFIG (352), GET_CONSUME_STATS (208) and the connected clients: 203, 204,
// 328, 343, 345.
import type { Slice } from '../../clock.ts'
import { type GroupDefinition, groupDefaults, type KeptGroupFields } from '../../model/group.ts'
import type { JsonMap } from '../json/json.ts'
import {
  emitJson,
  emitMember,
  type JsonOut,
  jsonBody,
  jsonBodyInSlices,
} from '../json/json-emitter.ts'
import {
  asObject,
  entriesAt,
  flagAt,
  numberAt,
  objectAt,
  objectsAt,
  parseObject,
  textAt,
} from '../json/json-members.ts'
import { bool, layout, optional, text } from '../layout.ts'
import { type SubscriptionEntry, subscriptionOf, subscriptionOut } from './clients.ts'
import { type QueueRef, queueOf, queueOut } from './queue.ts'
import { type DataVersion, dataVersionOut } from './topics.ts'

export const GROUP = layout({ group: text })
export const DELETE_GROUP = layout({ groupName: text, cleanOffset: optional(bool) })
export const PRODUCER_GROUP = layout({ producerGroup: text })
export const GROUP_SUBSCRIPTION = layout({ group: text, topic: text })

/** Fields without effect here, with Java's defaults. */
const KEPT_DEFAULTS: KeptGroupFields = {
  brokerId: 0,
  consumeFromMinEnable: true,
  consumeMessageOrderly: false,
  consumeTimeoutMinute: 15,
  groupSysFlag: 0,
  whichBrokerWhenConsumeSlowly: 1,
}
/** The only retry policy: RocketMQ's ladder of delays. */
const RETRY_POLICY = 'CUSTOMIZED'

export const groupConfigOut = (group: GroupDefinition): JsonOut => ({
  ...KEPT_DEFAULTS,
  ...group.kept,
  attributes: {},
  consumeBroadcastEnable: group.broadcastEnabled,
  consumeEnable: group.consumeEnabled,
  groupName: group.name,
  groupRetryPolicy: { type: RETRY_POLICY },
  notifyConsumerIdsChangedEnable: group.quiet !== true,
  retryMaxTimes: group.retryTimesMax,
  retryQueueNums: group.retryQueues,
})

export function groupConfigOf(map: JsonMap): GroupDefinition {
  const defaults = groupDefaults(textAt(map, 'groupName'))
  return {
    name: defaults.name,
    consumeEnabled: flagAt(map, 'consumeEnable', defaults.consumeEnabled),
    broadcastEnabled: flagAt(map, 'consumeBroadcastEnable', defaults.broadcastEnabled),
    retryQueues: numberAt(map, 'retryQueueNums', defaults.retryQueues),
    retryTimesMax: numberAt(map, 'retryMaxTimes', defaults.retryTimesMax),
    ...(!flagAt(map, 'notifyConsumerIdsChangedEnable', true) && { quiet: true }),
    ...keptOf(map),
  }
}

/** Nothing where all are as by default, so that the same configuration is the same definition. */
function keptOf(map: JsonMap): Pick<GroupDefinition, 'kept'> {
  const kept = Object.entries(KEPT_DEFAULTS).flatMap(([name, absent]) => {
    const value =
      typeof absent === 'boolean' ? flagAt(map, name, absent) : numberAt(map, name, absent)
    return value === absent ? [] : [[name, value] as const]
  })
  return kept.length === 0 ? {} : { kept: Object.fromEntries(kept) }
}

/** The fields of a configuration that a broker would have to follow, and this one does not. */
export interface UnfollowedGroupFields {
  /** Names of RocketMQ 5's attributes that it sets or takes away. */
  readonly attributes: readonly string[]
  readonly hasRetryPolicy: boolean
  readonly hasSubscriptions: boolean
}

export interface GroupUpdate {
  readonly group: GroupDefinition
  readonly unfollowed: UnfollowedGroupFields
}

export const decodeGroupUpdate = (body: Buffer): GroupUpdate => groupUpdateOf(parseObject(body))

/** UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST. */
export const decodeGroupUpdates = (body: Buffer): GroupUpdate[] =>
  objectsAt(parseObject(body), 'groupConfigList').map(groupUpdateOf)

const groupUpdateOf = (map: JsonMap): GroupUpdate => ({
  group: groupConfigOf(map),
  unfollowed: unfollowedOf(map),
})

function unfollowedOf(map: JsonMap): UnfollowedGroupFields {
  const policy = [...entriesAt(map, 'groupRetryPolicy')]
  return {
    attributes: [...entriesAt(map, 'attributes')].map(([name]) => name),
    hasRetryPolicy: policy.some(([name, value]) =>
      name === 'type' ? value !== RETRY_POLICY : value !== null,
    ),
    hasSubscriptions: objectsAt(map, 'subscriptionDataSet').length > 0,
  }
}

export const encodeGroupConfig = (group: GroupDefinition): Buffer => jsonBody(groupConfigOut(group))
export const decodeGroupConfig = (body: Buffer): GroupDefinition => groupConfigOf(parseObject(body))

export const encodeGroupTable = (
  version: DataVersion,
  groups: readonly GroupDefinition[],
  slice: Slice,
): Promise<Buffer> =>
  jsonBodyInSlices(
    `{"dataVersion":${emitJson(dataVersionOut(version))},"forbiddenTable":{},"subscriptionGroupTable":{`,
    groupMembers(groups),
    '}}',
    slice,
  )

function* groupMembers(groups: readonly GroupDefinition[]): Generator<string> {
  for (const group of groups) yield emitMember(group.name, groupConfigOut(group))
}

export const decodeGroupTable = (body: Buffer): GroupDefinition[] =>
  [...entriesAt(parseObject(body), 'subscriptionGroupTable')].map(([name, config]) => ({
    ...groupConfigOf(asObject(config)),
    name,
  }))

/** GET_CONSUME_STATS: one topic, several joined by ';', or all of the group. */
export const GET_CONSUME_STATS = layout({
  consumerGroup: text,
  topic: optional(text),
  topicList: optional(text),
})

export interface QueueProgress {
  readonly queue: QueueRef
  readonly brokerOffset: number
  readonly consumerOffset: number
  readonly pullOffset: number
  readonly lastTimestamp: number
}

/** `consumeTps`: messages a second that the group was given over the last minute. */
export const encodeConsumeStats = (
  queues: readonly QueueProgress[],
  consumeTps: number,
  slice: Slice,
): Promise<Buffer> =>
  jsonBodyInSlices(
    `{"consumeTps":${consumeTps},"offsetTable":{`,
    progressMembers(queues),
    '}}',
    slice,
  )

export function* progressMembers(queues: readonly QueueProgress[]): Generator<string> {
  for (const progress of queues) {
    yield emitMember(queueOut(progress.queue), {
      brokerOffset: progress.brokerOffset,
      consumerOffset: progress.consumerOffset,
      lastTimestamp: progress.lastTimestamp,
      pullOffset: progress.pullOffset,
    })
  }
}

export function decodeConsumeStats(body: Buffer): QueueProgress[] {
  return [...objectAt(parseObject(body), 'offsetTable')].map(([key, value]) => {
    const progress = asObject(value)
    return {
      queue: queueOf(asObject(typeof key === 'string' ? null : key)),
      brokerOffset: numberAt(progress, 'brokerOffset'),
      consumerOffset: numberAt(progress, 'consumerOffset'),
      pullOffset: numberAt(progress, 'pullOffset'),
      lastTimestamp: numberAt(progress, 'lastTimestamp'),
    }
  })
}

export interface ConnectionEntry {
  readonly clientId: string
  readonly clientAddr: string
  readonly language: string
  readonly version: number
}

const connectionOut = (entry: ConnectionEntry): JsonOut => ({
  clientAddr: entry.clientAddr,
  clientId: entry.clientId,
  language: entry.language,
  version: entry.version,
})

const connectionOf = (map: JsonMap): ConnectionEntry => ({
  clientId: textAt(map, 'clientId'),
  clientAddr: textAt(map, 'clientAddr'),
  language: textAt(map, 'language'),
  version: numberAt(map, 'version'),
})

export interface ConsumerConnections {
  readonly connections: readonly ConnectionEntry[]
  readonly consumeFromWhere: string
  readonly consumeType: string
  readonly messageModel: string
  readonly subscriptions: readonly SubscriptionEntry[]
}

export const encodeConsumerConnections = (consumers: ConsumerConnections): Buffer =>
  jsonBody({
    connectionSet: consumers.connections.map(connectionOut),
    consumeFromWhere: consumers.consumeFromWhere,
    consumeType: consumers.consumeType,
    messageModel: consumers.messageModel,
    subscriptionTable: new Map(
      consumers.subscriptions.map((entry) => [entry.topic, subscriptionOut(entry)]),
    ),
  })

export function decodeConsumerConnections(body: Buffer): ConsumerConnections {
  const map = parseObject(body)
  return {
    connections: objectsAt(map, 'connectionSet').map(connectionOf),
    consumeFromWhere: textAt(map, 'consumeFromWhere'),
    consumeType: textAt(map, 'consumeType'),
    messageModel: textAt(map, 'messageModel'),
    subscriptions: [...entriesAt(map, 'subscriptionTable')].map(([, entry]) =>
      subscriptionOf(asObject(entry)),
    ),
  }
}

export const encodeProducerConnections = (connections: readonly ConnectionEntry[]): Buffer =>
  jsonBody({ connectionSet: connections.map(connectionOut) })

export const decodeProducerConnections = (body: Buffer): ConnectionEntry[] =>
  objectsAt(parseObject(body), 'connectionSet').map(connectionOf)

/** GET_ALL_PRODUCER_INFO: by group. */
export const encodeProducers = (
  groups: ReadonlyMap<string, readonly ConnectionEntry[]>,
  nowMs: number,
  slice: Slice,
): Promise<Buffer> => jsonBodyInSlices('{"data":{', producerMembers(groups, nowMs), '}}', slice)

function* producerMembers(
  groups: ReadonlyMap<string, readonly ConnectionEntry[]>,
  nowMs: number,
): Generator<string> {
  for (const [group, clients] of groups) {
    const producers = clients.map(({ clientId, clientAddr, language, version }) => ({
      clientId,
      language,
      // A client that has not been heard of for long is not in the table.
      lastUpdateTimestamp: nowMs,
      // As Java writes the address of a socket.
      remoteIP: `/${clientAddr}`,
      version,
    }))
    yield emitMember(group, producers)
  }
}

/** QUERY_SUBSCRIPTION_BY_CONSUMER. */
export const encodeGroupSubscription = (
  group: string,
  topic: string,
  subscription: SubscriptionEntry | undefined,
): Buffer =>
  jsonBody({ group, subscriptionData: subscription && subscriptionOut(subscription), topic })
