// Entries of the message trace on their way to RocketMQ's trace topic: gathered for a moment, sent
// together, and never in the way of the messages that they are about.
import type { Clock, Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { TRACE_TOPIC } from '../../model/names.ts'
import type { StatusFeed } from '../calls/status.ts'
import type { TraceEntry, TraceSink } from '../calls/trace-entry.ts'
import type { Producer } from './producer.ts'

const GATHER_MS = 500
/** As Java's: of one message. */
const ENTRIES_MAX = 100
const CHARS_MAX = 128_000
/** Of the property that holds them. */
const KEYS_CHARS_MAX = 16_384
/** Messages with entries under way: beyond, a broker that does not take them costs entries. */
const SENDING_MAX = 16

export class Traces implements TraceSink {
  readonly #clock: Clock
  readonly #producer: Producer
  readonly #status: StatusFeed
  #text = ''
  #entries = 0
  #keys = new Set<string>()
  #keysChars = 0
  #timer: Timer | undefined
  #sending = 0

  /** `producer`: its own sends leave no traces. */
  constructor(clock: Clock, producer: Producer, status: StatusFeed) {
    this.#clock = clock
    this.#producer = producer
    this.#status = status
  }

  add({ text, keys }: TraceEntry): void {
    const isFull =
      this.#entries >= ENTRIES_MAX ||
      this.#text.length + text.length > CHARS_MAX ||
      this.#keysChars > KEYS_CHARS_MAX
    if (isFull) this.#send()
    this.#text += text
    this.#entries++
    for (const key of keys) {
      if (this.#keys.has(key)) continue
      this.#keys.add(key)
      this.#keysChars += key.length + 1
    }
    this.#timer ??= this.#clock.after(GATHER_MS, () => this.#send())
  }

  /** Sends the rest and waits for it until the deadline. Never rejects. */
  async close(deadlineMs: number): Promise<void> {
    this.#send()
    await this.#producer.idle(deadlineMs)
  }

  #send(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const body = this.#text
    const keys = [...this.#keys]
    this.#text = ''
    this.#entries = 0
    this.#keys = new Set()
    this.#keysChars = 0
    if (body === '' || this.#sending >= SENDING_MAX) return
    this.#sending++
    this.#producer
      .send({ topic: TRACE_TOPIC, body, keys }, {})
      .catch((error: unknown) => {
        this.#status.emit({ type: 'error', error: BrokerError.from(error) })
      })
      .finally(() => this.#sending--)
  }
}
