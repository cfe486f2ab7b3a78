// How far groups are, for tools: GET_BROKER_CONSUME_STATS (317), QUERY_CONSUME_TIME_SPAN (303),
// QUERY_CORRECTION_OFFSET (308), CLONE_GROUP_OFFSET (314).
import type { Slice } from '../../clock.ts'
import { emitJson, jsonBody, jsonBodyInSlices } from '../json/json-emitter.ts'
import { bool, layout, optional, text } from '../layout.ts'
import { progressMembers, type QueueProgress } from './groups.ts'
import { QUEUE_REF, type QueueRef } from './queue.ts'

export const GET_BROKER_CONSUME_STATS = layout({ isOrder: bool })

export interface GroupProgress {
  readonly group: string
  readonly topics: readonly {
    readonly consumeTps: number
    readonly queues: readonly QueueProgress[]
  }[]
}

export function encodeBrokerConsumeStats(
  brokerAddr: string,
  groups: readonly GroupProgress[],
  slice: Slice,
): Promise<Buffer> {
  let totalDiff = 0
  for (const { topics } of groups) {
    for (const { queues } of topics) {
      for (const { brokerOffset, consumerOffset } of queues) {
        totalDiff += brokerOffset - consumerOffset
      }
    }
  }
  const head = `{"brokerAddr":${emitJson(brokerAddr)},"consumeStatsList":[`
  const foot = `],"totalDiff":${totalDiff},"totalInflightDiff":0}`
  return jsonBodyInSlices(head, groupMembers(groups), foot, slice)
}

function* groupMembers(groups: readonly GroupProgress[]): Generator<string> {
  for (const { group, topics } of groups) {
    yield `{${emitJson(group)}:[${topics.map(topicMember).join(',')}]}`
  }
}

const topicMember = ({ consumeTps, queues }: GroupProgress['topics'][number]): string =>
  `{"consumeTps":${consumeTps},"offsetTable":{${[...progressMembers(queues)].join(',')}}}`

export const QUERY_TIME_SPAN = layout({ topic: text, group: text })

/** Epoch ms of the messages at the ends of a queue, and of the last that the group consumed. */
export interface QueueTimeSpan {
  readonly queue: QueueRef
  readonly minTimeStamp: number
  readonly maxTimeStamp: number
  readonly consumeTimeStamp: number
  /** How long the next message of the group has been waiting. */
  readonly delayTime: number
}

export const encodeTimeSpans = (spans: readonly QueueTimeSpan[]): Buffer =>
  jsonBody({
    consumeTimeSpanSet: spans.map(({ queue, ...span }) => ({
      ...span,
      messageQueue: QUEUE_REF.out(queue),
    })),
  })

/** `filterGroups`: groups to leave out, joined by commas. */
export const QUERY_CORRECTION = layout({
  topic: text,
  compareGroup: text,
  filterGroups: optional(text),
})

export const encodeCorrections = (offsets: ReadonlyMap<number, number | bigint>): Buffer => {
  const members = [...offsets].map(([queueId, offset]) => `"${queueId}":${offset}`)
  return Buffer.from(`{"correctionOffsets":{${members.join(',')}}}`)
}

/** Without a topic: all of the group. */
export const CLONE_GROUP_OFFSET = layout({
  srcGroup: text,
  destGroup: text,
  topic: optional(text),
})
