// How many values of a sort the views hold, and the sum of their seals: a value that LevelDB lost
// without a word is missing in the count and in the sum.

export interface TallyState {
  readonly count: number
  readonly sum: number
}

export class Tally {
  count = 0
  sum = 0

  /** A seal of -1 stands for a value that is not there. */
  replace(oldSeal: number, newSeal: number): void {
    if (oldSeal !== -1) {
      this.count--
      this.sum = (this.sum - oldSeal) >>> 0
    }
    if (newSeal !== -1) {
      this.count++
      this.sum = (this.sum + newSeal) >>> 0
    }
  }

  get state(): TallyState {
    return { count: this.count, sum: this.sum }
  }

  equals({ count, sum }: TallyState): boolean {
    return this.count === count && this.sum === sum
  }
}
