// The newest value of every fact, in memory: facts are definitions, cursors and sessions, which the
// broker reads at once and lists by kind.

export interface StoredFact {
  readonly value: Buffer
  /** Of the record that set it: where retention must save it from. */
  readonly position: number
}

export class FactTable {
  readonly #kinds = new Map<string, Map<string, StoredFact>>()

  get(kind: string, key: string): Buffer | undefined {
    return this.#kinds.get(kind)?.get(key)?.value
  }

  /** The value is copied. */
  set(kind: string, key: string, value: Uint8Array, position: number): void {
    let facts = this.#kinds.get(kind)
    if (facts === undefined) {
      facts = new Map()
      this.#kinds.set(kind, facts)
    }
    facts.set(key, { value: Buffer.from(value), position })
  }

  forget(kind: string, key: string): void {
    const facts = this.#kinds.get(kind)
    if (facts?.delete(key) && facts.size === 0) this.#kinds.delete(kind)
  }

  /** In key order (UTF-16 code units), as of now. */
  *entries(kind: string): Generator<readonly [key: string, value: Buffer]> {
    const facts = this.#kinds.get(kind)
    if (facts === undefined) return
    const sorted = [...facts].sort(([a], [b]) => (a < b ? -1 : 1))
    for (const [key, { value }] of sorted) yield [key, value]
  }
}
