// Finding stored messages again: by the id that says where one stands, by the sender's id, by key.
import { BrokerError } from '../../errors.ts'
import { formatHost } from '../../model/host.ts'
import { parseOffsetMessageId } from '../../model/message-id.ts'
import { TRACE_TOPIC } from '../../model/names.ts'
import { recordsOf } from '../../model/record.ts'
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import { writeFields } from '../../remoting/layout.ts'
import { QUERY_MESSAGE, UNIQUE_KEY_QUERY, VIEW_MESSAGE } from '../../remoting/requests/lookup.ts'
import type { CallOptions } from '../calls/calls.ts'
import { checkKind, checkNames, KIND, type Kind } from '../calls/option-names.ts'
import { Delivery, type Message } from '../consume/delivery.ts'
import { checkCount } from '../consume/subscribe-options.ts'
import { isConnectionFailure } from '../routes/name-servers.ts'
import { type Masters, noting, type PartialOptions } from './masters.ts'
import { type TraceEvent, traceEventsOf } from './message-trace.ts'

const FOUND_MAX = 64
const FOUND_DEFAULT = 32
/** RocketMQ's end of time. */
const FOREVER_MS = Number.MAX_SAFE_INTEGER

export interface KeyQuery {
  /** At most this many of each broker, the newest; default 32, most 64. */
  readonly max?: number | undefined
  readonly fromMs?: number | undefined
  readonly toMs?: number | undefined
}

const NAMES: Readonly<Record<keyof KeyQuery, Kind | true>> = {
  max: KIND.count,
  fromMs: KIND.number,
  toMs: KIND.number,
}

export class MessageLookup {
  readonly #masters: Masters

  constructor(masters: Masters) {
    this.#masters = masters
  }

  /**
   * By either id. The sender's id is looked up within a topic; without one only the id that says
   * where a message stands is tried. Rejects with MESSAGE_NOT_FOUND.
   */
  async byId(
    id: string,
    options: CallOptions & PartialOptions & { topic?: string | undefined } = {},
  ): Promise<Message> {
    checkKind('id', id, KIND.text)
    checkKind('options', options, KIND.object)
    const { topic, ...rest } = options
    const { noted: call, away } = noting(rest)
    const byUnique = topic === undefined ? [] : await this.#query(topic, id, {}, true, call)
    const found = byUnique[0] ?? (await this.#byPlace(id, call))
    if (found !== undefined) return found
    if (away[0] !== undefined) throw away[0]
    const hint =
      topic === undefined
        ? "an id that the sender made is found only within its topic: give the 'topic' too"
        : `neither as a sender's id in '${topic}' nor as a place in a log`
    throw new BrokerError('MESSAGE_NOT_FOUND', `no message has the id ${id}; ${hint}`)
  }

  /** Newest first. */
  async byKey(
    topic: string,
    key: string,
    query: KeyQuery = {},
    options: CallOptions & PartialOptions = {},
  ): Promise<readonly Message[]> {
    checkKind('topic', topic, KIND.text)
    checkKind('key', key, KIND.text)
    checkNames('option of a look-up by key', query, NAMES)
    const found = await this.#query(topic, key, query, false, options)
    return found.filter((message) => message.keys.includes(key))
  }

  /** What clients with message trace told of it, oldest first; empty where none did. */
  async trace(
    messageId: string,
    options: CallOptions & PartialOptions & { traceTopic?: string | undefined } = {},
  ): Promise<readonly TraceEvent[]> {
    checkKind('options', options, KIND.object)
    const { traceTopic = TRACE_TOPIC, ...call } = options
    return traceEventsOf(
      await this.byKey(traceTopic, messageId, { max: FOUND_MAX }, call),
      messageId,
    )
  }

  /**
   * The record must say of itself that it stands there: offsets of one broker mean nothing to
   * another.
   */
  async #byPlace(
    id: string,
    { missing, ...options }: CallOptions & PartialOptions,
  ): Promise<Message | undefined> {
    const { host, position } = parseOffsetMessageId(id)
    const fields = writeFields(VIEW_MESSAGE, { offset: position })
    const address = formatHost(host)
    const masters = [...(await this.#masters.list(options))].sort(
      (a, b) => Number(b.address === address) - Number(a.address === address),
    )
    for (const master of masters) {
      try {
        const connection = await this.#masters.connection(master.address, options)
        const response = await connection.request(REQUEST.viewMessageById, { ...options, fields })
        if (response.code !== RESPONSE.success) continue
        for (const record of recordsOf(response.body)) {
          const message = new Delivery(record, master.name)
          if (message.offsetMessageId === id.toUpperCase()) return message
        }
      } catch (error) {
        if (missing === undefined || !isConnectionFailure(error)) throw error
        missing(master, error)
      }
    }
    return undefined
  }

  async #query(
    topic: string,
    key: string,
    query: KeyQuery,
    isUnique: boolean,
    options: CallOptions & PartialOptions,
  ): Promise<Message[]> {
    const { max = FOUND_DEFAULT, fromMs = 0, toMs = FOREVER_MS } = query
    checkCount('max', max, 1, FOUND_MAX)
    const fields = writeFields(QUERY_MESSAGE, {
      topic,
      key,
      maxNum: max,
      beginTimestamp: fromMs,
      endTimestamp: toMs,
    })
    if (isUnique) fields.set(UNIQUE_KEY_QUERY, 'true')
    const answers = await this.#masters.ask(
      REQUEST.queryMessage,
      `looking up '${key}' in '${topic}'`,
      { ...options, fields },
      RESPONSE.queryNotFound,
    )
    return answers
      .flatMap(({ name, response }) =>
        Array.from(recordsOf(response.body), (record) => new Delivery(record, name)),
      )
      .filter((message) => message.storedTopic === topic)
      .sort((a, b) => b.storeTimestamp - a.storeTimestamp)
  }
}
