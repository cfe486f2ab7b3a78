// Where the records of a key may stand: hashes of (topic, key) in runs of 64 k, newest run last. A hit
// is a hint that the caller verifies against the record; a miss is certain.

const RUN_ENTRIES_MAX = 65_536
const HASH_PRIME = 0x9e3779b1

/** Hash of `bytes[start, end)` on top of a topic's hash. */
export function keyHash(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let h = seed ^ (end - start)
  for (let at = start; at < end; at++) {
    h = Math.imul(h ^ bytes[at]!, HASH_PRIME)
    h ^= h >>> 15
  }
  return h
}

interface Run {
  readonly hashes: Int32Array
  readonly positions: Float64Array
  count: number
}

export class KeyIndex {
  readonly #runs: Run[] = []

  add(hash: number, position: number): void {
    let run = this.#runs.at(-1)
    if (run === undefined || run.count === RUN_ENTRIES_MAX) {
      run = {
        hashes: new Int32Array(RUN_ENTRIES_MAX),
        positions: new Float64Array(RUN_ENTRIES_MAX),
        count: 0,
      }
      this.#runs.push(run)
    }
    run.hashes[run.count] = hash
    run.positions[run.count] = position
    run.count++
  }

  /** Positions of records that may carry the key, newest first. */
  *candidates(hash: number): Generator<number> {
    for (let r = this.#runs.length - 1; r >= 0; r--) {
      const run = this.#runs[r]!
      for (let i = run.count - 1; i >= 0; i--) {
        if (run.hashes[i] === hash) yield run.positions[i]!
      }
    }
  }
}
