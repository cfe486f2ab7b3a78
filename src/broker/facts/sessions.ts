// Durable state of front-ends, one opaque value per id. A lazy save is readable at once and written
// soon.
import { type Clock, Slice } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { BODY_BYTES_MAX } from '../../model/limits.ts'
import type { StateChange } from '../../model/message.ts'
import type { Fact, MessageStore, RecordFact } from '../../store/store.ts'
import { FACT, type FactWriter, type LazyFact } from './fact-writer.ts'

/**
 * A change on its way into the log: one of the two is called for each append that it rides with.
 */
export interface StagedChange {
  readonly fact: Fact | RecordFact
  written(): void
  refused(): void
}

/**
 * A topic name as long as records have room for, as a retained message has it, behind its
 * front-end's prefix.
 */
const ID_CHARS_MAX = 32_000 + 64
/** A retained message is whole, with its properties and what surrounds it in a record. */
const STATE_BYTES_MAX = BODY_BYTES_MAX + 128 * 1024

/** A session that memory knows better than the log. */
interface Unwritten extends LazyFact {
  state: Buffer | null
  version: number
}

export class SessionTable {
  readonly #clock: Clock
  readonly #store: MessageStore
  readonly #facts: FactWriter
  readonly #unwritten = new Map<string, Unwritten>()

  constructor(store: MessageStore, facts: FactWriter, clock: Clock) {
    this.#clock = clock
    this.#store = store
    this.#facts = facts
  }

  load(id: string): Buffer | undefined {
    const unwritten = this.#unwritten.get(id)
    if (unwritten !== undefined) return unwritten.state ?? undefined
    return this.#store.fact(FACT.session, id)
  }

  async save(id: string, state: Uint8Array, isLazy: boolean): Promise<void> {
    this.check(id, state.length)
    await this.#put(id, Buffer.from(state), isLazy)
  }

  /** @throws ARGUMENT_INVALID */
  check(id: string, stateBytes: number): void {
    if (id.length === 0 || id.length > ID_CHARS_MAX || stateBytes > STATE_BYTES_MAX) {
      throw new BrokerError(
        'ARGUMENT_INVALID',
        `a session id has 1 to ${ID_CHARS_MAX} characters and its state ${STATE_BYTES_MAX} bytes at most; ` +
          `these have ${id.length} and ${stateBytes}`,
      )
    }
  }

  /** A change that holds whatever becomes of the append it goes with; readable at once. */
  stageKept(id: string, state: Uint8Array | null): StagedChange {
    const unwritten = this.#keep(id, state && Buffer.from(state))
    const { version } = unwritten
    return {
      fact: sessionFact(id, unwritten.state),
      written: () => this.#wrote(id, version),
      // The change is readable from now on, so it must get into the log in the end.
      refused: () => this.#facts.mark(unwritten),
    }
  }

  /** A change that holds with the message at `place` of its append, and is readable with it. */
  stage(id: string, state: StateChange['state'], place: number): StagedChange {
    const older = this.#unwritten.get(id)
    // The log is not to get behind the new state what was kept before it.
    this.#unwritten.delete(id)
    return {
      fact:
        state === 'message'
          ? { kind: FACT.session, key: id, message: place }
          : sessionFact(id, state && Buffer.from(state)),
      written: () => {},
      refused: () => {
        if (older === undefined || this.#unwritten.has(id)) return
        this.#unwritten.set(id, older)
        this.#facts.mark(older)
      },
    }
  }

  async delete(id: string): Promise<void> {
    await this.#put(id, null, false)
  }

  /** In no order. */
  async list(prefix: string): Promise<string[]> {
    const ids = new Set<string>()
    const slice = new Slice(this.#clock)
    for (const [id] of this.#store.facts(FACT.session)) {
      if (slice.isOver) await slice.rest()
      if (id.startsWith(prefix)) ids.add(id)
    }
    for (const [id, { state }] of this.#unwritten) {
      if (state === null) ids.delete(id)
      else if (id.startsWith(prefix)) ids.add(id)
    }
    return [...ids]
  }

  #keep(id: string, state: Buffer | null): Unwritten {
    let unwritten = this.#unwritten.get(id)
    if (unwritten === undefined) {
      unwritten = this.#start(id)
      this.#unwritten.set(id, unwritten)
    }
    unwritten.state = state
    unwritten.version++
    return unwritten
  }

  async #put(id: string, state: Buffer | null, isLazy: boolean): Promise<void> {
    const unwritten = this.#keep(id, state)
    const { version } = unwritten
    if (isLazy) return this.#facts.mark(unwritten)
    try {
      await this.#facts.write([sessionFact(id, state)])
    } catch (error) {
      // The change is readable from now on, so it must get into the log in the end.
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
