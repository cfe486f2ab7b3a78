// The master's view of the copies that are in sync, and with it what is acknowledged: what each of
// them has. It grows and shrinks by compare-and-set at the coordinator. A copy that is to be added
// is waited for first, until it has what was acknowledged without it, for it may be elected as soon
// as the call is made; one that is to be removed is waited for until the call has succeeded.
import { COPIES_MAX, type CopyName } from './group-state.ts'

/** Copies that are heard of: names come by the network, and those of long ago are forgotten. */
const HEARD_MAX = 64

export class InSyncSet {
  readonly #self: CopyName
  #kept: readonly CopyName[]
  /** To be added, and waited for already. */
  #courted: CopyName | undefined
  /** What the call under way asks for. */
  #next: readonly CopyName[] | undefined
  /** By copy, the one heard of last at the end: everything before is on its disk. */
  readonly #confirmed = new Map<CopyName, number>()
  /** What masters before this one may have acknowledged ends here at most. */
  readonly #floor: number
  #acknowledgedTo = 0

  /** `kept`: what the coordinator has. `end`: of the own log, when it was elected. */
  constructor(self: CopyName, kept: readonly CopyName[], end: number) {
    this.#self = self
    this.#kept = kept
    this.#floor = end
  }

  get kept(): readonly CopyName[] {
    return this.#kept
  }

  /** The copies that an acknowledgement waits for. */
  get waitedFor(): readonly CopyName[] {
    const courted = this.#courted === undefined ? [] : [this.#courted]
    return [...new Set([...this.#kept, ...(this.#next ?? []), ...courted])]
  }

  /** All of them have everything before. */
  get acknowledgedTo(): number {
    return this.#acknowledgedTo
  }

  /** All of them have what this log had when it was elected: it may be read, and written to. */
  get isReady(): boolean {
    return this.#acknowledgedTo >= this.#floor
  }

  /** What the call asks for whose answer is not known yet. */
  get changing(): readonly CopyName[] | undefined {
    return this.#next
  }

  confirmedBy(copy: CopyName): number {
    return this.#confirmed.get(copy) ?? 0
  }

  /** A copy that follows this log has everything before the position. @returns acknowledgedTo */
  confirm(copy: CopyName, to: number): number {
    const confirmed = Math.max(this.confirmedBy(copy), to)
    // Behind all that were heard of before.
    this.#confirmed.delete(copy)
    this.#confirmed.set(copy, confirmed)
    if (this.#confirmed.size > HEARD_MAX) this.#forget()
    return this.#look()
  }

  /** It was heard of, and is not forgotten, or is waited for. */
  knows(copy: CopyName): boolean {
    return this.#confirmed.has(copy) || this.waitedFor.includes(copy)
  }

  get courted(): CopyName | undefined {
    return this.#courted
  }

  /** From here on this copy is waited for too; undefined: it is not to be added any more. */
  court(copy: CopyName | undefined): number {
    const isFull = this.#kept.length >= COPIES_MAX
    this.#courted = isFull || (copy !== undefined && this.#kept.includes(copy)) ? undefined : copy
    return this.#look()
  }

  /** Those that would be kept with it; undefined while it lacks something. */
  adding(): readonly CopyName[] | undefined {
    const copy = this.#courted
    if (this.#next !== undefined || copy === undefined || !this.isCourtedEven) return undefined
    return this.#begin([...this.#kept, copy])
  }

  get isCourtedEven(): boolean {
    const copy = this.#courted
    if (copy === undefined) return false
    return this.confirmedBy(copy) >= Math.max(this.#floor, this.#acknowledgedTo)
  }

  /** Those that would be kept without the copies. */
  removing(copies: readonly CopyName[]): readonly CopyName[] | undefined {
    const rest = this.#kept.filter((name) => name === this.#self || !copies.includes(name))
    if (this.#next !== undefined || rest.length === this.#kept.length) return undefined
    return this.#begin(rest)
  }

  /** What the coordinator has, now that no call under way can change it any more. */
  keeps(copies: readonly CopyName[]): number {
    this.#kept = copies
    this.#next = undefined
    if (this.#courted !== undefined && copies.includes(this.#courted)) this.#courted = undefined
    return this.#look()
  }

  /** The one that was heard of longest ago, of those that nothing waits for. */
  #forget(): void {
    for (const copy of this.#confirmed.keys()) {
      if (this.waitedFor.includes(copy)) continue
      this.#confirmed.delete(copy)
      return
    }
  }

  #begin(next: readonly CopyName[]): readonly CopyName[] {
    this.#next = next
    return next
  }

  #look(): number {
    const ends = this.waitedFor.map((copy) => this.confirmedBy(copy))
    this.#acknowledgedTo = Math.max(this.#acknowledgedTo, Math.min(...ends))
    return this.#acknowledgedTo
  }
}
