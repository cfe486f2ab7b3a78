// Which of a session's subscriptions are saved together. A change of one has its part written, so
// that a client that subscribes to one filter after the other does not have all of them written
// again and again. The first part is saved with the session itself.

/** Subscriptions of one part. */
export const PART_SUBSCRIPTIONS_MAX = 16

interface Part {
  readonly number: number
  /** Of its subscriptions. */
  readonly texts: Set<string>
  /** As it is to be saved. */
  encoded: string | undefined
}

export class SubscriptionParts {
  readonly #parts: Part[] = []
  readonly #partOf = new Map<string, Part>()
  /** Parts that have room. */
  readonly #roomy = new Set<Part>()
  /** Numbers of parts that are there no more, or differ from their saved copies. */
  #changed = new Set<number>()

  /** Their numbers are the first so many. */
  get count(): number {
    return this.#parts.length
  }

  get changed(): ReadonlySet<number> {
    return this.#changed
  }

  add(text: string): void {
    const [roomy = this.#newPart()] = this.#roomy
    this.#put(text, roomy)
    this.#change(roomy)
  }

  /** As it was saved. */
  restore(text: string, number: number): void {
    while (this.#parts.length <= number) this.#newPart()
    this.#put(text, this.#parts[number]!)
  }

  change(text: string): void {
    const part = this.#partOf.get(text)
    if (part !== undefined) this.#change(part)
  }

  delete(text: string): void {
    const part = this.#partOf.get(text)
    if (part === undefined) return
    this.#partOf.delete(text)
    part.texts.delete(text)
    this.#roomy.add(part)
    this.#change(part)
    for (let last = this.#parts.at(-1); last?.texts.size === 0; last = this.#parts.at(-1)) {
      this.#parts.pop()
      this.#roomy.delete(last)
      // Also one that was empty for long has a saved copy.
      this.#changed.add(last.number)
    }
  }

  /** Ahead of its being saved, unless one of its subscriptions changes until then. */
  encode(number: number, encode: (text: string) => string): void {
    const part = this.#parts[number]
    if (part !== undefined) part.encoded ??= [...part.texts].map(encode).join(',')
  }

  /** To be saved; a part that is not there has none. */
  takeEncoded(number: number, encode: (text: string) => string): string {
    this.encode(number, encode)
    const part = this.#parts[number]
    const encoded = part?.encoded ?? ''
    if (part !== undefined) part.encoded = undefined
    return encoded
  }

  /** The numbers of those that are to be saved now. */
  takeChanged(): number[] {
    const changed = [...this.#changed]
    this.#changed = new Set()
    return changed
  }

  /** They were not saved after all. */
  notSaved(numbers: Iterable<number>): void {
    for (const number of numbers) this.#changed.add(number)
  }

  #newPart(): Part {
    const part = { number: this.#parts.length, texts: new Set<string>(), encoded: undefined }
    this.#parts.push(part)
    this.#roomy.add(part)
    return part
  }

  #put(text: string, part: Part): void {
    this.#partOf.set(text, part)
    part.texts.add(text)
    if (part.texts.size >= PART_SUBSCRIPTIONS_MAX) this.#roomy.delete(part)
  }

  #change(part: Part): void {
    part.encoded = undefined
    this.#changed.add(part.number)
  }
}
