// The requests of a broker to its name servers: REGISTER_BROKER (103), UNREGISTER_BROKER (104),
// QUERY_DATA_VERSION (322).
import { promisify } from 'node:util'
import { inflate } from 'node:zlib'
import type { Slice } from '../../clock.ts'
import { getI32 } from '../../model/bytes.ts'
import type { TopicDefinition } from '../../model/topic.ts'
import { parseJson, parseJsonInSlices } from '../json/json.ts'
import { objectAt, wholeObject } from '../json/json-members.ts'
import { bool, int, layout, long, optional, text } from '../layout.ts'
import { invalidRequest } from '../protocol-error.ts'
import {
  DATA_VERSION,
  encodeTopicTable,
  tableVersionOf,
  topicsOf,
  type WireTopicTable,
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

const AROUND_TABLE = ['{"filterServerList":[],"topicConfigSerializeWrapper":', '}'] as const

export const encodeRegistration = (table: WireTopicTable, slice: Slice): Promise<Buffer> =>
  encodeTopicTable(table, slice, AROUND_TABLE)

const inflated = promisify(inflate)
/** First byte of a zlib stream; 5.x brokers compress without saying so. */
const ZLIB_FIRST_BYTE = 0x78
const INFLATED_BYTES_MAX = 64 * 1024 * 1024
/** It is inflated in pieces of this size, each of which takes its turn. */
const PIECE_BYTES = 1024 * 1024
/** A topic costs us ten times what its sender needs for it; 16 MiB of JSON hold about as many. */
const TOPICS_MAX = 60_000
const NO_TOPICS: WireTopicTable = {
  version: { counter: 0, stateVersion: 0, timestamp: 0 },
  topics: [],
}

/** `body` must not change before the promise settles. @throws BrokerError ARGUMENT_INVALID */
export async function decodeRegistration(body: Buffer, slice: Slice): Promise<WireTopicTable> {
  if (body.length === 0) return NO_TOPICS
  if (body[0] === ZLIB_FIRST_BYTE) return decodeCompressed(body, slice)
  const registration = wholeObject(await parseJsonInSlices(body.toString('utf8'), slice))
  const table = objectAt(registration, 'topicConfigSerializeWrapper')
  return { version: tableVersionOf(table), topics: await gathered(topicsOf(table), slice) }
}

async function decodeCompressed(body: Buffer, slice: Slice): Promise<WireTopicTable> {
  let bytes: Buffer
  try {
    bytes = await inflated(body, { maxOutputLength: INFLATED_BYTES_MAX, chunkSize: PIECE_BYTES })
  } catch (cause) {
    throw invalidRequest(`a compressed registration cannot be read: ${String(cause).slice(0, 120)}`)
  }
  const texts = new Texts(bytes)
  const version = DATA_VERSION.of(parseJson(texts.next()))
  return { version, topics: await gathered(topicsIn(texts), slice) }
}

async function gathered(
  topics: Iterable<TopicDefinition>,
  slice: Slice,
): Promise<TopicDefinition[]> {
  const all: TopicDefinition[] = []
  for (const topic of topics) {
    if (slice.isOver) await slice.rest()
    if (all.length === TOPICS_MAX) {
      throw invalidRequest(`a registration of more than ${TOPICS_MAX} topics`)
    }
    all.push(topic)
  }
  return all
}

/**
 * Inflated: i32 length, data version JSON; i32 count; per topic i32 length, text; more that we
 * skip.
 */
class Texts {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  number(): number {
    if (this.#bytes.length - this.#at < 4) {
      throw invalidRequest('a compressed registration ends too early')
    }
    this.#at += 4
    return getI32(this.#bytes, this.#at - 4)
  }

  next(): string {
    const length = this.number()
    if (length < 0 || length > this.#bytes.length - this.#at) {
      throw invalidRequest(`a compressed registration has a text of ${length} bytes`)
    }
    this.#at += length
    return this.#bytes.toString('utf8', this.#at - length, this.#at)
  }
}

function* topicsIn(texts: Texts): Generator<TopicDefinition> {
  for (let left = texts.number(); left > 0; left--) yield topicOfText(texts.next())
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
