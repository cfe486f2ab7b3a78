// Writes durable facts: at once, or coalesced for those that may lag behind memory for a moment.
// Knows kinds and bytes, not what they mean.
import { type Clock, SharedSlice, Slice, type Timer } from '../../clock.ts'
import { BrokerError, isUnconfirmed } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { Fact, MessageStore } from '../../store/store.ts'
import { APPEND_BYTES_TARGET, APPEND_FACTS_MAX } from '../options.ts'

/** Kinds of facts; a kind never changes its meaning, for the log keeps the old ones. */
export const FACT = {
  broker: 'broker',
  topic: 'topic',
  group: 'group',
  cursor: 'cursor',
  state: 'session',
  /** Key: a durable filter, NUL, and the owner of the binding. */
  binding: 'binding',
} as const

/** State in memory that is behind on disk. */
export interface LazyFact {
  /** As it stands now; undefined = not now, it will be marked again. */
  fact(): Fact | undefined
  /** This fact is durable; a later one may have been asked for since. */
  written?(fact: Fact): void
}

export class FactWriter {
  /** Of definitions that are made by their first use. */
  readonly firstUses: SharedSlice
  readonly #store: MessageStore
  readonly #clock: Clock
  readonly #log: Logger
  readonly #flushMs: number
  #behind = new Set<LazyFact>()
  #timer: Timer | undefined
  readonly #flushing = new Set<Promise<void>>()
  #failing = false

  constructor(store: MessageStore, clock: Clock, log: Logger, flushMs: number) {
    this.firstUses = new SharedSlice(clock)
    this.#store = store
    this.#clock = clock
    this.#log = log
    this.#flushMs = flushMs
  }

  /**
   * Durable when it settles; the first append is handed to the store within the call.
   * @throws READ_ONLY
   */
  write(facts: Iterable<Fact>): Promise<void> {
    return this.writeBy(async (part) => {
      if (part.length > 0) await this.#append(part)
    }, facts)
  }

  /**
   * The same with a first append of the caller's own. Of very many facts each further part is asked
   * for when the one before is durable, so that others have their turn in between.
   */
  async writeBy(first: (part: Fact[]) => Promise<unknown>, facts: Iterable<Fact>): Promise<void> {
    const parts = inParts(facts)
    await first(parts.next().value ?? [])
    for (const part of parts) await this.#append(part)
  }

  async #append(facts: readonly Fact[]): Promise<void> {
    await this.#store.append({ messages: [], facts })
  }

  /** Written within the flush time; marking twice writes once. */
  mark(source: LazyFact): void {
    this.#behind.add(source)
    this.#timer ??= this.#clock.after(this.#flushMs, () => void this.flush())
  }

  /**
   * At once, before whatever else is behind, and before anything that is appended after this call.
   * Never rejects.
   */
  async writeFirst(sources: readonly LazyFact[]): Promise<void> {
    const facts: Fact[] = []
    const written: LazyFact[] = []
    for (const source of sources) {
      this.#behind.delete(source)
      const fact = source.fact()
      if (fact === undefined) continue
      facts.push(fact)
      written.push(source)
    }
    if (facts.length > 0) await this.#appendLazy(facts, written)
  }

  /**
   * Writes what is behind, in slices, as very much may be. Never rejects: what could not be written
   * stays behind and is tried again.
   */
  async flush(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    const taken = this.#behind
    if (taken.size === 0) return
    this.#behind = new Set()
    const flushing = this.#write(taken).finally(() => this.#flushing.delete(flushing))
    this.#flushing.add(flushing)
    await flushing
  }

  async #write(taken: Iterable<LazyFact>): Promise<void> {
    const writes: Promise<void>[] = []
    let facts: Fact[] = []
    let sources: LazyFact[] = []
    let bytes = 0
    const append = (): void => {
      if (facts.length > 0) writes.push(this.#appendLazy(facts, sources))
      facts = []
      sources = []
      bytes = 0
    }
    const slice = new Slice(this.#clock)
    for (const source of taken) {
      if (slice.isOver) {
        // Behind what others write in the meantime it would undo that.
        append()
        await slice.rest()
      }
      const fact = source.fact()
      if (fact === undefined) continue
      facts.push(fact)
      sources.push(source)
      bytes += bytesOf(fact)
      if (facts.length >= APPEND_FACTS_MAX || bytes >= APPEND_BYTES_TARGET) append()
    }
    append()
    await Promise.all(writes)
  }

  /** The last flush. What the store does not take now is lost with the process. */
  async close(): Promise<void> {
    await Promise.all([this.flush(), ...this.#flushing])
    this.#timer?.cancel()
    this.#timer = undefined
  }

  async #appendLazy(facts: readonly Fact[], sources: readonly LazyFact[]): Promise<void> {
    try {
      await this.#store.append({ messages: [], facts })
      this.#failing = false
      for (const [i, source] of sources.entries()) source.written?.(facts[i]!)
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      if (error.code === 'CLOSED') return
      // The log has them, and slaves get them with it.
      if (isUnconfirmed(error)) {
        for (const [i, source] of sources.entries()) source.written?.(facts[i]!)
        return
      }
      if (!this.#failing) {
        this.#failing = true
        this.#log.warn(
          { evt: 'facts.behind', code: error.code, count: facts.length },
          `committed offsets and acknowledgements are kept in memory only until the store takes them: ${error.message}`,
        )
      }
      for (const source of sources) this.mark(source)
    }
  }
}

/** Each part fits into one append. */
function* inParts(facts: Iterable<Fact>): Generator<Fact[], undefined> {
  let part: Fact[] = []
  let bytes = 0
  for (const fact of facts) {
    part.push(fact)
    bytes += bytesOf(fact)
    if (part.length < APPEND_FACTS_MAX && bytes < APPEND_BYTES_TARGET) continue
    yield part
    part = []
    bytes = 0
  }
  if (part.length > 0) yield part
}

const bytesOf = ({ key, value }: Fact): number => key.length + (value?.length ?? 0)
