// The newest value of every fact, in memory: facts are definitions, cursors and sessions, which the
// broker reads at once and lists by kind. The views keep them so that a start need not replay the
// log.
import { getU64, putU64 } from '../../model/bytes.ts'
import { factKey, parseFactKey, prefixRange } from './keys.ts'
import { readSeal, SEAL_BYTES, type SealedBatch, type SealedKeyValue } from './pairs/sealed.ts'
import { Tally } from './tally.ts'

const VALUE_AT = SEAL_BYTES + 8

export interface StoredFact {
  readonly kind: string
  readonly key: string
  /** null: forgotten, and the views do not know yet. */
  value: Buffer | null
  /** Of the record that set it: where retention must save it from. */
  position: number
  /** Of its value in the views; -1 while it has none. */
  seal: number
  isDirty: boolean
}

export class FactTable {
  readonly #kinds = new Map<string, Map<string, StoredFact>>()
  #dirty: StoredFact[] = []
  /** Keys by kind, set or forgotten since they were taken last; undefined: nothing asks. */
  #changed: Map<string, Set<string>> | undefined
  readonly tally = new Tally()

  /** Facts that the next batch writes. */
  get unsaved(): number {
    return this.#dirty.length
  }

  get(kind: string, key: string): Buffer | undefined {
    return this.#kinds.get(kind)?.get(key)?.value ?? undefined
  }

  hasKind(kind: string): boolean {
    return this.#kinds.has(kind)
  }

  /** The value is copied; null forgets. */
  set(kind: string, key: string, value: Uint8Array | null, position: number): void {
    const kept = value && Buffer.from(value)
    let fact = this.#kinds.get(kind)?.get(key)
    if (this.#changed !== undefined) changedOf(this.#changed, kind).add(key)
    if (fact === undefined) {
      if (kept === null) return
      fact = this.#add({ kind, key, value: kept, position, seal: -1, isDirty: false })
    }
    fact.value = kept
    fact.position = position
    if (fact.isDirty) return
    fact.isDirty = true
    this.#dirty.push(fact)
  }

  /** Since the last call; undefined with the first one, from which on changes are kept. */
  takeChanged(): ReadonlyMap<string, ReadonlySet<string>> | undefined {
    const changed = this.#changed
    this.#changed = new Map()
    return changed
  }

  /** Changes are kept no more, until they are taken again. */
  endChanged(): void {
    this.#changed = undefined
  }

  /** In no order. Facts set or forgotten during the reading may be among them or not. */
  *entries(kind: string): Generator<readonly [key: string, value: Buffer]> {
    for (const { key, value } of this.#kinds.get(kind)?.values() ?? []) {
      if (value !== null) yield [key, value]
    }
  }

  /** Live facts set by records before the position. */
  *before(position: number): Generator<StoredFact> {
    for (const facts of this.#kinds.values()) {
      for (const fact of facts.values()) {
        if (fact.value !== null && fact.position < position) yield fact
      }
    }
  }

  save(batch: SealedBatch): void {
    for (const fact of this.#dirty) {
      const { kind, key, value, seal } = fact
      fact.isDirty = false
      fact.seal = -1
      if (value !== null) {
        const bytes = Buffer.allocUnsafe(VALUE_AT + value.length)
        putU64(bytes, SEAL_BYTES, fact.position)
        bytes.set(value, VALUE_AT)
        fact.seal = batch.put(factKey(kind, key), bytes)
      } else {
        if (seal !== -1) batch.delete(factKey(kind, key))
        this.#remove(kind, key)
      }
      this.tally.replace(seal, fact.seal)
    }
    this.#dirty = []
  }

  async load(stored: SealedKeyValue): Promise<void> {
    for await (const [bytes, value] of stored.scan(...prefixRange('F'))) {
      const { kind, key } = parseFactKey(bytes)
      const seal = readSeal(value)
      const position = getU64(value, SEAL_BYTES)
      const kept = Buffer.from(value.subarray(VALUE_AT))
      this.#add({ kind, key, value: kept, position, seal, isDirty: false })
      this.tally.replace(-1, seal)
    }
  }

  #add(fact: StoredFact): StoredFact {
    let facts = this.#kinds.get(fact.kind)
    if (facts === undefined) {
      facts = new Map()
      this.#kinds.set(fact.kind, facts)
    }
    facts.set(fact.key, fact)
    return fact
  }

  #remove(kind: string, key: string): void {
    const facts = this.#kinds.get(kind)
    facts?.delete(key)
    if (facts?.size === 0) this.#kinds.delete(kind)
  }
}

function changedOf(changed: Map<string, Set<string>>, kind: string): Set<string> {
  let keys = changed.get(kind)
  if (keys === undefined) {
    keys = new Set()
    changed.set(kind, keys)
  }
  return keys
}
