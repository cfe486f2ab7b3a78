// Work that is tried until it succeeds, in the background, with waits between the tries that grow.
import { type Clock, sleep } from '../../clock.ts'

const RETRY_MS = 500
const RETRY_MS_MAX = 30_000

export interface TriesOptions {
  readonly clock: Clock
  readonly work: () => Promise<void>
  /** A try failed, the next one comes after `retryMs`. */
  readonly failed: (error: unknown, retryMs: number) => void
}

export class Tries {
  readonly #options: TriesOptions
  readonly #closing = new AbortController()
  #all: Promise<void> | undefined
  #one: Promise<unknown> | undefined

  constructor(options: TriesOptions) {
    this.#options = options
  }

  /** Settles when the work is done, or not wanted any more; undefined: there is none to do. */
  get all(): Promise<void> | undefined {
    return this.#all
  }

  /** The try under way; settles with why it failed. undefined between two tries. */
  get one(): Promise<unknown> | undefined {
    return this.#one
  }

  /** Nothing happens while it goes on. */
  begin(): void {
    this.#all ??= this.#goOn().finally(() => {
      this.#all = undefined
    })
  }

  /** No further try; waits for the one under way. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#all
  }

  async #goOn(): Promise<void> {
    const { clock, work, failed } = this.#options
    const { signal } = this.#closing
    for (let waitMs = RETRY_MS; !signal.aborted; waitMs = Math.min(RETRY_MS_MAX, waitMs * 2)) {
      this.#one = work().catch((error: unknown) => error ?? new Error('it failed'))
      const error = await this.#one
      this.#one = undefined
      if (error === undefined || signal.aborted) return
      failed(error, waitMs)
      await sleep(clock, waitMs, signal).catch(() => {})
    }
  }
}
