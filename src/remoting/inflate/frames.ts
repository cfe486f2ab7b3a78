// What the frame formats of LZ4 and Zstandard share: frames back to back, some of which are to be
// skipped, and numbers that end too early.
import { type BoundedOutput, Budget, CorruptError } from './bounded-output.ts'

/** The low half byte is free. */
const MAGIC_SKIPPABLE = 0x184d2a50

export interface FrameFormat {
  readonly name: string
  readonly magic: number
  /** Frames and blocks of one body. */
  readonly blocksMax: number
  /** From behind the magic number. @returns where the frame ends */
  readonly inflate: (
    from: Buffer,
    start: number,
    out: BoundedOutput,
    budget: Budget,
  ) => Steps<number>
}

/** Each is a few milliseconds of work at most; a value is there after the last. */
export type Steps<T> = Generator<undefined, T>

/** @throws TooLargeError, CorruptError */
export function* inflateFrames(format: FrameFormat, from: Buffer, out: BoundedOutput): Steps<void> {
  const budget = new Budget(format.blocksMax)
  for (let at = 0; at < from.length; ) {
    budget.spend()
    yield
    const magic = word(from, at)
    if ((magic & ~0xf) >>> 0 === MAGIC_SKIPPABLE) at += 8 + word(from, at + 4)
    else if (magic === format.magic) at = yield* format.inflate(from, at + 4, out, budget)
    else throw new CorruptError(`no ${format.name} frame begins there`)
  }
}

export function byte(from: Buffer, at: number, end = from.length): number {
  if (at >= end) throw new CorruptError('it ends too early')
  return from[at]!
}

export function word(from: Buffer, at: number): number {
  if (at + 4 > from.length) throw new CorruptError('it ends too early')
  return from.readUInt32LE(at)
}
