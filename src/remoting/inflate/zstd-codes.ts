// What the symbols of Zstandard's sequences stand for, and the tables for them that are usual.
// (RFC 8878, 3.1.1.3.2.)
import { type FseTable, fseTable } from './zstd-tables.ts'

export interface SequenceCode {
  /** Of a table that a block brings. */
  readonly logMax: number
  readonly symbolMax: number
  /** By symbol: the least value, and how many bits more there are. */
  readonly bases: readonly number[]
  readonly bits: readonly number[]
  /** Where a block brings no table. */
  readonly usual: FseTable
}

/** A value for each symbol: from `first` on, each range as long as its bits say. */
function basesOf(first: number, bits: readonly number[]): number[] {
  const bases: number[] = []
  let next = first
  for (const count of bits) {
    bases.push(next)
    next += 2 ** count
  }
  return bases
}

const times = (count: number, value: number): number[] => new Array<number>(count).fill(value)

const LENGTH_BITS = [
  ...times(16, 0),
  ...[1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
]

/** Of literals. */
export const LENGTHS: SequenceCode = {
  logMax: 9,
  symbolMax: 35,
  bits: LENGTH_BITS,
  bases: basesOf(0, LENGTH_BITS),
  usual: fseTable(
    [4, 3, ...times(11, 2), 1, 1, 1, ...times(9, 2), 3, 2, ...times(5, 1), ...times(4, -1)],
    6,
  ),
}

const EXTRA_BITS = [
  ...times(32, 0),
  ...[1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
]

/** Of repetitions. */
export const EXTRA_LENGTHS: SequenceCode = {
  logMax: 9,
  symbolMax: 52,
  bits: EXTRA_BITS,
  bases: basesOf(3, EXTRA_BITS),
  usual: fseTable([1, 4, 3, ...times(6, 2), ...times(37, 1), ...times(7, -1)], 6),
}

/** A symbol is the number of bits behind a leading one. */
export const DISTANCES: SequenceCode = {
  logMax: 8,
  symbolMax: 31,
  bits: [],
  bases: [],
  usual: fseTable([...times(6, 1), 2, 2, 2, ...times(15, 1), ...times(5, -1)], 5),
}
