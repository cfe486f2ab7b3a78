// Of a broker over a passive store: what its tables have in memory follows the facts that come from
// the master. Once a second, when the log has grown, it takes over those that were set or forgotten
// since. All are looked at where the views were built again: a fact has one buffer, so that another
// one may mean another value.
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
    store.takeChangedFacts()
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
    this.#store.endChangedFacts()
  }

  async #look(logEnd: number): Promise<void> {
    const slice = new Slice(this.#clock)
    const changed = this.#store.takeChangedFacts()
    for (const [name, kind] of Object.entries(FACT)) {
      const follow = this.#followers[name as keyof typeof FACT]
      const known = this.#known.get(kind)!
      for (const key of changed === undefined ? this.#keysOf(kind) : (changed.get(kind) ?? [])) {
        this.#take(follow, known, key, this.#store.fact(kind, key))
        if (slice.isOver) await slice.rest()
        if (this.#isClosed) return
      }
    }
    this.#seenTo = logEnd
  }

  /** Of what is there and of what was. */
  *#keysOf(kind: string): Generator<string> {
    for (const [key] of this.#store.facts(kind)) yield key
    for (const key of this.#known.get(kind)!.keys()) {
      if (this.#store.fact(kind, key) === undefined) yield key
    }
  }

  #take(
    follow: Followers[keyof typeof FACT],
    known: Map<string, Buffer>,
    key: string,
    value: Buffer | undefined,
  ): void {
    if (known.get(key) === value) return
    if (value === undefined) known.delete(key)
    else known.set(key, value)
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
