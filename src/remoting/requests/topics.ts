// Topic definitions: UPDATE_AND_CREATE_TOPIC (17) and its list (18), GET_ALL_TOPIC_CONFIG (21),
// DELETE_TOPIC (215, 216), GET_TOPIC_CONFIG (351), GET_TOPIC_STATS_INFO (202),
// QUERY_TOPIC_CONSUME_BY_WHO (300).
import type { Slice } from '../../clock.ts'
import type { TopicDefinition } from '../../model/topic.ts'
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
import { decoder, encoder, list, number, object, only, type Shaped, string } from '../json/shape.ts'
import { bool, int, layout, optional, text, type Values } from '../layout.ts'
import { queueTable } from './queue.ts'

export const TOPIC = layout({ topic: text })
/** DELETE_TOPIC_IN_NAMESRV: with a cluster, only there. */
export const DELETE_TOPIC_ROUTE = layout({ topic: text, clusterName: optional(text) })

export const UPDATE_TOPIC = layout({
  topic: text,
  defaultTopic: text,
  readQueueNums: int,
  writeQueueNums: int,
  perm: int,
  topicFilterType: text,
  topicSysFlag: optional(int),
  order: bool,
  attributes: optional(text),
})

export type TopicUpdate = Omit<Values<typeof UPDATE_TOPIC>, 'defaultTopic'>

/** UPDATE_AND_CREATE_TOPIC_LIST. */
export const decodeTopicUpdates = (body: Buffer): TopicUpdate[] =>
  objectsAt(parseObject(body), 'topicConfigList').map((map) => {
    const { name, readQueues, writeQueues, perm, ordered, sysFlag } = topicConfigOf(map)
    return {
      topic: name,
      readQueueNums: readQueues,
      writeQueueNums: writeQueues,
      perm,
      order: ordered,
      topicSysFlag: sysFlag,
      topicFilterType: textAt(map, 'topicFilterType'),
      // Their names begin with the sign.
      attributes: [...entriesAt(map, 'attributes')].map((entry) => entry.join('=')).join(','),
    }
  })

/** Versions of a table of definitions: equal only when all three are. */
export const DATA_VERSION = object({ counter: number, stateVersion: number, timestamp: number })
export type DataVersion = Shaped<typeof DATA_VERSION>

export const topicConfigOut = (topic: TopicDefinition): JsonOut => ({
  attributes: { ...topic.attributes },
  order: topic.ordered,
  perm: topic.perm,
  readQueueNums: topic.readQueues,
  topicFilterType: 'SINGLE_TAG',
  topicName: topic.name,
  topicSysFlag: topic.sysFlag,
  writeQueueNums: topic.writeQueues,
})

const QUEUES_DEFAULT = 16
const PERM_DEFAULT = 6

const topicConfigOf = (map: JsonMap): TopicDefinition => ({
  name: textAt(map, 'topicName'),
  readQueues: numberAt(map, 'readQueueNums', QUEUES_DEFAULT),
  writeQueues: numberAt(map, 'writeQueueNums', QUEUES_DEFAULT),
  perm: numberAt(map, 'perm', PERM_DEFAULT),
  ordered: flagAt(map, 'order'),
  sysFlag: numberAt(map, 'topicSysFlag'),
})

export interface WireTopicTable {
  readonly version: DataVersion
  readonly topics: readonly TopicDefinition[]
}

/** `around`: what stands before and behind the table, where it is a member of something larger. */
export const encodeTopicTable = (
  { version, topics }: WireTopicTable,
  slice: Slice,
  around: readonly [before: string, behind: string] = ['', ''],
): Promise<Buffer> =>
  jsonBodyInSlices(
    `${around[0]}{"dataVersion":${emitJson(DATA_VERSION.out(version))},"topicConfigTable":{`,
    topicMembers(topics),
    `}}${around[1]}`,
    slice,
  )

function* topicMembers(topics: readonly TopicDefinition[]): Generator<string> {
  for (const topic of topics) yield emitMember(topic.name, topicConfigOut(topic))
}

export const tableVersionOf = (map: JsonMap): DataVersion => DATA_VERSION.of(map.get('dataVersion'))

/** Made as they are asked for: there may be very many. */
export function* topicsOf(map: JsonMap): Generator<TopicDefinition> {
  for (const [name, config] of entriesAt(map, 'topicConfigTable')) {
    yield { ...topicConfigOf(asObject(config)), name }
  }
}

export function decodeTopicTable(body: Buffer): WireTopicTable {
  const map = parseObject(body)
  return { version: tableVersionOf(map), topics: [...topicsOf(map)] }
}

export const decodeTopicConfig = (body: Buffer): TopicDefinition => topicConfigOf(parseObject(body))

const STATS = queueTable(
  object({ lastUpdateTimestamp: number, maxOffset: number, minOffset: number }),
)
export type QueueStats = Shaped<typeof STATS>[number]
export const decodeTopicStats = decoder(only('offsetTable', STATS))

/** `putTps`: messages a second over the last minute. */
export const encodeTopicStats = (queues: readonly QueueStats[], putTps: number): Buffer =>
  jsonBody({ offsetTable: STATS.out(queues), topicPutTps: putTps })

const GROUP_LIST = only('groupList', list(string))
export const decodeGroupList = decoder(GROUP_LIST)
export const encodeGroupList = encoder(GROUP_LIST)
