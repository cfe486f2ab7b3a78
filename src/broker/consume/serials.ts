// Numbers that tell deliveries apart. They start anywhere, so that a receipt of an earlier process,
// whatever its clock said, fits nothing.
import { randomBytes } from 'node:crypto'

/** Leaves room for 2^52 deliveries below 2^53. */
const START_BYTES = 6

export class Serials {
  #last = randomBytes(START_BYTES).readUIntBE(0, START_BYTES)

  next(): number {
    return ++this.#last
  }
}
