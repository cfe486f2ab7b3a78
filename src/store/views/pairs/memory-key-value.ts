// An ordered key-value store in memory: for views that find no room on the disk, until they do.
// Bounded in bytes.
import type { KeyValue, KeyValueBatch, Pair } from './key-value.ts'

/** Memory of a pair beside its bytes, roughly. */
const PAIR_BYTES = 100

/** It would take more bytes than it may. */
export class MemoryFull extends Error {}

type Change = readonly [key: string, value: Buffer | undefined]

export class MemoryKeyValue implements KeyValue {
  /** By the bytes of the key as latin1, which sorts as they do. */
  readonly #values = new Map<string, Buffer>()
  readonly #bytesMax: number
  /** Ascending; undefined after a change. */
  #keys: string[] | undefined
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get(key: Uint8Array): Buffer | undefined {
    return this.#values.get(nameOf(key))
  }

  batch(): KeyValueBatch {
    const changes: Change[] = []
    return {
      put: (key, value) => {
        changes.push([nameOf(key), Buffer.from(value)])
      },
      delete: (key) => {
        changes.push([nameOf(key), undefined])
      },
      write: async () => {
        for (const [key, value] of changes) this.#set(key, value)
        if (this.#bytes <= this.#bytesMax) return
        throw new MemoryFull(`views in memory may take ${this.#bytesMax} bytes`)
      },
    }
  }

  async scan(from: Uint8Array, to: Uint8Array, limit: number): Promise<readonly Pair[]> {
    const names = this.#between(from, to).slice(0, limit)
    return names.map((name) => [Buffer.from(name, 'latin1'), this.#values.get(name)!])
  }

  async clear(from: Uint8Array, to: Uint8Array): Promise<void> {
    for (const name of this.#between(from, to)) this.#set(name, undefined)
  }

  async close(): Promise<void> {
    this.#values.clear()
  }

  #set(name: string, value: Buffer | undefined): void {
    const before = this.#values.get(name)
    if (before !== undefined) this.#bytes -= name.length + before.length + PAIR_BYTES
    if (value !== undefined) this.#bytes += name.length + value.length + PAIR_BYTES
    if (value === undefined) this.#values.delete(name)
    else this.#values.set(name, value)
    if ((before === undefined) !== (value === undefined)) this.#keys = undefined
  }

  #between(from: Uint8Array, to: Uint8Array): string[] {
    this.#keys ??= [...this.#values.keys()].sort()
    return this.#keys.slice(this.#firstAt(nameOf(from)), this.#firstAt(nameOf(to)))
  }

  /** Of the first key that is not less. */
  #firstAt(name: string): number {
    const keys = this.#keys!
    let low = 0
    let high = keys.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (keys[middle]! < name) low = middle + 1
      else high = middle
    }
    return low
  }
}

const nameOf = (key: Uint8Array): string =>
  Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')
