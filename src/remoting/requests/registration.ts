// What a broker tells its name servers: REGISTER_BROKER (103), UNREGISTER_BROKER (104),
// QUERY_DATA_VERSION (322).
import { inflateSync } from 'node:zlib'
import { getI32 } from '../../model/bytes.ts'
import type { TopicDefinition } from '../../model/topic.ts'
import { parseJson } from '../json.ts'
import { type JsonOut, jsonBody } from '../json-emitter.ts'
import { asObject, objectAt, parseObject } from '../json-members.ts'
import { bool, int, layout, long, optional, text } from '../layout.ts'
import { invalidRequest } from '../protocol-error.ts'
import {
  type DataVersion,
  dataVersionOf,
  type TopicTable,
  topicTableOf,
  topicTableOut,
} from './topics.ts'

export const REGISTER_BROKER = layout({
  brokerName: text,
  /** 'host:port' that clients are told. */
  brokerAddr: text,
  clusterName: text,
  haServerAddr: text,
  brokerId: long,
  /** Silence after which the broker counts as gone. */
  heartbeatTimeoutMillis: optional(long),
  enableActingMaster: optional(bool),
  compressed: optional(bool),
  /** 0 = unchecked. */
  bodyCrc32: optional(int),
})

export const REGISTER_BROKER_RESPONSE = layout({
  haServerAddr: optional(text),
  masterAddr: optional(text),
})

/** UNREGISTER_BROKER and QUERY_DATA_VERSION. */
export const BROKER = layout({
  brokerName: text,
  brokerAddr: text,
  clusterName: text,
  brokerId: long,
})

export const QUERY_DATA_VERSION_RESPONSE = layout({ changed: bool })

export const registrationOut = (table: TopicTable): JsonOut => ({
  filterServerList: [],
  topicConfigSerializeWrapper: topicTableOut(table),
})

export const encodeRegistration = (table: TopicTable): Buffer => jsonBody(registrationOut(table))

/** First byte of a zlib stream; 5.x brokers compress without saying so. */
const ZLIB_FIRST_BYTE = 0x78
const INFLATED_BYTES_MAX = 64 * 1024 * 1024
/** A topic costs us ten times what its sender needs for it. */
const TOPICS_MAX = 100_000
const NO_TOPICS: TopicTable = {
  version: { counter: 0, stateVersion: 0, timestamp: 0 },
  topics: [],
}

/** @throws BrokerError ARGUMENT_INVALID */
export function decodeRegistration(body: Buffer): TopicTable {
  if (body.length === 0) return NO_TOPICS
  if (body[0] === ZLIB_FIRST_BYTE) return decodeCompressed(body)
  return topicTableOf(objectAt(parseObject(body), 'topicConfigSerializeWrapper'))
}

/** Inflated: i32 length, data version JSON; i32 count; per topic i32 length, text; more that we skip. */
function decodeCompressed(body: Buffer): TopicTable {
  let bytes: Buffer
  try {
    bytes = inflateSync(body, { maxOutputLength: INFLATED_BYTES_MAX })
  } catch (cause) {
    throw invalidRequest(`a compressed registration cannot be read: ${String(cause).slice(0, 120)}`)
  }
  let at = 0
  const next = (): number => {
    if (bytes.length - at < 4) throw invalidRequest('a compressed registration ends too early')
    at += 4
    return getI32(bytes, at - 4)
  }
  const nextText = (): string => {
    const length = next()
    if (length < 0 || length > bytes.length - at) {
      throw invalidRequest(`a compressed registration has a text of ${length} bytes`)
    }
    at += length
    return bytes.toString('utf8', at - length, at)
  }
  const version: DataVersion = dataVersionOf(asObject(parseJson(nextText())))
  const topics: TopicDefinition[] = []
  const count = next()
  if (count > TOPICS_MAX) {
    throw invalidRequest(`a registration of ${count} topics; ${TOPICS_MAX} are the most`)
  }
  for (let left = count; left > 0; left--) topics.push(topicOfText(nextText()))
  return { version, topics }
}

/** 'name readQueues writeQueues perm filterType attributes?' */
function topicOfText(line: string): TopicDefinition {
  const [name = '', read, write, perm] = line.split(' ')
  const numbers = [Number(read), Number(write), Number(perm)] as const
  if (name === '' || numbers.some((n) => !Number.isInteger(n))) {
    throw invalidRequest(`${JSON.stringify(line.slice(0, 80))} describes no topic`)
  }
  return {
    name,
    readQueues: numbers[0],
    writeQueues: numbers[1],
    perm: numbers[2],
    ordered: false,
    sysFlag: 0,
  }
}
