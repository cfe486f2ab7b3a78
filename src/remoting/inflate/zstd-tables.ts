// Zstandard's two codes as tables: FSE, whose states are followed from symbol to symbol, and
// Huffman's. (RFC 8878, 4.)
import { CorruptError } from './bounded-output.ts'
import { BackwardBits, ForwardBits } from './zstd-bits.ts'

/** By state: its symbol, and the next state as a base and so many bits. */
export interface FseTable {
  readonly log: number
  readonly symbols: Uint8Array
  readonly bits: Uint8Array
  readonly bases: Uint16Array
}

const log2 = (value: number): number => 31 - Math.clz32(value)

/** @param shares of each symbol in the states; -1: less than one */
export function fseTable(shares: readonly number[], log: number): FseTable {
  const size = 1 << log
  const symbols = new Uint8Array(size)
  const next = new Uint16Array(shares.length)
  let rareFrom = size
  for (const [symbol, share] of shares.entries()) {
    if (share >= 0) next[symbol] = share
    else {
      symbols[--rareFrom] = symbol
      next[symbol] = 1
    }
  }
  const step = (size >> 1) + (size >> 3) + 3
  let at = 0
  for (const [symbol, share] of shares.entries()) {
    for (let i = 0; i < share; i++) {
      symbols[at] = symbol
      do at = (at + step) & (size - 1)
      while (at >= rareFrom)
    }
  }
  const bits = new Uint8Array(size)
  const bases = new Uint16Array(size)
  for (let state = 0; state < size; state++) {
    const count = next[symbols[state]!]!++
    bits[state] = log - log2(count)
    bases[state] = (count << bits[state]!) - size
  }
  return { log, symbols, bits, bases }
}

/** One symbol only. */
export const fseOfOne = (symbol: number): FseTable => ({
  log: 0,
  symbols: Uint8Array.of(symbol),
  bits: Uint8Array.of(0),
  bases: Uint16Array.of(0),
})

/** @throws CorruptError */
export function readFse(
  from: Buffer,
  start: number,
  end: number,
  { logMax, symbolMax }: { readonly logMax: number; readonly symbolMax: number },
): { readonly table: FseTable; readonly end: number } {
  const bits = new ForwardBits(from, start, end)
  const log = bits.read(4) + 5
  if (log > logMax) throw new CorruptError('a table that is too large')
  const shares: number[] = []
  let left = 1 << log
  while (left > 0) {
    if (shares.length > symbolMax) throw new CorruptError('a symbol that there is not')
    const width = log2(left + 1) + 1
    const low = (1 << (width - 1)) - 1
    const short = (1 << width) - 2 - left
    let value = bits.read(width)
    if ((value & low) < short) {
      // Such values have one bit less.
      bits.back()
      value &= low
    } else if (value > low) value -= short
    const share = value - 1
    left -= Math.abs(share)
    shares.push(share)
    for (let more = share === 0 ? 3 : 0; more === 3; ) {
      more = bits.read(2)
      for (let i = 0; i < more; i++) shares.push(0)
      if (shares.length > symbolMax + 1) throw new CorruptError('a symbol that there is not')
    }
  }
  if (left < 0) throw new CorruptError('a table with too many states')
  return { table: fseTable(shares, log), end: bits.byteAt }
}

/** By the next `log` bits: the symbol, and how many of the bits are its own. */
export interface HuffmanTable {
  readonly log: number
  readonly symbols: Uint8Array
  readonly bits: Uint8Array
}

const HUFFMAN_LOG_MAX = 11
const WEIGHTS_MAX = 255

/** @throws CorruptError */
export function readHuffman(
  from: Buffer,
  start: number,
  end: number,
): { readonly table: HuffmanTable; readonly end: number } {
  const head = start < end ? from[start]! : 0
  const weightsAt = start + 1
  const weightsEnd = weightsAt + (head < 128 ? head : (head - 127 + 1) >>> 1)
  if (start >= end || weightsEnd > end) throw new CorruptError('a Huffman table without an end')
  const weights =
    head < 128
      ? weightsOfFse(from, weightsAt, weightsEnd)
      : Array.from({ length: head - 127 }, (_, i) => {
          const both = from[weightsAt + (i >>> 1)]!
          return i % 2 === 0 ? both >>> 4 : both & 15
        })
  return { table: huffmanTable(weights), end: weightsEnd }
}

/** Two states take turns. */
function weightsOfFse(from: Buffer, start: number, end: number): number[] {
  const read = readFse(from, start, end, { logMax: 6, symbolMax: HUFFMAN_LOG_MAX + 1 })
  const { log, symbols, bits, bases } = read.table
  const stream = new BackwardBits(from, read.end, end)
  const weights: number[] = []
  let state = stream.read(log)
  let other = stream.read(log)
  if (stream.left < 0) throw new CorruptError('too few weights')
  while (weights.length < WEIGHTS_MAX) {
    weights.push(symbols[state]!)
    const before = state
    state = other
    if (stream.left < bits[before]!) {
      weights.push(symbols[other]!)
      return weights
    }
    other = bases[before]! + stream.read(bits[before]!)
  }
  throw new CorruptError('too many weights')
}

/** The last symbol's weight is what the others leave. */
function huffmanTable(known: readonly number[]): HuffmanTable {
  let sum = 0
  for (const weight of known) if (weight > 0) sum += 1 << (weight - 1)
  if (sum === 0) throw new CorruptError('a Huffman table of nothing')
  const log = log2(sum) + 1
  const rest = (1 << log) - sum
  if (log > HUFFMAN_LOG_MAX || (rest & (rest - 1)) !== 0 || known.length > WEIGHTS_MAX) {
    throw new CorruptError('a Huffman table that does not come out even')
  }
  const weights = [...known, log2(rest) + 1]
  const symbols = new Uint8Array(1 << log)
  const bits = new Uint8Array(1 << log)
  let at = 0
  for (let weight = 1; weight <= log; weight++) {
    for (const [symbol, its] of weights.entries()) {
      if (its !== weight) continue
      const count = 1 << (weight - 1)
      symbols.fill(symbol, at, at + count)
      bits.fill(log + 1 - weight, at, at + count)
      at += count
    }
  }
  return { log, symbols, bits }
}

/** Fills `into`. @throws CorruptError unless the stream ends with it */
export function readSymbols(
  table: HuffmanTable,
  from: Buffer,
  start: number,
  end: number,
  into: Uint8Array,
): void {
  const stream = new BackwardBits(from, start, end)
  const { log, symbols, bits } = table
  for (let i = 0; i < into.length; i++) {
    const next = stream.peek(log)
    into[i] = symbols[next]!
    stream.left -= bits[next]!
    if (stream.left < 0) break
  }
  if (stream.left !== 0) throw new CorruptError('literals that do not come out even')
}
