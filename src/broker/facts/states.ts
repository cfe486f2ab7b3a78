// Durable state of front-ends, one opaque value per id. What is saved lazily is readable at once
// and written soon.
import { type Clock, Slice } from '../../clock.ts'
import type { Logger } from '../../log.ts'
import {
  type Claim,
  checkStateSize,
  NO_STATE,
  type State,
  type StateChange,
  type StateEntry,
  type StateGuard,
  type StateNews,
  StatePage,
  type StateVersion,
  stateConflict,
} from '../../model/state.ts'
import type { Fact, MessageStore, RecordFact } from '../../store/store.ts'
import { ClaimTable } from './claims.ts'
import { FACT, type FactWriter, type LazyFact } from './fact-writer.ts'
import { StateWatchers } from './state-watchers.ts'

/**
 * A change on its way into the log: one of the two is called for each append that it rides with.
 */
export interface StagedChange {
  readonly fact: Fact | RecordFact
  written(): void
  refused(): void
}

/** Of a state that has not changed since the start. */
const FIRST_VERSION = 1 as StateVersion

/** A state that memory knows better than the log. */
interface Unwritten extends LazyFact {
  state: Buffer | null
  version: StateVersion
  /** While newer values are on their way with their messages. */
  overtaken: Overtaken | undefined
}

/** The version that is not written any more, unless all newer ones are refused. */
interface Overtaken {
  readonly version: StateVersion
  count: number
}

export class StateTable {
  readonly claims: ClaimTable
  readonly #watchers: StateWatchers<StateNews>
  readonly #freeWatchers: StateWatchers<string>
  readonly #clock: Clock
  readonly #store: MessageStore
  readonly #facts: FactWriter
  readonly #unwritten = new Map<string, Unwritten>()
  /** Of the states that are there and have changed since the start. */
  readonly #versions = new Map<string, StateVersion>()
  /** How many changes of an id are on their way with their messages. */
  readonly #staged = new Map<string, number>()
  #last: StateVersion = FIRST_VERSION

  constructor(store: MessageStore, facts: FactWriter, clock: Clock, log: Logger) {
    this.#clock = clock
    this.#store = store
    this.#facts = facts
    this.claims = new ClaimTable(clock, (id) => this.#freeWatchers.note(id))
    this.#freeWatchers = new StateWatchers(log, (id) =>
      this.load(id) === undefined || this.claims.hasOwner(id) ? undefined : id,
    )
    this.#watchers = new StateWatchers(log, (id) => this.#news(id))
  }

  /** The log has another value, which another broker wrote. */
  follow(id: string, isDeleted: boolean): void {
    this.#changed(id, isDeleted)
  }

  load(id: string): State | undefined {
    const unwritten = this.#unwritten.get(id)
    const value = unwritten === undefined ? this.#store.fact(FACT.state, id) : unwritten.state
    return value ? { value, version: this.#versions.get(id) ?? FIRST_VERSION } : undefined
  }

  /** @throws ARGUMENT_INVALID, STATE_CONFLICT, CLAIM_LOST, READ_ONLY */
  async save(id: string, value: Uint8Array, guard: StateGuard | undefined): Promise<StateVersion> {
    this.check(id, value.length, guard)
    return this.#put(id, Buffer.from(value))
  }

  saveSoon(id: string, value: Uint8Array, guard: StateGuard | undefined): void {
    this.check(id, value.length, guard)
    this.#facts.mark(this.#keep(id, Buffer.from(value)))
  }

  async delete(id: string, guard: StateGuard | undefined): Promise<void> {
    this.check(id, 0, guard)
    await this.#put(id, null)
  }

  watch(prefix: string, changed: (news: StateNews) => void): Disposable {
    return this.#watchers.watch(prefix, changed)
  }

  watchFree(prefix: string, freed: (id: string) => void): Disposable {
    return this.#freeWatchers.watch(prefix, freed)
  }

  /** @throws ARGUMENT_INVALID, CLAIM_LOST, CLOSED */
  async claim(id: string, lost: () => void): Promise<Claim> {
    this.check(id, 0, undefined)
    return this.claims.claim(id, lost)
  }

  /** @throws ARGUMENT_INVALID, CLOSED */
  claimFree(id: string, lost: () => void): Claim | undefined {
    this.check(id, 0, undefined)
    return this.claims.claimFree(id, lost)
  }

  /** @throws ARGUMENT_INVALID, STATE_CONFLICT, CLAIM_LOST */
  check(id: string, valueBytes: number, guard: StateGuard | undefined): void {
    checkStateSize(id, valueBytes)
    if (guard?.claim !== undefined) this.claims.check(guard.claim, id)
    if (guard?.expected === undefined) return
    if (this.#staged.has(id) || (this.load(id)?.version ?? NO_STATE) !== guard.expected) {
      throw stateConflict(id)
    }
  }

  /** A change that holds whatever becomes of the append it goes with; readable at once. */
  stageKept(id: string, state: Uint8Array | null): StagedChange {
    const unwritten = this.#keep(id, state && Buffer.from(state))
    const { version } = unwritten
    return {
      fact: stateFact(id, unwritten.state),
      written: () => this.#wrote(id, version),
      // The change is readable from now on, so it must get into the log in the end.
      refused: () => this.#facts.mark(unwritten),
    }
  }

  /** A change that holds with the message at `place` of its append, and is readable with it. */
  stage(id: string, state: StateChange['state'], place: number): StagedChange {
    const older = this.#unwritten.get(id)
    // The log is not to get behind the new state what was kept before it.
    const overtaken = older && overtake(older)
    this.#staged.set(id, (this.#staged.get(id) ?? 0) + 1)
    return {
      fact:
        state === 'message'
          ? { kind: FACT.state, key: id, message: place }
          : stateFact(id, state && Buffer.from(state)),
      written: () => {
        this.#unstage(id)
        const kept = this.#unwritten.get(id)
        if (kept !== undefined && kept === older && overtaken?.version === kept.version) {
          this.#unwritten.delete(id)
        }
        // A value that was kept since is newer.
        if (!this.#unwritten.has(id)) this.#changed(id, state === null)
      },
      refused: () => {
        this.#unstage(id)
        if (older === undefined || overtaken === undefined || --overtaken.count > 0) return
        if (older.overtaken !== overtaken || this.#unwritten.get(id) !== older) return
        older.overtaken = undefined
        this.#facts.mark(older)
      },
    }
  }

  /** Others have their turn between pages. */
  async *list(prefix: string): AsyncGenerator<readonly StateEntry[]> {
    const slice = new Slice(this.#clock)
    const page = new StatePage()
    for (const id of this.#ids()) {
      if (slice.isOver) await slice.rest()
      if (!id.startsWith(prefix)) continue
      const state = this.load(id)
      if (state === undefined) continue
      page.add({ id, ...state })
      if (page.isFull) yield page.take()
    }
    if (!page.isEmpty) yield page.take()
  }

  /** Of all that is there from the first call to the last, once each. */
  *#ids(): Generator<string> {
    const unwritten = new Set(this.#unwritten.keys())
    yield* unwritten
    for (const [id] of this.#store.facts(FACT.state)) if (!unwritten.has(id)) yield id
  }

  #news(id: string): StateNews {
    const state = this.load(id)
    return { id, value: state?.value, version: state?.version ?? this.#last }
  }

  /** Called once the change is readable. */
  #changed(id: string, isDeleted: boolean): StateVersion {
    this.#last++
    if (isDeleted) this.#versions.delete(id)
    else this.#versions.set(id, this.#last)
    this.#watchers.note(id)
    return this.#last
  }

  #keep(id: string, state: Buffer | null): Unwritten {
    let unwritten = this.#unwritten.get(id)
    if (unwritten === undefined) {
      unwritten = this.#start(id)
      this.#unwritten.set(id, unwritten)
    }
    unwritten.state = state
    unwritten.version = this.#changed(id, state === null)
    return unwritten
  }

  async #put(id: string, state: Buffer | null): Promise<StateVersion> {
    const unwritten = this.#keep(id, state)
    const { version } = unwritten
    try {
      await this.#facts.write([stateFact(id, state)])
    } catch (error) {
      // The change is readable from now on, so it must get into the log in the end.
      this.#facts.mark(unwritten)
      throw error
    }
    this.#wrote(id, version)
    return version
  }

  #start(id: string): Unwritten {
    let asked: { readonly fact: Fact; readonly version: StateVersion } | undefined
    const unwritten: Unwritten = {
      state: null,
      version: NO_STATE,
      overtaken: undefined,
      fact: () => {
        // Written by an eager save since, and perhaps changed again by another.
        if (this.#unwritten.get(id) !== unwritten) return undefined
        if (unwritten.overtaken?.version === unwritten.version) return undefined
        asked = { fact: stateFact(id, unwritten.state), version: unwritten.version }
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

  #wrote(id: string, version: StateVersion): void {
    if (this.#unwritten.get(id)?.version === version) this.#unwritten.delete(id)
  }

  #unstage(id: string): void {
    const count = this.#staged.get(id)! - 1
    if (count === 0) this.#staged.delete(id)
    else this.#staged.set(id, count)
  }
}

function overtake(older: Unwritten): Overtaken {
  const { overtaken, version } = older
  if (overtaken?.version !== version) older.overtaken = { version, count: 0 }
  older.overtaken!.count++
  return older.overtaken!
}

const stateFact = (id: string, value: Buffer | null): Fact => ({
  kind: FACT.state,
  key: id,
  value,
})
