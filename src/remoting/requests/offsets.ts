// Offsets of a queue and of a group in it: 14, 15, 29, 30, 31, 32, and all committed ones: 43.
import type { Slice } from '../../clock.ts'
import { emitMember, jsonBodyInSlices } from '../json/json-emitter.ts'
import { asObject, entriesAt, parseObject } from '../json/json-members.ts'
import { bool, int, layout, long, optional, text } from '../layout.ts'

/** QUERY_CONSUMER_OFFSET; answered with OFFSET, or code 22 when nothing is stored. */
export const QUERY_OFFSET = layout({
  consumerGroup: text,
  topic: text,
  queueId: int,
  setZeroIfNotFound: optional(bool),
})

/** UPDATE_CONSUMER_OFFSET. */
export const UPDATE_OFFSET = layout({
  consumerGroup: text,
  topic: text,
  queueId: int,
  commitOffset: long,
})

/** GET_MAX_OFFSET, GET_MIN_OFFSET, GET_EARLIEST_MSG_STORETIME. */
export const QUEUE = layout({ topic: text, queueId: int })

/** SEARCH_OFFSET_BY_TIMESTAMP. */
export const SEARCH_OFFSET = layout({
  topic: text,
  queueId: int,
  timestamp: long,
  /** 'lower' (default) or 'upper'. */
  boundaryType: optional(text),
})

export const OFFSET = layout({ offset: long })
export const TIMESTAMP = layout({ timestamp: long })

export interface CommittedOffset {
  readonly group: string
  readonly topic: string
  readonly queueId: number
  readonly offset: number
}

/**
 * GET_ALL_CONSUMER_OFFSET: `{"offsetTable":{"topic@group":{"0":5}}}`. Those of a topic and group
 * stand together.
 */
export const encodeCommittedOffsets = (
  offsets: Iterable<CommittedOffset>,
  slice: Slice,
): Promise<Buffer> => jsonBodyInSlices('{"offsetTable":{', offsetMembers(offsets), '}}', slice)

function* offsetMembers(offsets: Iterable<CommittedOffset>): Generator<string> {
  let key: string | undefined
  let queues = new Map<number, number>()
  for (const { group, topic, queueId, offset } of offsets) {
    const next = `${topic}@${group}`
    if (key !== undefined && next !== key) {
      yield emitMember(key, queues)
      queues = new Map()
    }
    key = next
    queues.set(queueId, offset)
  }
  if (key !== undefined) yield emitMember(key, queues)
}

export function decodeCommittedOffsets(body: Buffer): CommittedOffset[] {
  const offsets: CommittedOffset[] = []
  for (const [key, queues] of entriesAt(parseObject(body), 'offsetTable')) {
    const at = key.lastIndexOf('@')
    for (const [queueId, offset] of asObject(queues)) {
      offsets.push({
        group: key.slice(at + 1),
        topic: key.slice(0, at),
        queueId: Number(queueId),
        offset: Number(offset),
      })
    }
  }
  return offsets
}
