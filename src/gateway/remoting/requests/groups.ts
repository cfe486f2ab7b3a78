// Consumer groups: definitions, progress, and moving them.
import { isDeepStrictEqual } from 'node:util'
import { BrokerError } from '../../../errors.ts'
import { checkGroupName } from '../../../model/names.ts'
import { queueOffset } from '../../../model/positions.ts'
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
} from '../../../remoting/requests/groups.ts'
import {
  encodeQueuePositions,
  type QueuePosition,
  RESET_OFFSET,
} from '../../../remoting/requests/reset.ts'
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
import { offsetByTime, recordAt } from '../record-at.ts'
import { tableVersion } from '../table-version.ts'

export const groupRequests: RequestTable = new Map([
  [REQUEST.updateGroup, updateGroup],
  [REQUEST.deleteGroup, deleteGroup],
  [REQUEST.getAllGroupConfig, allGroups],
  [REQUEST.getGroupConfig, groupConfig],
  [REQUEST.getConsumeStats, consumeStats],
  [REQUEST.resetOffset, resetOffset],
])

async function updateGroup(call: Call): Promise<Answer> {
  const group = decodeGroupConfig(call.body)
  const { groups } = call.context.broker
  const known = await groups.get(group.name)
  // To create is not to change: a group that is there already belongs to everyone who consumes in it.
  const action = known === undefined || isDeepStrictEqual(known, group) ? 'create' : 'manage'
  authorize(call, action, groupResource(group.name))
  checkGroupName(group.name)
  await groups.put(group)
  return DONE
}

async function deleteGroup(call: Call): Promise<Answer> {
  const { groupName } = readFields(DELETE_GROUP, call.fields)
  authorize(call, 'manage', groupResource(groupName))
  try {
    await call.context.broker.groups.delete(groupName)
  } catch (error) {
    if (BrokerError.from(error).code !== 'GROUP_NOT_FOUND') throw error
  }
  return DONE
}

async function allGroups(call: Call): Promise<Answer> {
  authorize(call, 'manage', CLUSTER)
  const { broker, clock } = call.context
  const version = tableVersion(await broker.status(), clock.now())
  return answerBody(encodeGroupTable(version, await broker.groups.list()))
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
  const { broker } = call.context
  const wanted = new Set([topic ?? '', ...(topicList ?? '').split(';')].filter((t) => t !== ''))
  for (const name of wanted) authorize(call, 'consume', topicResource(name))
  const progress: QueueProgress[] = []
  for (const lag of await broker.groups.lags(consumerGroup)) {
    if (wanted.size > 0 ? !wanted.has(lag.topic) : !mayConsume(call, lag.topic)) continue
    const { queueId, maxOffset, committedOffset } = lag
    const consumerOffset = Math.max(0, committedOffset)
    const last =
      consumerOffset > lag.minOffset
        ? await recordAt(call, lag.topic, queueId, consumerOffset - 1)
        : undefined
    progress.push({
      queue: { brokerName: broker.identity.brokerName, queueId, topic: lag.topic },
      brokerOffset: maxOffset,
      consumerOffset,
      pullOffset: consumerOffset,
      lastTimestamp: last?.storeTimestamp ?? 0,
    })
  }
  return answerBody(encodeConsumeStats(progress))
}

/** Moves the group here and tells its clients, which would commit their own offsets again. */
async function resetOffset(call: Call): Promise<Answer> {
  const reset = readFields(RESET_OFFSET, call.fields)
  authorize(call, 'manage', groupResource(reset.group))
  const { broker } = call.context
  const { brokerName } = broker.identity
  const ranges = (await broker.topics.ranges(reset.topic)).filter(
    ({ queueId }) => reset.queueId === undefined || reset.queueId < 0 || reset.queueId === queueId,
  )
  const { offset: given = -1 } = reset
  const positions: QueuePosition[] = []
  for (const { queueId, minOffset, maxOffset } of ranges) {
    const wanted =
      given >= 0
        ? given
        : reset.timestamp < 0
          ? maxOffset
          : await offsetByTime(call, reset.topic, queueId, reset.timestamp, 'lower')
    const offset = queueOffset(Math.min(Math.max(wanted, minOffset), maxOffset))
    const committed = await broker.cursors.committed(reset.group, reset.topic, queueId)
    // Without force a group only moves back, so that no message is skipped by mistake.
    if (!reset.isForce && committed !== undefined && offset > committed) continue
    await broker.cursors.reset(reset.group, reset.topic, queueId, offset)
    positions.push({ queue: { brokerName, queueId, topic: reset.topic }, offset })
  }
  call.tellGroup(reset.group, {
    code: REQUEST.resetConsumerOffset,
    fields: new Map([
      ['group', reset.group],
      ['topic', reset.topic],
      ['timestamp', String(reset.timestamp)],
    ]),
    body: encodeQueuePositions(positions),
  })
  return answerBody(encodeQueuePositions(positions))
}

const groupMissing = (group: string): BrokerError =>
  new BrokerError('GROUP_NOT_FOUND', `subscription group [${group}] does not exist`)
