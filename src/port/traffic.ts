// What every front-end counts of its messages, in and out.
import { BrokerError, ERROR_CODES, type ErrorCode } from '../errors.ts'
import type { Protocol } from '../model/client.ts'
import type { PublishResult } from '../model/message.ts'
import { counter, histogram, PROTOCOL_LABEL, SECONDS_BOUNDS } from '../numbers/declared.ts'
import type { Histogram } from '../numbers/histogram.ts'
import type { Counter, Numbers } from '../numbers/numbers.ts'

const MESSAGES_IN = counter('trivet_messages_in_total', 'messages', {
  help: 'Messages of clients that were stored.',
  labels: PROTOCOL_LABEL,
})
const BYTES_IN = counter('trivet_bytes_in_total', 'bytes', {
  help: 'Bytes of their bodies and properties.',
  labels: PROTOCOL_LABEL,
})
const MESSAGES_OUT = counter('trivet_messages_out_total', 'messages', {
  help: 'Messages written to clients; one that comes again counts again.',
  labels: PROTOCOL_LABEL,
})
const BYTES_OUT = counter('trivet_bytes_out_total', 'bytes', {
  help: 'Bytes of these messages: whole records, AMQP messages, MQTT payloads.',
  labels: PROTOCOL_LABEL,
})
const PUBLISH_SECONDS = histogram('trivet_publish_seconds', 'seconds', {
  help: 'From the message being read to its being durable, as its acknowledgement promises.',
  labels: PROTOCOL_LABEL,
  bounds: SECONDS_BOUNDS,
})
const DELIVER_SECONDS = histogram('trivet_deliver_seconds', 'seconds', {
  help:
    'From the message being stored to its being written to a client, by the wall clock; of the ' +
    'messages of one pull, the oldest for all. Consumers that catch up show here.',
  labels: PROTOCOL_LABEL,
  bounds: [...SECONDS_BOUNDS, 60, 600, 3600, 86_400],
})
const REFUSED = counter('trivet_messages_refused_total', 'messages', {
  help: 'Messages of clients that were not taken, by error code.',
  labels: { ...PROTOCOL_LABEL, reason: ERROR_CODES },
})

export class Traffic {
  readonly #numbers: Numbers
  readonly #protocol: Protocol
  readonly #messagesIn: Counter
  readonly #bytesIn: Counter
  readonly #messagesOut: Counter
  readonly #bytesOut: Counter
  readonly #publishSeconds: Histogram
  readonly #deliverSeconds: Histogram
  readonly #refused = new Map<ErrorCode, Counter>()

  constructor(numbers: Numbers, protocol: Protocol) {
    const labels = { protocol_type: protocol }
    this.#numbers = numbers
    this.#protocol = protocol
    this.#messagesIn = numbers.counter(MESSAGES_IN, labels)
    this.#bytesIn = numbers.counter(BYTES_IN, labels)
    this.#messagesOut = numbers.counter(MESSAGES_OUT, labels)
    this.#bytesOut = numbers.counter(BYTES_OUT, labels)
    this.#publishSeconds = numbers.histogram(PUBLISH_SECONDS, labels)
    this.#deliverSeconds = numbers.histogram(DELIVER_SECONDS, labels)
    numbers.declare(REFUSED)
  }

  /**
   * The broker's answer to one publish, with the bytes of each message; one that did not get as far
   * as the broker may be missing among them.
   */
  published(sizes: readonly number[], results: readonly PublishResult[], tookMs: number): void {
    let [stored, bytes] = [0, 0]
    for (let i = 0; i < results.length; i++) {
      const result = results[i]!
      if (result instanceof BrokerError) this.refused(result.code)
      else {
        bytes += sizes[i]!
        stored++
      }
    }
    if (stored > 0) this.stored(stored, bytes, tookMs)
  }

  stored(messages: number, bytes: number, tookMs: number): void {
    this.#messagesIn.value += messages
    this.#bytesIn.value += bytes
    this.#publishSeconds.observe(tookMs / 1000, messages)
  }

  refused(reason: ErrorCode): void {
    let counter = this.#refused.get(reason)
    if (counter === undefined) {
      counter = this.#numbers.counter(REFUSED, { protocol_type: this.#protocol, reason })
      this.#refused.set(reason, counter)
    }
    counter.value++
  }

  /** `ageMs`: since the messages were stored; undefined where that says nothing. */
  delivered(messages: number, bytes: number, ageMs: number | undefined): void {
    this.#messagesOut.value += messages
    this.#bytesOut.value += bytes
    if (ageMs !== undefined) this.#deliverSeconds.observe(Math.max(0, ageMs) / 1000, messages)
  }
}
