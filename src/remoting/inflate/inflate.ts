// Bodies that a producer compressed: by which method stands in the sysFlag of a message, and each
// method is undone within a bound.
import { inflateSync } from 'node:zlib'
import { SYS_FLAG } from '../../model/record.ts'
import { BoundedOutput, TooLargeError } from './bounded-output.ts'
import { inflateLz4 } from './lz4.ts'
import { inflateZstd } from './zstd.ts'

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
  try {
    if (method === 'zlib') return inflateSync(body, { maxOutputLength: bytesMax })
    const out = new BoundedOutput(bytesMax)
    const from = Buffer.from(body.buffer, body.byteOffset, body.length)
    if (method === 'LZ4') inflateLz4(from, out)
    else inflateZstd(from, out)
    return out.written
  } catch (error) {
    if (error instanceof TooLargeError) return undefined
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return undefined
    throw error
  }
}
