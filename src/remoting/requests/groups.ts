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
  objectsAt,
  parseObject,
  textAt,
} from '../json/json-members.ts'
import {
  decoder,
  encoder,
  list,
  number,
  object,
  only,
  type Shaped,
  string,
  table,
  wire,
} from '../json/shape.ts'
import { bool, layout, optional, text } from '../layout.ts'
import { SUBSCRIPTION, type SubscriptionEntry } from './clients.ts'
import { QUEUE_REF, queueTable } from './queue.ts'
import { DATA_VERSION, type DataVersion } from './topics.ts'

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

const groupConfigOut = (group: GroupDefinition): JsonOut => ({
  ...KEPT_DEFAULTS,
  ...group.kept,
  attributes: { ...group.attributes },
  consumeBroadcastEnable: group.broadcastEnabled,
  consumeEnable: group.consumeEnabled,
  groupName: group.name,
  groupRetryPolicy: { type: RETRY_POLICY },
  notifyConsumerIdsChangedEnable: group.quiet !== true,
  retryMaxTimes: group.retryTimesMax,
  retryQueueNums: group.retryQueues,
})

function groupConfigOf(map: JsonMap): GroupDefinition {
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
  readonly hasRetryPolicy: boolean
  readonly hasSubscriptions: boolean
}

export interface GroupUpdate {
  readonly group: GroupDefinition
  /** How RocketMQ 5's attributes change: `+name` with a value, or `-name`. */
  readonly attributes: ReadonlyMap<string, string>
  readonly unfollowed: UnfollowedGroupFields
}

export const decodeGroupUpdate = (body: Buffer): GroupUpdate => groupUpdateOf(parseObject(body))

/** UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST. */
export const decodeGroupUpdates = (body: Buffer): GroupUpdate[] =>
  objectsAt(parseObject(body), 'groupConfigList').map(groupUpdateOf)

const groupUpdateOf = (map: JsonMap): GroupUpdate => ({
  group: groupConfigOf(map),
  attributes: new Map(
    [...entriesAt(map, 'attributes')].map(([name, value]) => [name, String(value ?? '')]),
  ),
  unfollowed: unfollowedOf(map),
})

function unfollowedOf(map: JsonMap): UnfollowedGroupFields {
  const policy = [...entriesAt(map, 'groupRetryPolicy')]
  return {
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
    `{"dataVersion":${emitJson(DATA_VERSION.out(version))},"forbiddenTable":{},"subscriptionGroupTable":{`,
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

const PROGRESS = object({
  brokerOffset: number,
  consumerOffset: number,
  lastTimestamp: number,
  pullOffset: number,
})
const PROGRESS_TABLE = queueTable(PROGRESS)
export type QueueProgress = Shaped<typeof PROGRESS_TABLE>[number]
export const decodeConsumeStats = decoder(only('offsetTable', PROGRESS_TABLE))

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
    yield emitMember(QUEUE_REF.out(progress.queue), PROGRESS.out(progress))
  }
}

const CONNECTION = object({
  clientAddr: string,
  clientId: string,
  language: string,
  version: number,
})
export type ConnectionEntry = Shaped<typeof CONNECTION>

const CONSUMER_CONNECTIONS = object({
  connections: wire('connectionSet', list(CONNECTION)),
  consumeFromWhere: string,
  consumeType: string,
  messageModel: string,
  subscriptions: wire(
    'subscriptionTable',
    table(SUBSCRIPTION, ({ topic }) => topic),
  ),
})
export const decodeConsumerConnections = decoder(CONSUMER_CONNECTIONS)
export const encodeConsumerConnections = encoder(CONSUMER_CONNECTIONS)

const PRODUCER_CONNECTIONS = only('connectionSet', list(CONNECTION))
export const decodeProducerConnections = decoder(PRODUCER_CONNECTIONS)
export const encodeProducerConnections = encoder(PRODUCER_CONNECTIONS)

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
  jsonBody({ group, subscriptionData: subscription && SUBSCRIPTION.out(subscription), topic })
