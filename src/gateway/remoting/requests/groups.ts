// Consumer groups: definitions and progress.
import { isDeepStrictEqual } from 'node:util'
import { Slice } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import { checkGroupName } from '../../../model/names.ts'
import { REQUEST } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import {
  DELETE_GROUP,
  decodeGroupConfig,
  encodeConsumeStats,
  encodeGroupConfig,
  encodeGroupTable,
  GET_CONSUME_STATS,
  GROUP,
  type QueueProgress,
  type UnfollowedGroupFields,
  unfollowedOf,
} from '../../../remoting/requests/groups.ts'
import { CLUSTER, groupResource, topicResource } from '../address.ts'
import {
  type Answer,
  answerBody,
  authorize,
  type Call,
  DONE,
  mayConsume,
  type RequestTable,
} from '../call.ts'
import { recordAt } from '../record-at.ts'
import { tableVersion } from '../table-version.ts'

export const groupRequests: RequestTable = new Map([
  [REQUEST.updateGroup, updateGroup],
  [REQUEST.deleteGroup, deleteGroup],
  [REQUEST.getAllGroupConfig, allGroups],
  [REQUEST.getGroupConfig, groupConfig],
  [REQUEST.getConsumeStats, consumeStats],
])

async function updateGroup(call: Call): Promise<Answer> {
  const group = decodeGroupConfig(call.body)
  const { groups } = call.context.broker
  const known = await groups.get(group.name)
  // To create is not to change: a group that is there already belongs to all its consumers.
  const action = known === undefined || isDeepStrictEqual(known, group) ? 'create' : 'manage'
  authorize(call, action, groupResource(group.name))
  checkGroupName(group.name)
  checkFollowed(unfollowedOf(call.body))
  await groups.put(group)
  return DONE
}

/** @throws BrokerError ARGUMENT_INVALID: a field that is dropped in silence misleads */
function checkFollowed(unfollowed: UnfollowedGroupFields): void {
  const { attributes, hasRetryPolicy, hasSubscriptions } = unfollowed
  const refused = (text: string): BrokerError =>
    new BrokerError('ARGUMENT_INVALID', `groups of this broker have no ${text}`)
  const [first] = attributes
  if (first !== undefined) {
    throw refused(`attribute '${first.slice(0, 80)}', and no other either`)
  }
  if (hasRetryPolicy) {
    throw refused('groupRetryPolicy of their own: retries wait as long as the delay levels say')
  }
  if (hasSubscriptions) {
    throw refused(
      'subscriptionDataSet of their own: a group subscribes to what its members ask for',
    )
  }
}

async function deleteGroup(call: Call): Promise<Answer> {
  const { groupName, cleanOffset } = readFields(DELETE_GROUP, call.fields)
  authorize(call, 'manage', groupResource(groupName))
  try {
    await call.context.broker.groups.delete(groupName, { keepOffsets: cleanOffset !== true })
  } catch (error) {
    if (BrokerError.from(error).code !== 'GROUP_NOT_FOUND') throw error
  }
  return DONE
}

async function allGroups(call: Call): Promise<Answer> {
  authorize(call, 'manage', CLUSTER)
  const { broker, clock } = call.context
  const version = tableVersion(await broker.status(), clock.now())
  return answerBody(await encodeGroupTable(version, await broker.groups.list(), new Slice(clock)))
}

async function groupConfig(call: Call): Promise<Answer> {
  const { group } = readFields(GROUP, call.fields)
  authorize(call, 'consume', groupResource(group))
  const definition = await call.context.broker.groups.get(group)
  if (definition === undefined) throw groupMissing(group)
  return answerBody(encodeGroupConfig(definition))
}

async function consumeStats(call: Call): Promise<Answer> {
  const { consumerGroup, topic, topicList } = readFields(GET_CONSUME_STATS, call.fields)
  authorize(call, 'consume', groupResource(consumerGroup))
  const { broker, clock } = call.context
  const wanted = new Set([topic ?? '', ...(topicList ?? '').split(';')].filter((t) => t !== ''))
  for (const name of wanted) authorize(call, 'consume', topicResource(name))
  const progress: QueueProgress[] = []
  const slice = new Slice(clock)
  for (const lag of await broker.groups.lags(consumerGroup)) {
    if (slice.isOver) await slice.rest()
    if (wanted.size > 0 ? !wanted.has(lag.topic) : !mayConsume(call, lag.topic)) continue
    const { brokerName, queueId, maxOffset, committedOffset } = lag
    const consumerOffset = Math.max(0, committedOffset)
    const last =
      consumerOffset > lag.minOffset ? await recordAt(call, lag, consumerOffset - 1) : undefined
    progress.push({
      queue: { brokerName, queueId, topic: lag.topic },
      brokerOffset: maxOffset,
      consumerOffset,
      pullOffset: consumerOffset,
      lastTimestamp: last?.storeTimestamp ?? 0,
    })
  }
  return answerBody(await encodeConsumeStats(progress, slice))
}

const groupMissing = (group: string): BrokerError =>
  new BrokerError('GROUP_NOT_FOUND', `subscription group [${group}] does not exist`)
