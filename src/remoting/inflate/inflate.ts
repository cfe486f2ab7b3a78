// Bodies that a producer compressed: by which method stands in the sysFlag of a message, and each
// method is undone within a bound.
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { SYS_FLAG } from '../../model/record.ts'
import { BoundedOutput, TooLargeError } from './bounded-output.ts'
import { inflateFrames, type Steps } from './frames.ts'
import { LZ4 } from './lz4.ts'
import { ZSTANDARD } from './zstd.ts'

const inflate = promisify<zlib.InputType, zlib.ZlibOptions, Buffer>(zlib.inflate)
/** Handed back by the other thread at a time. */
const CHUNK_BYTES = 128 * 1024

const METHOD_SHIFT = 8
const METHOD_MASK = 0x7
/** 0: clients before 5.0, which had zlib alone. */
const METHODS = ['zlib', 'LZ4', 'Zstandard', 'zlib'] as const

/** The method's bits, and the one that says that there is one. */
export const COMPRESSION_BITS = SYS_FLAG.compressed | (METHOD_MASK << METHOD_SHIFT)

export type Method = (typeof METHODS)[number]

/** undefined: it is none that is known here. */
export const methodOf = (sysFlag: number): Method | undefined =>
  METHODS[(sysFlag >>> METHOD_SHIFT) & METHOD_MASK]

/**
 * undefined: it has more bytes than that, or takes more work.
 * @throws when the body is not whole
 */
export function inflateBy(method: Method, body: Uint8Array, bytesMax: number): Buffer | undefined {
  if (method === 'zlib') {
    try {
      return zlib.inflateSync(body, { maxOutputLength: bytesMax })
    } catch (error) {
      return undefinedIfTooLarge(error)
    }
  }
  const steps = inflateInSteps(method, body, bytesMax)
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/** As `inflateBy`, on another thread. */
export const inflateZlib = (body: Uint8Array, bytesMax: number): Promise<Buffer | undefined> =>
  inflate(body, { maxOutputLength: bytesMax, chunkSize: CHUNK_BYTES }).catch(undefinedIfTooLarge)

/** As `inflateBy`. */
export function* inflateInSteps(
  method: Exclude<Method, 'zlib'>,
  body: Uint8Array,
  bytesMax: number,
): Steps<Buffer | undefined> {
  const out = new BoundedOutput(bytesMax)
  const from = Buffer.from(body.buffer, body.byteOffset, body.length)
  try {
    yield* inflateFrames(method === 'LZ4' ? LZ4 : ZSTANDARD, from, out)
  } catch (error) {
    return undefinedIfTooLarge(error)
  }
  return out.written
}

function undefinedIfTooLarge(error: unknown): undefined {
  const isTooLarge = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
  if (!isTooLarge && !(error instanceof TooLargeError)) throw error
}
