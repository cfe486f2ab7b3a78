// LZ4 in its frame format, as RocketMQ's Java clients write it: frames of blocks of sequences, each
// a run of literals and a repetition of earlier bytes. Checksums are not looked at: a record has
// its own.
import { type BoundedOutput, type Budget, CorruptError } from './bounded-output.ts'
import { byte, type FrameFormat, type Steps, word } from './frames.ts'

const MAGIC = 0x184d2204
const MATCH_BYTES_MIN = 4
/** Frames and blocks of one body: whole blocks of the least size are 64 of the largest body. */
const BLOCKS_MAX = 16_384
/** A block may be as large as a body: so many bytes of it are one step. */
const STEP_BYTES = 128 * 1024
/** A block's length with this bit says that its bytes are not compressed. */
const PLAIN = 0x8000_0000

export const LZ4: FrameFormat = {
  name: 'LZ4',
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
  const flags = byte(from, start)
  if (flags >>> 6 !== 1) throw new CorruptError('an LZ4 frame of another version')
  const hasBlockSums = (flags & 0x10) !== 0
  const hasSize = (flags & 0x08) !== 0
  const hasSum = (flags & 0x04) !== 0
  if ((flags & 0x01) !== 0) throw new CorruptError('an LZ4 frame that needs a dictionary')
  const blockBytesMax = 1 << (8 + 2 * ((byte(from, start + 1) >>> 4) & 7))
  const frameAt = out.length
  let at = start + 3 + (hasSize ? 8 : 0)
  for (;;) {
    budget.spend()
    yield
    const length = word(from, at)
    at += 4
    if (length === 0) return at + (hasSum ? 4 : 0)
    const bytes = length & ~PLAIN
    const end = at + bytes
    if (bytes > blockBytesMax || end > from.length) throw new CorruptError('a block without an end')
    if (length >= PLAIN) out.copy(from, at, end)
    else {
      const block = { out, frameAt, most: out.length + blockBytesMax }
      for (let next = at; next < end; yield) {
        next = inflateSequences(from, next, end, block, out.length + STEP_BYTES)
      }
    }
    at = end + (hasBlockSums ? 4 : 0)
  }
}

interface Block {
  readonly out: BoundedOutput
  /** Where the frame's bytes begin: nothing before is repeated. */
  readonly frameAt: number
  /** The output's length behind the block is at most so many. */
  readonly most: number
}

/** Until the output has so many bytes. @returns where it goes on */
function inflateSequences(
  from: Buffer,
  start: number,
  end: number,
  block: Block,
  enough: number,
): number {
  const { out, frameAt, most } = block
  let at = start
  const lengthOf = (half: number): number => {
    if (half < 15) return half
    let length = half
    for (;;) {
      if (at >= end) throw new CorruptError('a length without an end')
      const more = from[at++]!
      length += more
      if (more < 255) return length
    }
  }
  while (at < end && out.length < enough) {
    const token = from[at++]!
    const literals = lengthOf(token >>> 4)
    if (literals > end - at || out.length + literals > most)
      throw new CorruptError('too many bytes')
    out.copy(from, at, at + literals)
    at += literals
    if (at === end) return end
    const distance = byte(from, at) | (byte(from, at + 1) << 8)
    at += 2
    if (distance === 0 || distance > out.length - frameAt) throw new CorruptError('too far back')
    const count = lengthOf(token & 15) + MATCH_BYTES_MIN
    if (out.length + count > most) throw new CorruptError('too many bytes')
    out.repeat(distance, count)
  }
  return at
}
