// Messages of one connection on their way into the broker, the same for every protocol. What one
// chunk of the socket brought is one publish; the batches are answered in the order in which they
// came, each once all of its messages are durable or refused; and the bytes that are not stored yet
// say when the connection is to be read no more.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { NewMessage, PublishResult } from '../../model/message.ts'
import type { Traffic } from '../../port/traffic.ts'

/** The messages of one chunk, with what their protocol needs to answer them. */
export interface PublishBatch {
  /** Until they are published: then the broker has them, and the batch holds none. */
  messages: NewMessage[]
  /** Memory that it takes until it is answered, about. */
  bytes: number
  /** One result for each message, in their order. */
  settle(results: readonly PublishResult[]): void
}

export interface PublishLineOptions<Batch extends PublishBatch> {
  readonly clock: Clock
  /** Counts the messages. */
  readonly traffic: Traffic
  readonly unstoredBytesMax: number
  /** For the next chunk. */
  readonly newBatch: () => Batch
  /** Hands it to the broker within the call: the chunk's memory is used again after it. */
  readonly publish: (batch: Batch) => Promise<readonly PublishResult[]>
  /** `isFull` has changed. */
  readonly changed: () => void
}

interface Waiting<Batch> {
  readonly batch: Batch
  /** Of each message's body and properties. */
  readonly sizes: readonly number[]
  /** When it was handed to the broker, monotonic ms. */
  readonly sinceMs: number
  results: readonly PublishResult[] | undefined
}

export class PublishLine<Batch extends PublishBatch> {
  /** Of the chunk that is being read. */
  batch: Batch
  readonly #options: PublishLineOptions<Batch>
  /** Oldest first. */
  readonly #waiting: Waiting<Batch>[] = []
  #whenIdle: (() => void)[] = []
  #bytes = 0
  #isFull = false
  #nowMs = 0

  constructor(options: PublishLineOptions<Batch>) {
    this.#options = options
    this.batch = options.newBatch()
  }

  /** When the messages of this chunk came; one look at the clock for all of them. */
  get nowMs(): number {
    if (this.batch.messages.length === 0) this.#nowMs = this.#options.clock.now()
    return this.#nowMs
  }

  /** More than the limit is not stored; until no more than half of it is. */
  get isFull(): boolean {
    return this.#isFull
  }

  get isIdle(): boolean {
    return this.#waiting.length === 0
  }

  /** The newest batch that waits for its answers. */
  get last(): Batch | undefined {
    return this.#waiting.at(-1)?.batch
  }

  /** The end of a chunk: everything gathered since the last one is one publish. */
  flush(): void {
    const { batch } = this
    if (batch.messages.length === 0) return
    this.batch = this.#options.newBatch()
    const waiting = this.#take(batch)
    this.#options.publish(batch).then(
      (results) => this.#settled(waiting, checked(results, waiting.sizes.length)),
      (error: unknown) => this.#settled(waiting, failed(error, waiting.sizes.length)),
    )
    batch.messages = []
    this.#look()
  }

  /** A batch that does not go to the broker is answered in its turn. */
  answer(batch: Batch, results: readonly PublishResult[]): void {
    this.#settled(this.#take(batch), results)
  }

  /** The batch takes more memory. */
  grow(batch: Batch, bytes: number): void {
    batch.bytes += bytes
    this.#bytes += bytes
    this.#look()
  }

  /** Settles when everything that came so far is answered. */
  async whenIdle(): Promise<void> {
    this.flush()
    if (this.isIdle) return
    await new Promise<void>((resolve) => {
      this.#whenIdle.push(resolve)
    })
  }

  #take(batch: Batch): Waiting<Batch> {
    const sizes = batch.messages.map(({ body, properties }) => body.length + properties.length)
    const sinceMs = this.#options.clock.monotonic()
    const waiting = { batch, sizes, sinceMs, results: undefined }
    this.#waiting.push(waiting)
    this.#bytes += batch.bytes
    return waiting
  }

  #look(): void {
    const { unstoredBytesMax, changed } = this.#options
    const isFull = this.#bytes > (this.#isFull ? unstoredBytesMax / 2 : unstoredBytesMax)
    if (isFull === this.#isFull) return
    this.#isFull = isFull
    changed()
  }

  #settled(waiting: Waiting<Batch>, results: readonly PublishResult[]): void {
    const { traffic, clock } = this.#options
    traffic.published(waiting.sizes, results, clock.monotonic() - waiting.sinceMs)
    waiting.results = results
    for (let next = this.#waiting[0]; next?.results !== undefined; next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#bytes -= next.batch.bytes
      next.batch.settle(next.results)
    }
    if (this.isIdle) for (const tell of this.#whenIdle.splice(0)) tell()
    this.#look()
  }
}

const checked = (results: readonly PublishResult[], count: number) =>
  results.length === count ? results : failed(new Error('missing results'), count)

const failed = (error: unknown, count: number): readonly PublishResult[] =>
  new Array<PublishResult>(count).fill(BrokerError.from(error))
