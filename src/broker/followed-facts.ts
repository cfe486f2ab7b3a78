// Of a broker over a passive store: what its tables have in memory follows the facts that come from
// the master. Looked at once a second, when the log has grown: the store keeps one buffer per fact,
// so that another one means another value.
import { type Clock, Slice, type Timer } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { MessageStore } from '../store/store.ts'
import { FACT } from './facts/fact-writer.ts'

const LOOK_MS = 1_000

/** Told of each change: undefined where the fact is forgotten. */
export type Followers = Readonly<
  Record<keyof typeof FACT, (key: string, value: Buffer | undefined) => void>
>

export class FollowedFacts {
  readonly #store: MessageStore
  readonly #clock: Clock
  readonly #log: Logger
  readonly #followers: Followers
  /** By kind, then key: what the tables have. */
  readonly #known = new Map<string, Map<string, Buffer>>()
  readonly #timer: Timer
  #seenTo = -1
  #looking: Promise<void> | undefined
  #isClosed = false

  /** The tables have what the store has now. */
  constructor(store: MessageStore, clock: Clock, log: Logger, followers: Followers) {
    this.#store = store
    this.#clock = clock
    this.#log = log
    this.#followers = followers
    for (const kind of Object.values(FACT)) this.#known.set(kind, new Map(store.facts(kind)))
    this.#timer = clock.every(LOOK_MS, () => void this.look())
  }

  /** Settles when the tables have what the store has now, or more. Never rejects. */
  look(): Promise<void> {
    const { logEnd } = this.#store.status()
    if (this.#isClosed || logEnd === this.#seenTo) return this.#looking ?? Promise.resolve()
    this.#looking ??= this.#look(logEnd).finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer.cancel()
    await this.#looking
  }

  async #look(logEnd: number): Promise<void> {
    const slice = new Slice(this.#clock)
    for (const [name, kind] of Object.entries(FACT)) {
      const follow = this.#followers[name as keyof typeof FACT]
      const known = this.#known.get(kind)!
      const gone = new Set(known.keys())
      for (const [key, value] of this.#store.facts(kind)) {
        gone.delete(key)
        if (known.get(key) !== value) {
          known.set(key, value)
          this.#tell(follow, key, value)
        }
        if (slice.isOver) await slice.rest()
        if (this.#isClosed) return
      }
      for (const key of gone) {
        // Set again while others had their turn.
        if (this.#store.fact(kind, key) !== undefined) continue
        known.delete(key)
        this.#tell(follow, key, undefined)
      }
    }
    this.#seenTo = logEnd
  }

  #tell(follow: Followers[keyof typeof FACT], key: string, value: Buffer | undefined): void {
    try {
      follow(key, value)
    } catch (err) {
      this.#log.error(
        { evt: 'replication.fact', key, err },
        'a fact of the master was not taken over',
      )
    }
  }
}
