// Topic definitions and statistics, for clients and for mqadmin.
import { Slice } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import { checkTopicName, isSystemTopic, replyTopic } from '../../../model/names.ts'
import type { TopicDefinition } from '../../../model/topic.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { jsonBody } from '../../../remoting/json/json-emitter.ts'
import { readFields } from '../../../remoting/layout.ts'
import { encodeTopicList } from '../../../remoting/requests/route.ts'
import { perSecond } from '../../../remoting/requests/statistics.ts'
import {
  decodeTopicUpdates,
  encodeTopicStats,
  encodeTopicTable,
  type QueueStats,
  TOPIC,
  type TopicUpdate,
  topicConfigOut,
  UPDATE_TOPIC,
} from '../../../remoting/requests/topics.ts'
import { authorizePut, deleteTopic } from '../../admin/definitions.ts'
import { CLUSTER, topicResource } from '../address.ts'
import { alterTopic } from '../attributes.ts'
import {
  type Answer,
  answerBody,
  authorize,
  authorizeAny,
  type Call,
  DONE,
  type RequestTable,
} from '../call.ts'
import { recordAt } from '../record-at.ts'
import { storedOfLate } from '../stored-of-late.ts'
import { tableVersion } from '../table-version.ts'
import { together } from '../together.ts'

export const topicRequests: RequestTable = new Map([
  [REQUEST.updateTopic, updateTopic],
  [REQUEST.updateTopics, updateTopics],
  [REQUEST.deleteTopic, removeTopic],
  [REQUEST.getAllTopicConfig, allTopics],
  [REQUEST.getTopicConfig, topicConfig],
  [REQUEST.getTopicStats, topicStats],
  [REQUEST.getBrokerSystemTopics, systemTopics],
])

/** Answered when name servers know it: the next that its maker asks may be a name server. */
async function updateTopic(call: Call): Promise<Answer> {
  const change = await prepare(call, readFields(UPDATE_TOPIC, call.fields))
  if ('remark' in change) return change
  await call.context.broker.topics.put(change.wanted)
  await call.context.routes?.told()
  return DONE
}

/** All of the list, or nothing where one of it is refused. */
async function updateTopics(call: Call): Promise<Answer> {
  const { broker, routes } = call.context
  const wanted: TopicDefinition[] = []
  for (const update of decodeTopicUpdates(call.body)) {
    const change = await prepare(call, update)
    if ('remark' in change) return change
    wanted.push(change.wanted)
  }
  await together(wanted, (topic) => broker.topics.put(topic))
  await routes?.told()
  return DONE
}

/** The topic as it is to be, or why it may not be so. @throws BrokerError */
async function prepare(
  call: Call,
  update: TopicUpdate,
): Promise<{ readonly wanted: TopicDefinition } | { readonly code: number; remark: string }> {
  const { topics } = call.context.broker
  const known = await topics.get(update.topic)
  // An update leaves those that it does not name as they were.
  const attributes = alterTopic(known && (known.attributes ?? {}), update.attributes ?? '')
  if (typeof attributes === 'string') {
    authorize(call, known === undefined ? 'create' : 'manage', topicResource(update.topic))
    return { code: RESPONSE.systemError, remark: attributes }
  }
  const wanted = {
    name: update.topic,
    readQueues: update.readQueueNums,
    writeQueues: update.writeQueueNums,
    perm: update.perm,
    ordered: update.order,
    sysFlag: update.topicSysFlag ?? 0,
    ...(Object.keys(attributes).length > 0 && { attributes }),
  }
  authorizePut(call, topicResource(update.topic), known, wanted)
  checkTopicName(update.topic)
  checkFilterType(update.topicFilterType)
  return { wanted }
}

/** A message has one tag. @throws BrokerError ARGUMENT_INVALID */
function checkFilterType(type: string): void {
  if (type === '' || type === 'SINGLE_TAG') return
  throw new BrokerError(
    'ARGUMENT_INVALID',
    `topics of this broker have no filter type '${type.slice(0, 80)}'; it takes SINGLE_TAG`,
  )
}

async function removeTopic(call: Call): Promise<Answer> {
  try {
    await deleteTopic(call, readFields(TOPIC, call.fields).topic)
  } catch (error) {
    // Deleting twice is no error to mqadmin, which asks every broker of a cluster.
    if (BrokerError.from(error).code !== 'TOPIC_NOT_FOUND') throw error
  }
  return DONE
}

async function allTopics(call: Call): Promise<Answer> {
  authorize(call, 'manage', CLUSTER)
  const { broker, clock } = call.context
  const topics = await broker.topics.list()
  const version = tableVersion(await broker.status(), clock.now())
  return answerBody(await encodeTopicTable({ version, topics }, new Slice(clock)))
}

/** Asked by producers and by tools that create topics, which look first whether one is there. */
async function topicConfig(call: Call): Promise<Answer> {
  const { topic } = readFields(TOPIC, call.fields)
  authorizeAny(call, ['publish', 'create', 'read'], topicResource(topic))
  const definition = await call.context.broker.topics.get(topic)
  if (definition === undefined) return topicMissing(topic)
  return answerBody(jsonBody(topicConfigOut(definition)))
}

async function topicStats(call: Call): Promise<Answer> {
  const { topic } = readFields(TOPIC, call.fields)
  authorize(call, 'read', topicResource(topic))
  const { broker } = call.context
  if ((await broker.topics.get(topic)) === undefined) return topicMissing(topic)
  const stats: QueueStats[] = []
  for (const range of await broker.topics.ranges(topic)) {
    const { brokerName, queueId, minOffset, maxOffset } = range
    const last = maxOffset > minOffset ? await recordAt(call, range, maxOffset - 1) : undefined
    const queue = { brokerName, queueId, topic }
    stats.push({ queue, minOffset, maxOffset, lastUpdateTimestamp: last?.storeTimestamp ?? 0 })
  }
  const { minute } = await storedOfLate(call, topic)
  return answerBody(encodeTopicStats(stats, perSecond(minute)))
}

async function systemTopics(call: Call): Promise<Answer> {
  const { broker, clock } = call.context
  const replies = replyTopic(broker.identity.clusterName)
  const names = (await broker.topics.list())
    .map((topic) => topic.name)
    .filter((name) => isSystemTopic(name) || name === replies)
  return answerBody(await encodeTopicList(names, new Slice(clock)))
}

const topicMissing = (topic: string): Answer => ({
  code: RESPONSE.topicNotExist,
  remark: `No topic in this broker. topic: ${topic}`,
})
