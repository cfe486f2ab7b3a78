// How far groups are in their topics, for tools.
import { Slice } from '../../../clock.ts'
import { formatHost } from '../../../model/host.ts'
import type { QueueLag } from '../../../model/message.ts'
import { isRetryTopic, topicOfWire, topicOnWire } from '../../../model/names.ts'
import { queueOffset } from '../../../model/positions.ts'
import { tooLongForAnswer } from '../../../remoting/answer-bytes.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import {
  encodeConsumeStats,
  GET_CONSUME_STATS,
  type QueueProgress,
} from '../../../remoting/requests/groups.ts'
import {
  CLONE_GROUP_OFFSET,
  encodeBrokerConsumeStats,
  encodeCorrections,
  encodeTimeSpans,
  GET_BROKER_CONSUME_STATS,
  type GroupProgress,
  QUERY_CORRECTION,
  QUERY_TIME_SPAN,
  type QueueTimeSpan,
} from '../../../remoting/requests/progress.ts'
import { perSecond } from '../../../remoting/requests/statistics.ts'
import { CLUSTER, groupResource, topicResource } from '../address.ts'
import {
  type Answer,
  answerBody,
  authorize,
  authorizeConsuming,
  type Call,
  DONE,
  mayRead,
  type RequestTable,
} from '../call.ts'
import { recordAt } from '../record-at.ts'

export const progressRequests: RequestTable = new Map([
  [REQUEST.getConsumeStats, consumeStats],
  [REQUEST.getBrokerConsumeStats, brokerConsumeStats],
  [REQUEST.queryConsumeTimeSpan, timeSpans],
  [REQUEST.queryCorrectionOffset, corrections],
  [REQUEST.cloneGroupOffset, cloneOffsets],
])

async function consumeStats(call: Call): Promise<Answer> {
  const { consumerGroup, topic, topicList } = readFields(GET_CONSUME_STATS, call.fields)
  authorize(call, 'read', groupResource(consumerGroup))
  const { broker, clock } = call.context
  const wanted = new Set([topic ?? '', ...(topicList ?? '').split(';')].filter((t) => t !== ''))
  for (const name of wanted) authorize(call, 'read', topicResource(name))
  const progress: QueueProgress[] = []
  const slice = new Slice(clock)
  for (const lag of await broker.groups.lags(consumerGroup)) {
    if (slice.isOver) await slice.rest()
    if (wanted.size > 0 ? !wanted.has(topicOnWire(lag.topic)) : !mayRead(call, lag.topic)) continue
    if (isUnusedRetryQueue(lag)) continue
    progress.push(await progressIn(call, lag))
  }
  let consumeTps = 0
  for (const name of new Set(progress.map(({ queue }) => queue.topic))) {
    consumeTps += await givenTps(call, consumerGroup, name)
  }
  return answerBody(await encodeConsumeStats(progress, consumeTps, slice))
}

/** As long as nothing was handed back: Apache's broker has no such queue then. */
const isUnusedRetryQueue = ({ topic, maxOffset, committedOffset }: QueueLag): boolean =>
  isRetryTopic(topic) && maxOffset === 0 && committedOffset <= 0

const givenTps = async (call: Call, group: string, topic: string): Promise<number> =>
  perSecond((await call.context.broker.groups.given(group, topic)).minute)

async function progressIn(call: Call, lag: QueueLag): Promise<QueueProgress> {
  const { topic, brokerName, queueId, minOffset, maxOffset, committedOffset } = lag
  const consumerOffset = Math.max(0, committedOffset)
  const last =
    consumerOffset > minOffset ? await recordAt(call, lag, consumerOffset - 1) : undefined
  return {
    queue: { brokerName, queueId, topic: topicOnWire(topic) },
    brokerOffset: maxOffset,
    consumerOffset,
    pullOffset: consumerOffset,
    lastTimestamp: last?.storeTimestamp ?? 0,
  }
}

/** The least that the progress in one queue takes in the answer. */
const PROGRESS_BYTES_MIN = 100

/** All groups in the topics where they have committed offsets. */
async function brokerConsumeStats(call: Call): Promise<Answer> {
  const { isOrder } = readFields(GET_BROKER_CONSUME_STATS, call.fields)
  authorize(call, 'manage', CLUSTER)
  const { broker, clock } = call.context
  const slice = new Slice(clock)
  const groups: GroupProgress[] = []
  let count = 0
  for (const { name } of await broker.groups.list()) {
    const byTopic = new Map<string, QueueLag[]>()
    for (const lag of await broker.groups.lags(name)) {
      byTopic.set(lag.topic, [...(byTopic.get(lag.topic) ?? []), lag])
    }
    const topics: { consumeTps: number; queues: QueueProgress[] }[] = []
    for (const [topic, lags] of byTopic) {
      if (slice.isOver) await slice.rest()
      if (lags.every(({ committedOffset }) => committedOffset < 0)) continue
      if (lags.every(isUnusedRetryQueue)) continue
      if (isOrder && (await broker.topics.get(topic))?.ordered !== true) continue
      count += lags.length
      const error = tooLongForAnswer({ length: count * PROGRESS_BYTES_MIN })
      if (error !== undefined) throw error
      const queues: QueueProgress[] = []
      for (const lag of lags) queues.push(await progressIn(call, lag))
      topics.push({ consumeTps: await givenTps(call, name, topic), queues })
    }
    groups.push({ group: name, topics })
  }
  const address = formatHost(broker.identity.storeHost)
  return answerBody(await encodeBrokerConsumeStats(address, groups, slice))
}

async function timeSpans(call: Call): Promise<Answer> {
  const { topic, group } = readFields(QUERY_TIME_SPAN, call.fields)
  authorizeConsuming(call, group, topic)
  const { broker, clock } = call.context
  if ((await broker.topics.get(topic)) === undefined) {
    return { code: RESPONSE.topicNotExist, remark: `topic[${topic}] not exist` }
  }
  const spans: QueueTimeSpan[] = []
  for (const range of await broker.topics.ranges(topic)) {
    const { brokerName, queueId, minOffset, maxOffset } = range
    const committed = (await broker.cursors.committed(group, range)) ?? 0
    const timeOf = async (offset: number): Promise<number> => {
      if (offset < minOffset || offset >= maxOffset) return -1
      return (await recordAt(call, range, offset))?.storeTimestamp ?? -1
    }
    const minTimeStamp = await timeOf(minOffset)
    spans.push({
      queue: { brokerName, queueId, topic },
      minTimeStamp,
      maxTimeStamp: await timeOf(maxOffset - 1),
      consumeTimeStamp: committed > 0 ? await timeOf(committed - 1) : minTimeStamp,
      delayTime: committed < maxOffset ? clock.now() - (await timeOf(committed)) : 0,
    })
  }
  return answerBody(encodeTimeSpans(spans))
}

/** What Java writes for "no group is there any more". */
const BEYOND_ALL = 2n ** 63n - 1n

/**
 * By queue of the topic, how far the slowest group is, of those that are not left out; where the
 * group that is compared is behind it, beyond all.
 */
async function corrections(call: Call): Promise<Answer> {
  const { topic, compareGroup, filterGroups } = readFields(QUERY_CORRECTION, call.fields)
  authorize(call, 'manage', CLUSTER)
  const { broker, clock } = call.context
  const leftOut = new Set((filterGroups ?? '').split(',').filter((name) => name !== ''))
  const slowest = new Map<number, number | bigint>()
  const slice = new Slice(clock)
  for (const { name } of await broker.groups.list()) {
    if (slice.isOver) await slice.rest()
    if (leftOut.has(name)) continue
    for (const lag of await broker.groups.lags(name)) {
      if (lag.topic !== topic || lag.committedOffset < 0) continue
      const known = slowest.get(lag.queueId)
      if (known !== undefined && known < lag.committedOffset) continue
      slowest.set(lag.queueId, Math.max(lag.minOffset, lag.committedOffset))
    }
  }
  for (const range of await broker.topics.ranges(topic)) {
    const compared = await broker.cursors.committed(compareGroup, range)
    const offset = slowest.get(range.queueId)
    if (compared !== undefined && offset !== undefined && offset > compared) {
      slowest.set(range.queueId, BEYOND_ALL)
    }
  }
  return answerBody(encodeCorrections(slowest))
}

/** The other group goes on where this one is, in the topics that the caller may read. */
async function cloneOffsets(call: Call): Promise<Answer> {
  const { srcGroup, destGroup, topic } = readFields(CLONE_GROUP_OFFSET, call.fields)
  authorize(call, 'manage', groupResource(destGroup))
  authorize(call, 'read', groupResource(srcGroup))
  if (topic !== undefined && topic !== '') authorize(call, 'read', topicResource(topic))
  const { groups, cursors } = call.context.broker
  await groups.ensure(destGroup)
  for (const lag of await groups.lags(srcGroup)) {
    if (lag.committedOffset < 0 || isRetryTopic(lag.topic)) continue
    if (topic !== undefined && topic !== '' && lag.topic !== topicOfWire(topic)) continue
    if (!mayRead(call, lag.topic)) continue
    await cursors.reset(destGroup, lag, queueOffset(lag.committedOffset))
  }
  return DONE
}
