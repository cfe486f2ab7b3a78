// Reads records of one queue for its group. Records in memory are returned at once; records on the
// disk are loaded once, announced, and kept until the next read.
import { BrokerError } from '../../errors.ts'
import type { QueueOffset } from '../../model/positions.ts'
import type { MessageStore, ReadResult } from '../../store/store.ts'

interface Loaded {
  readonly offset: QueueOffset
  readonly hashes: ReadonlySet<number> | undefined
  readonly result: ReadResult
}

export class QueueReader {
  readonly #store: MessageStore
  readonly #topic: string
  readonly #queueId: number
  readonly #onLoaded: () => void
  #loaded: Loaded | undefined
  #failure: BrokerError | undefined
  isLoading = false

  constructor(store: MessageStore, topic: string, queueId: number, onLoaded: () => void) {
    this.#store = store
    this.#topic = topic
    this.#queueId = queueId
    this.#onLoaded = onLoaded
  }

  /** undefined: on its way from the disk, `onLoaded` follows. Throws the latest load's error. */
  read(
    offset: QueueOffset,
    maxMessages: number,
    maxBytes: number,
    hashes: ReadonlySet<number> | undefined,
  ): ReadResult | undefined {
    if (this.isLoading) return undefined
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw failure
    const loaded = this.#loaded
    this.#loaded = undefined
    if (loaded?.offset === offset && loaded.hashes === hashes) return loaded.result
    const { topic, queueId } = { topic: this.#topic, queueId: this.#queueId }
    const read = this.#store.read({ topic, queueId, offset, maxMessages, maxBytes, hashes })
    if (!(read instanceof Promise)) return read
    this.isLoading = true
    read.then(
      (result) => {
        this.#loaded = { offset, hashes, result }
        this.#done()
      },
      (error) => {
        this.#failure = BrokerError.from(error)
        this.#done()
      },
    )
    return undefined
  }

  /** Drops the loaded records: no receive waits for them any longer. */
  drop(): void {
    this.#loaded = undefined
  }

  #done(): void {
    this.isLoading = false
    this.#onLoaded()
  }
}
