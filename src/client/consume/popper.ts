// Consuming per message: POPs at the brokers of a topic in turn. Where several are waited for, only
// their news is, so that no broker hands out messages to a request that another one has answered.
import { type Clock, sleep } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { ANY_QUEUE } from '../../model/message.ts'
import { EXPRESSION_TYPE } from '../../model/message-filter.ts'
import { checkGroupName, checkTopicName } from '../../model/names.ts'
import { INIT_AT_END, POP_MESSAGES_MAX, type PopFields } from '../../remoting/requests/pop.ts'
import { abortController, onAbort } from '../calls/abort.ts'
import { checkNames, KIND, type Kind } from '../calls/option-names.ts'
import { isThereToPop, popMessages } from '../calls/pop-calls.ts'
import type { Brokers } from '../routes/brokers.ts'
import type { Routes } from '../routes/routes.ts'
import { Delivery } from './delivery.ts'
import { AckLine, PopSettlement, type PopSettlements } from './popped.ts'
import { checkCount, filterOf, type Tags } from './subscribe-options.ts'
import type { BatchOptions } from './subscription.ts'

export interface PopOptions {
  readonly group: string
  readonly topic: string
  readonly tags?: Tags | undefined
  /** Instead of tags: a condition over properties, in RocketMQ's SQL92. */
  readonly sql?: string | undefined
  /** How long a message is this consumer's before it comes to another; default 60 s. */
  readonly invisibleMs?: number | undefined
  /** A queue's next message only when the one before is settled. */
  readonly ordered?: boolean | undefined
  /** Where a group starts that is new; default: messages sent from now on. */
  readonly from?: 'first' | 'last' | undefined
  /** Deliveries after the first before a `nack` makes it a dead letter; default 16. */
  readonly retriesMax?: number | undefined
}

const NAMES: Readonly<Record<keyof PopOptions, Kind | true>> = {
  group: KIND.text,
  topic: KIND.text,
  tags: true,
  sql: KIND.text,
  invisibleMs: KIND.number,
  ordered: KIND.flag,
  from: KIND.text,
  retriesMax: KIND.number,
}

const BATCH_NAMES: Readonly<Record<keyof BatchOptions, Kind | true>> = {
  max: KIND.number,
  waitMs: KIND.wait,
  signal: KIND.signal,
}

const INVISIBLE_MS_DEFAULT = 60_000
const INVISIBLE_MS_MAX = 12 * 3_600_000
const RETRIES_DEFAULT = 16
/** One request waits so long at most; then the next does. */
const POLL_MS_MAX = 20_000
/** Between two looks at several brokers. */
const PAUSE_MS = 200

export class Popper {
  readonly #clock: Clock
  readonly #brokers: Brokers
  readonly #routes: Routes
  readonly #settlements: PopSettlements
  #turn = 0

  constructor(clock: Clock, brokers: Brokers, routes: Routes, timeoutMs: number) {
    this.#clock = clock
    this.#brokers = brokers
    this.#routes = routes
    this.#settlements = { clock, brokers, timeoutMs, acks: new AckLine(brokers, timeoutMs) }
  }

  /** Empty when nothing came in time. */
  async pop(options: PopOptions, batch: BatchOptions): Promise<Delivery[]> {
    const { retriesMax = RETRIES_DEFAULT } = options
    const fields = fieldsOf(options, batch)
    const { waitMs = 0, signal } = batch
    const endMs = this.#clock.monotonic() + waitMs
    for (let rounds = 0; ; rounds++) {
      signal?.throwIfAborted()
      const names = await this.#brokersOf(options.topic, signal)
      const leftMs = Math.min(POLL_MS_MAX, Math.max(0, endMs - this.#clock.monotonic()))
      const pollTime = names.length === 1 ? Math.floor(leftMs) : 0
      const found = await this.#popAt(names, { ...fields, pollTime }, retriesMax, signal)
      if (found.length > 0 || this.#clock.monotonic() >= endMs) return found
      if (names.length === 1) continue
      // The news may have been of messages that the filter leaves out.
      if (rounds > 0) await sleep(this.#clock, Math.min(leftMs, PAUSE_MS))
      await this.#news(names, fields, Math.floor(leftMs), signal)
    }
  }

  async #brokersOf(topic: string, signal: AbortSignal | undefined): Promise<string[]> {
    const { readable } = await this.#routes.queues(topic, { signal })
    const names = [...new Set(readable.map(({ brokerName }) => brokerName))]
    if (names.length > 0) return names
    throw new BrokerError('NO_ROUTE', `the topic '${topic}' has no queue to read now`, {
      retryable: true,
    })
  }

  /** The first that has something. Fails when none could be asked. */
  async #popAt(
    names: readonly string[],
    fields: PopFields,
    retriesMax: number,
    signal: AbortSignal | undefined,
  ): Promise<Delivery[]> {
    const failures: unknown[] = []
    const first = this.#turn++
    for (let i = 0; i < names.length; i++) {
      const name = names[(first + i) % names.length]!
      try {
        const connection = await this.#brokers.connection(name, { signal })
        const popped = await popMessages(connection, name, fields, { signal })
        if (popped.length === 0) continue
        const of = { group: fields.consumerGroup, topic: fields.topic, retriesMax }
        return popped.map(({ record, handle, retries }) => {
          const settlement = new PopSettlement(this.#settlements, of, handle)
          return new Delivery(record, name, settlement, retries)
        })
      } catch (error) {
        signal?.throwIfAborted()
        failures.push(error)
      }
    }
    if (failures.length === names.length) throw failures[0]
    return []
  }

  /** Settles when one of the brokers has something, or the time is over. */
  async #news(
    names: readonly string[],
    fields: PopFields,
    pollTime: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { consumerGroup, topic, queueId, bornTime, order, expType, exp } = fields
    const asked = { consumerGroup, topic, queueId, bornTime, order, expType, exp, pollTime }
    const others = abortController()
    const unheard = onAbort(signal, (reason) => others.abort(reason))
    const ask = async (name: string): Promise<void> => {
      const connection = await this.#brokers.connection(name, { signal: others.signal })
      if (await isThereToPop(connection, asked, { signal: others.signal })) return
      throw new BrokerError('TIMED_OUT', `nothing at '${name}'`)
    }
    try {
      await Promise.any(names.map(ask))
    } catch {
      signal?.throwIfAborted()
    } finally {
      unheard()
      others.abort(new BrokerError('ABORTED', 'another broker has messages'))
    }
  }
}

/** @throws BrokerError ARGUMENT_INVALID, NAME_INVALID, FILTER_INVALID */
function fieldsOf(options: PopOptions, batch: BatchOptions): PopFields {
  checkNames('option of pop', options, NAMES)
  checkNames('option of pop', batch, BATCH_NAMES)
  const { group, topic, tags, sql, from = 'last', ordered = false } = options
  const { invisibleMs = INVISIBLE_MS_DEFAULT, retriesMax = RETRIES_DEFAULT } = options
  const { max = 1, waitMs = 0 } = batch
  checkGroupName(group)
  checkTopicName(topic)
  checkCount('max', max, 1, POP_MESSAGES_MAX)
  checkCount('invisibleMs', invisibleMs, 1, INVISIBLE_MS_MAX)
  checkCount('retriesMax', retriesMax, 0, 1_000_000)
  if (!(waitMs >= 0)) throw invalid("'waitMs' is no number from 0 on")
  if (tags !== undefined && sql !== undefined) throw invalid("give 'tags' or 'sql', not both")
  if (from !== 'first' && from !== 'last') throw invalid("'from' is neither 'first' nor 'last'")
  const filter = filterOf(sql === undefined ? tags : { sql })
  return {
    consumerGroup: group,
    topic,
    queueId: ANY_QUEUE,
    maxMsgNums: max,
    invisibleTime: invisibleMs,
    pollTime: 0,
    bornTime: 0,
    initMode: from === 'last' ? INIT_AT_END : 0,
    exp: filter.expression,
    expType: sql === undefined ? EXPRESSION_TYPE.tags : EXPRESSION_TYPE.sql,
    order: ordered,
  }
}

const invalid = (text: string): BrokerError => new BrokerError('ARGUMENT_INVALID', text)
