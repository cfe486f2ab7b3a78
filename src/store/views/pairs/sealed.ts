// A key-value store whose values carry a CRC-32 over key and value in their first 4 bytes: LevelDB
// hands out flipped bits without a word. Callers leave those 4 bytes free.
import { getU32, putU32 } from '../../../model/bytes.ts'
import { crc32 } from '../../../model/crc32.ts'
import type { KeyValue, KeyValueBatch, Pair } from './key-value.ts'

export const SEAL_BYTES = 4

/** The views do not say what the log says: they must be built again. */
export class ViewsDamaged extends Error {
  constructor(what: string, cause?: unknown) {
    super(what, cause === undefined ? undefined : { cause })
    this.name = 'ViewsDamaged'
  }
}

const unreadable = (cause: unknown): ViewsDamaged =>
  new ViewsDamaged(`the views cannot be read: ${(cause as Error).message}`, cause)

const sealOf = (key: Uint8Array, value: Uint8Array): number =>
  crc32(value, SEAL_BYTES, value.length, crc32(key))

/** A batch that seals the values it takes. */
export class SealedBatch {
  readonly #batch: KeyValueBatch

  constructor(batch: KeyValueBatch) {
    this.#batch = batch
  }

  /** Writes into the first 4 bytes of the value and answers what it wrote. */
  put(key: Uint8Array, value: Uint8Array): number {
    const seal = sealOf(key, value)
    putU32(value, 0, seal)
    this.#batch.put(key, value)
    return seal
  }

  delete(key: Uint8Array): void {
    this.#batch.delete(key)
  }

  write(sync: boolean): Promise<void> {
    return this.#batch.write(sync)
  }
}

export class SealedKeyValue {
  readonly #inner: KeyValue

  constructor(inner: KeyValue) {
    this.#inner = inner
  }

  /** Seal included. @throws ViewsDamaged */
  get(key: Uint8Array): Buffer | undefined {
    const value = this.#read(key)
    if (value !== undefined) check(key, value)
    return value
  }

  #read(key: Uint8Array): Buffer | undefined {
    try {
      return this.#inner.get(key)
    } catch (error) {
      throw unreadable(error)
    }
  }

  /** Every pair with from <= key < to, seals included. @throws ViewsDamaged */
  async *scan(from: Buffer, to: Buffer, page = 1000): AsyncGenerator<Pair> {
    let next = from
    for (;;) {
      const pairs = await this.#inner.scan(next, to, page).catch((error: unknown) => {
        throw unreadable(error)
      })
      for (const pair of pairs) {
        check(pair[0], pair[1])
        yield pair
      }
      const last = pairs.at(-1)
      if (last === undefined) return
      next = Buffer.concat([last[0], Buffer.alloc(1)])
    }
  }

  batch(): SealedBatch {
    return new SealedBatch(this.#inner.batch())
  }

  clear(from: Buffer, to: Buffer): Promise<void> {
    return this.#inner.clear(from, to)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }
}

export const readSeal = (value: Buffer): number => getU32(value, 0)

function check(key: Buffer | Uint8Array, value: Buffer): void {
  if (value.length >= SEAL_BYTES && getU32(value, 0) === sealOf(key, value)) return
  const shown = Buffer.from(key).toString('hex').slice(0, 80)
  throw new ViewsDamaged(`the value of key ${shown} in the views does not check`)
}
