// Durable state of front-ends, one opaque value per id. A lazy save is readable at once and written
// soon.
import { BrokerError } from '../errors.ts'
import { BODY_BYTES_MAX } from '../model/limits.ts'
import type { Fact, MessageStore } from '../store/store.ts'
import { FACT, type FactWriter, type LazyFact } from './fact-writer.ts'

/** A topic name of 4 KiB, as a retained message has it, behind its front-end's prefix. */
const ID_CHARS_MAX = 4096 + 64
/** A retained message is whole, with its properties and what surrounds it in a record. */
const STATE_BYTES_MAX = BODY_BYTES_MAX + 128 * 1024

/** A session that memory knows better than the log. */
interface Unwritten extends LazyFact {
  state: Buffer | null
  version: number
}

export class SessionTable {
  readonly #store: MessageStore
  readonly #facts: FactWriter
  readonly #unwritten = new Map<string, Unwritten>()

  constructor(store: MessageStore, facts: FactWriter) {
    this.#store = store
    this.#facts = facts
  }

  load(id: string): Buffer | undefined {
    const unwritten = this.#unwritten.get(id)
    if (unwritten !== undefined) return unwritten.state ?? undefined
    return this.#store.fact(FACT.session, id)
  }

  async save(id: string, state: Uint8Array, isLazy: boolean): Promise<void> {
    if (id.length === 0 || id.length > ID_CHARS_MAX || state.length > STATE_BYTES_MAX) {
      throw new BrokerError(
        'ARGUMENT_INVALID',
        `a session id has 1 to ${ID_CHARS_MAX} characters and its state ${STATE_BYTES_MAX} bytes at most; ` +
          `these have ${id.length} and ${state.length}`,
      )
    }
    await this.#put(id, Buffer.from(state), isLazy)
  }

  async delete(id: string): Promise<void> {
    await this.#put(id, null, false)
  }

  list(prefix: string): string[] {
    const ids = new Set<string>()
    for (const [id] of this.#store.facts(FACT.session)) if (id.startsWith(prefix)) ids.add(id)
    for (const [id, { state }] of this.#unwritten) {
      if (state === null) ids.delete(id)
      else if (id.startsWith(prefix)) ids.add(id)
    }
    return [...ids].sort()
  }

  async #put(id: string, state: Buffer | null, isLazy: boolean): Promise<void> {
    let unwritten = this.#unwritten.get(id)
    if (unwritten === undefined) {
      unwritten = this.#start(id)
      this.#unwritten.set(id, unwritten)
    }
    unwritten.state = state
    const version = ++unwritten.version
    if (isLazy) return this.#facts.mark(unwritten)
    try {
      await this.#facts.write([sessionFact(id, state)])
    } catch (error) {
      // What is readable from now on must get into the log in the end.
      this.#facts.mark(unwritten)
      throw error
    }
    this.#wrote(id, version)
  }

  #start(id: string): Unwritten {
    let asked: { readonly fact: Fact; readonly version: number } | undefined
    const unwritten: Unwritten = {
      state: null,
      version: 0,
      fact: () => {
        // Written by an eager save since, and perhaps changed again by another.
        if (this.#unwritten.get(id) !== unwritten) return undefined
        asked = { fact: sessionFact(id, unwritten.state), version: unwritten.version }
        return asked.fact
      },
      written: (fact) => {
        // An older one says nothing of what is still under way.
        if (fact !== asked?.fact || this.#unwritten.get(id) !== unwritten) return
        this.#wrote(id, asked.version)
      },
    }
    return unwritten
  }

  #wrote(id: string, version: number): void {
    if (this.#unwritten.get(id)?.version === version) this.#unwritten.delete(id)
  }
}

const sessionFact = (id: string, value: Buffer | null): Fact => ({
  kind: FACT.session,
  key: id,
  value,
})
