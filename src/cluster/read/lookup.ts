// Finding stored messages again at the brokers of a cluster.

import { accepted } from '../../client/calls/calls.ts'
import { BrokerError } from '../../errors.ts'
import { formatHost, type Host } from '../../model/host.ts'
import type { LogPosition } from '../../model/positions.ts'
import { recordsOf } from '../../model/record.ts'
import type { Lookup } from '../../port/broker.ts'
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import type { RemotingConnection } from '../../remoting/connection.ts'
import { writeFields } from '../../remoting/layout.ts'
import { QUERY_MESSAGE, UNIQUE_KEY_QUERY, VIEW_MESSAGE } from '../../remoting/requests/lookup.ts'
import type { Links } from '../links.ts'
import type { ClusterOptions } from '../options.ts'

interface Parts {
  readonly links: Links
  readonly options: ClusterOptions
}

export class ClusterLookup implements Lookup {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async brokerAt(storeHost: Host): Promise<string | undefined> {
    const address = formatHost(storeHost)
    const masters = await this.#parts.links.masters.list(this.#limits)
    return masters.find((master) => master.address === address)?.name
  }

  async byPosition(brokerName: string, position: LogPosition): Promise<Buffer | undefined> {
    if (!Number.isSafeInteger(position) || position < 0) return undefined
    const connection = await this.#connection(brokerName)
    if (connection === undefined) return undefined
    const fields = writeFields(VIEW_MESSAGE, { offset: position })
    const asked = { ...this.#limits, fields }
    const response = await connection.request(REQUEST.viewMessageById, asked)
    if (response.code !== RESPONSE.success || response.body.length === 0) return undefined
    const [record] = recordsOf(response.body)
    // What is at the place may be no message, or one that begins elsewhere.
    return record?.position === position ? response.body : undefined
  }

  /** The newest few of one broker, by their business keys. */
  async byKeyOn(brokerName: string, topic: string, key: string): Promise<readonly Buffer[]> {
    const connection = await this.#parts.links.brokers.connection(brokerName, this.#limits)
    const fields = writeFields(QUERY_MESSAGE, {
      ...{ topic, key, maxNum: FEW, beginTimestamp: 0, endTimestamp: Number.MAX_SAFE_INTEGER },
    })
    const asked = { ...this.#limits, fields }
    const response = await connection.request(REQUEST.queryMessage, asked)
    if (response.code === RESPONSE.queryNotFound) return []
    return [...recordsOf(accepted(response, `looking up '${key}' in '${topic}'`).body)]
      .filter((record) => record.topic === topic)
      .sort((one, other) => other.queueOffset - one.queueOffset)
      .map(({ bytes, start, size }) => bytes.subarray(start, start + size))
  }

  async byKey(
    topic: string,
    key: string,
    options: { max: number; maxBytes?: number; fromMs?: number; toMs?: number },
  ): Promise<readonly Buffer[]> {
    const { max, maxBytes = Number.POSITIVE_INFINITY, fromMs = 0 } = options
    const { toMs = Number.MAX_SAFE_INTEGER } = options
    const found = new Map<string, { readonly bytes: Buffer; readonly storeMs: number }>()
    for (const isUnique of [false, true]) {
      const fields = writeFields(QUERY_MESSAGE, {
        topic,
        key,
        maxNum: Math.min(max, FOUND_MAX),
        beginTimestamp: fromMs,
        endTimestamp: toMs,
      })
      if (isUnique) fields.set(UNIQUE_KEY_QUERY, 'true')
      const asked = { ...this.#limits, fields }
      const what = `looking up '${key}' in '${topic}'`
      const { masters } = this.#parts.links
      const code = REQUEST.queryMessage
      for (const { name, response } of await masters.ask(
        code,
        what,
        asked,
        RESPONSE.queryNotFound,
      )) {
        for (const record of recordsOf(response.body)) {
          if (record.topic !== topic) continue
          const bytes = record.bytes.subarray(record.start, record.start + record.size)
          found.set(`${name}/${record.position}`, { bytes, storeMs: record.storeTimestamp })
        }
      }
    }
    let left = maxBytes
    return [...found.values()]
      .sort((a, b) => b.storeMs - a.storeMs)
      .slice(0, max)
      .map(({ bytes }) => bytes)
      .filter((bytes, i) => {
        left -= bytes.length
        return i === 0 || left >= 0
      })
  }

  /** By the routes where they name the broker, so that no name server need answer. */
  async #connection(brokerName: string): Promise<RemotingConnection | undefined> {
    const { brokers, masters } = this.#parts.links
    try {
      return await brokers.connection(brokerName, this.#limits)
    } catch (error) {
      if (BrokerError.from(error).code !== 'NO_ROUTE') throw error
    }
    const master = (await masters.list(this.#limits)).find(({ name }) => name === brokerName)
    return master && masters.connection(master.address, this.#limits)
  }

  get #limits(): { timeoutMs: number } {
    return { timeoutMs: this.#parts.options.requestTimeoutMs }
  }
}

const FEW = 8
/** RocketMQ's limit of one query. */
const FOUND_MAX = 64
