// Numbers that tell deliveries apart. A receipt of an earlier process must fit nothing: they start from the
// wall clock, with room for a thousand deliveries in each millisecond that passed.

const SERIALS_PER_MS = 1024

export class Serials {
  #last: number

  constructor(nowMs: number) {
    this.#last = nowMs * SERIALS_PER_MS
  }

  next(): number {
    return ++this.#last
  }
}
