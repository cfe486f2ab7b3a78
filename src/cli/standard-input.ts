// Bodies of messages from standard input: all of it as one, or each line as one.
import { addAbortSignal } from 'node:stream'
import { BrokerError } from '../errors.ts'
import { BODY_BYTES_MAX } from '../model/limits.ts'

const NEW_LINE = 0x0a
const RETURN = 0x0d

const input = (signal: AbortSignal): AsyncIterable<Buffer> => addAbortSignal(signal, process.stdin)

/** No protocol takes more than the limit, so no more of it is kept. */
export async function readAll(signal: AbortSignal): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of input(signal)) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) throw tooLarge('standard input has')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/**
 * Lines without their ends, as soon as they are there, at most `max` at a time; what follows waits
 * unread.
 */
export async function* readLines(
  signal: AbortSignal,
  max: number,
): AsyncGenerator<readonly Uint8Array[]> {
  let begun: Buffer[] = []
  let bytes = 0
  for await (const chunk of input(signal)) {
    let lines: Uint8Array[] = []
    let from = 0
    for (let end = chunk.indexOf(NEW_LINE); end >= 0; end = chunk.indexOf(NEW_LINE, from)) {
      lines.push(withoutReturn(Buffer.concat([...begun, chunk.subarray(from, end)])))
      begun = []
      bytes = 0
      from = end + 1
      if (lines.length < max) continue
      yield lines
      lines = []
    }
    if (lines.length > 0) yield lines
    bytes += chunk.length - from
    if (bytes > BODY_BYTES_MAX) throw tooLarge('a line of standard input has')
    if (from < chunk.length) begun.push(chunk.subarray(from))
  }
  if (bytes > 0) yield [withoutReturn(Buffer.concat(begun))]
}

/** As terminals and files of Windows end a line. */
const withoutReturn = (line: Buffer): Buffer =>
  line.at(-1) === RETURN ? line.subarray(0, -1) : line

const tooLarge = (what: string): BrokerError =>
  new BrokerError(
    'MESSAGE_TOO_LARGE',
    `${what} more than ${BODY_BYTES_MAX} bytes, which is the most a body may have; ` +
      'send a reference to the content instead',
  )
