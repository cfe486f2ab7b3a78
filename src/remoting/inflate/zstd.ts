// Zstandard (RFC 8878) without dictionaries: frames of blocks, each a run of literals and sequences
// that interleave them with repetitions of earlier bytes. Checksums are not looked at: a record has
// its own.
import { type BoundedOutput, type Budget, CorruptError } from './bounded-output.ts'
import { byte, type FrameFormat, type Steps } from './frames.ts'
import { BackwardBits, BITS_MAX } from './zstd-bits.ts'
import { DISTANCES, EXTRA_LENGTHS, LENGTHS, type SequenceCode } from './zstd-codes.ts'
import {
  type FseTable,
  fseOfOne,
  type HuffmanTable,
  readFse,
  readHuffman,
  readSymbols,
} from './zstd-tables.ts'

const MAGIC = 0xfd2fb528
const BLOCK_BYTES_MAX = 128 * 1024
/**
 * Frames and blocks of one body: each may bring tables that cost far more than its bytes. Whole
 * blocks of the largest body are half as many.
 */
const BLOCKS_MAX = 1024

/** What the blocks of a frame leave to the next one. */
interface Frame {
  readonly out: BoundedOutput
  /** Where its bytes begin: nothing before is repeated. */
  readonly frameAt: number
  readonly distances: [number, number, number]
  literals: HuffmanTable | undefined
  readonly codes: Map<SequenceCode, FseTable>
}

export const ZSTANDARD: FrameFormat = {
  name: 'Zstandard',
  magic: MAGIC,
  blocksMax: BLOCKS_MAX,
  inflate: inflateFrame,
}

/** @returns where it ends */
function* inflateFrame(
  from: Buffer,
  start: number,
  out: BoundedOutput,
  budget: Budget,
): Steps<number> {
  const head = byte(from, start)
  const hasWindow = (head & 0x20) === 0
  const hasSum = (head & 0x04) !== 0
  if ((head & 0x08) !== 0) throw new CorruptError('a frame of another kind')
  if ((head & 0x03) !== 0) throw new CorruptError('a frame that needs a dictionary')
  const sizeBytes = head >>> 6 === 0 ? (hasWindow ? 0 : 1) : 1 << (head >>> 6)
  let at = start + 1 + (hasWindow ? 1 : 0) + sizeBytes
  const frame: Frame = {
    out,
    frameAt: out.length,
    distances: [1, 4, 8],
    literals: undefined,
    codes: new Map(),
  }
  for (let isLast = false; !isLast; ) {
    budget.spend()
    yield
    const block = byte(from, at) | (byte(from, at + 1) << 8) | (byte(from, at + 2) << 16)
    isLast = (block & 1) !== 0
    const kind = (block >>> 1) & 3
    const size = block >>> 3
    at += 3
    const end = at + (kind === 1 ? 1 : size)
    if (size > BLOCK_BYTES_MAX || end > from.length)
      throw new CorruptError('a block without an end')
    if (kind === 0) out.copy(from, at, end)
    else if (kind === 1) out.fill(from[at]!, size)
    else if (kind === 2) inflateBlock(from, at, end, frame)
    else throw new CorruptError('a block of another kind')
    at = end
  }
  return at + (hasSum ? 4 : 0)
}

function inflateBlock(from: Buffer, start: number, end: number, frame: Frame): void {
  const { literals, at: countAt } = readLiterals(from, start, end, frame)
  let at = countAt
  let count = byte(from, at++, end)
  if (count === 255) {
    count = byte(from, at, end) + (byte(from, at + 1, end) << 8) + 0x7f00
    at += 2
  } else if (count > 127) count = ((count - 128) << 8) + byte(from, at++, end)
  if (count === 0) {
    frame.out.copy(literals, 0, literals.length)
    return
  }
  const modes = byte(from, at++, end)
  const [lengths, distances, extras] = [
    { code: LENGTHS, mode: modes >>> 6 },
    { code: DISTANCES, mode: (modes >>> 4) & 3 },
    { code: EXTRA_LENGTHS, mode: (modes >>> 2) & 3 },
  ].map(({ code, mode }) => {
    const read = readCode(from, at, end, { code, mode, known: frame.codes.get(code) })
    at = read.at
    frame.codes.set(code, read.table)
    return read.table
  })
  const tables = { lengths: lengths!, distances: distances!, extras: extras! }
  execute(new BackwardBits(from, at, end), count, tables, literals, frame)
}

interface Literals {
  readonly literals: Uint8Array
  /** Where they end. */
  readonly at: number
}

function readLiterals(from: Buffer, start: number, end: number, frame: Frame): Literals {
  const head = byte(from, start, end)
  const kind = head & 3
  const format = (head >>> 2) & 3
  if (kind >= 2) return readCompressedLiterals(from, start, end, frame)
  const headBytes = (format & 1) === 0 ? 1 : format === 1 ? 2 : 3
  const at = start + headBytes
  if (at > end) throw new CorruptError('literals without an end')
  const size = from.readUIntLE(start, headBytes) >>> (headBytes === 1 ? 3 : 4)
  const stop = at + (kind === 0 ? size : 1)
  if (stop > end || size > BLOCK_BYTES_MAX) throw new CorruptError('literals without an end')
  const literals = kind === 0 ? from.subarray(at, stop) : Buffer.alloc(size, from[at])
  return { literals, at: stop }
}

function readCompressedLiterals(from: Buffer, start: number, end: number, frame: Frame): Literals {
  const kind = from[start]! & 3
  const format = (from[start]! >>> 2) & 3
  const headBytes = format < 2 ? 3 : format + 2
  const sizeBits = format < 2 ? 10 : format === 2 ? 14 : 18
  let at = start + headBytes
  if (at > end) throw new CorruptError('literals without an end')
  const both = Math.floor(from.readUIntLE(start, headBytes) / 16)
  const size = both % (1 << sizeBits)
  const stop = at + Math.floor(both / (1 << sizeBits))
  if (stop > end || size > BLOCK_BYTES_MAX) throw new CorruptError('literals without an end')
  if (kind === 2) {
    const read = readHuffman(from, at, stop)
    frame.literals = read.table
    at = read.end
  }
  const table = frame.literals
  if (table === undefined) throw new CorruptError('a Huffman table that was never told')
  const literals = Buffer.allocUnsafe(size)
  if (format === 0) readSymbols(table, from, at, stop, literals)
  else readFourStreams(table, from, at, stop, literals)
  return { literals, at: stop }
}

function readFourStreams(
  table: HuffmanTable,
  from: Buffer,
  start: number,
  end: number,
  into: Buffer,
): void {
  if (start + 6 > end) throw new CorruptError('literals without an end')
  const part = (into.length + 3) >>> 2
  if (part * 3 > into.length) throw new CorruptError('too few literals for four streams')
  let at = start + 6
  for (let i = 0; i < 4; i++) {
    const stop = i === 3 ? end : at + from.readUInt16LE(start + 2 * i)
    if (stop > end) throw new CorruptError('literals without an end')
    const to = i === 3 ? into.length : part * (i + 1)
    readSymbols(table, from, at, stop, into.subarray(part * i, to))
    at = stop
  }
}

interface Code {
  readonly code: SequenceCode
  readonly mode: number
  /** Of the block before. */
  readonly known: FseTable | undefined
}

function readCode(
  from: Buffer,
  at: number,
  end: number,
  { code, mode, known }: Code,
): { readonly table: FseTable; readonly at: number } {
  if (mode === 0) return { table: code.usual, at }
  if (mode === 1) {
    const symbol = byte(from, at, end)
    if (symbol > code.symbolMax) throw new CorruptError('a symbol that there is not')
    return { table: fseOfOne(symbol), at: at + 1 }
  }
  if (mode === 2) {
    const read = readFse(from, at, end, code)
    return { table: read.table, at: read.end }
  }
  if (known === undefined) throw new CorruptError('a table that was never told')
  return { table: known, at }
}

interface Tables {
  readonly lengths: FseTable
  readonly distances: FseTable
  readonly extras: FseTable
}

/** Literals and repetitions in turn. */
function execute(
  stream: BackwardBits,
  count: number,
  { lengths, distances, extras }: Tables,
  literals: Uint8Array,
  { out, frameAt, distances: last }: Frame,
): void {
  const most = out.length + BLOCK_BYTES_MAX
  let lengthState = stream.read(lengths.log)
  let distanceState = stream.read(distances.log)
  let extraState = stream.read(extras.log)
  let used = 0
  for (let i = 0; i < count; i++) {
    const distanceBits = distances.symbols[distanceState]!
    if (distanceBits > BITS_MAX) throw new CorruptError('too far back')
    const told = (1 << distanceBits) + stream.read(distanceBits)
    const extra = extras.symbols[extraState]!
    const repeated = EXTRA_LENGTHS.bases[extra]! + stream.read(EXTRA_LENGTHS.bits[extra]!)
    const length = lengths.symbols[lengthState]!
    const own = LENGTHS.bases[length]! + stream.read(LENGTHS.bits[length]!)
    if (i + 1 < count) {
      lengthState = lengths.bases[lengthState]! + stream.read(lengths.bits[lengthState]!)
      extraState = extras.bases[extraState]! + stream.read(extras.bits[extraState]!)
      distanceState = distances.bases[distanceState]! + stream.read(distances.bits[distanceState]!)
    }
    if (stream.left < 0) throw new CorruptError('sequences without an end')
    if (used + own > literals.length || out.length + own + repeated > most) {
      throw new CorruptError('too many bytes')
    }
    out.copy(literals, used, used + own)
    used += own
    const distance = distanceOf(told, own === 0, last)
    if (distance <= 0 || distance > out.length - frameAt) throw new CorruptError('too far back')
    out.repeat(distance, repeated)
  }
  if (stream.left !== 0) throw new CorruptError('sequences that do not come out even')
  if (out.length + literals.length - used > most) throw new CorruptError('too many bytes')
  out.copy(literals, used, literals.length)
}

/** The last three distances have short names. */
function distanceOf(told: number, isBare: boolean, last: [number, number, number]): number {
  if (told > 3) {
    last[2] = last[1]
    last[1] = last[0]
    last[0] = told - 3
    return last[0]
  }
  const which = told - 1 + (isBare ? 1 : 0)
  if (which === 0) return last[0]
  const distance = which === 3 ? last[0] - 1 : last[which]!
  if (which !== 1) last[2] = last[1]
  last[1] = last[0]
  last[0] = distance
  return distance
}
