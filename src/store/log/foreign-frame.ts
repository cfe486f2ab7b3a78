// A frame that another log made, as it may be taken into this one: whole, of the same log, and
// exactly what comes next. Anything else is refused before a byte of it is kept.
import { BrokerError } from '../../errors.ts'
import { checkRecord } from '../../model/record.ts'
import { FRAME_BYTES_MAX } from './commit-log.ts'
import { checkFrame, FRAME_HEADER_BYTES, type FrameHeader, headerAt } from './frame.ts'

/** What the next frame must be. */
export interface FrameWanted {
  readonly logId: number
  readonly position: number
  /** At least. */
  readonly epoch: number
  /** 0: any, for nothing went before. */
  readonly sequence: number
  readonly frameBytesMax: number
}

/**
 * @throws BrokerError PROTOCOL_ERROR, OFFSET_OUT_OF_RANGE, ABORTED, CONFIG_INVALID,
 * MESSAGE_TOO_LARGE
 */
export function checkForeignFrame(bytes: Buffer, at: number, wanted: FrameWanted): FrameHeader {
  const claimed = headerAt(bytes, at)
  if (claimed === undefined) throw broken(wanted, 'there is no frame')
  const { length, logId, position, epoch, sequence } = claimed
  if (logId !== wanted.logId) {
    const text = `the frame is of log ${logId}, and this one is log ${wanted.logId}`
    throw new BrokerError('CONFIG_INVALID', `${text}: follow the master of the same log`)
  }
  if (length < FRAME_HEADER_BYTES || length > FRAME_BYTES_MAX || at + length > bytes.length) {
    throw broken(wanted, `it is not whole (${bytes.length - at} of ${length} bytes)`)
  }
  if (checkFrame(bytes, at, length) === undefined) throw broken(wanted, 'its checksum is wrong')
  if (!hasRecords(bytes, at, claimed)) throw broken(wanted, 'its records do not add up')
  if (epoch < wanted.epoch) {
    const text = `the frame at ${position} is of epoch ${epoch}, and this log is in epoch ${wanted.epoch}`
    throw new BrokerError('ABORTED', `${text}: its master has been replaced`)
  }
  if (position !== wanted.position || (wanted.sequence > 0 && sequence !== wanted.sequence)) {
    const noun = position < wanted.position ? 'an overlap' : 'a gap'
    const text = `${noun}: frame ${sequence} at ${position} comes where frame ${wanted.sequence} at ${wanted.position} is due`
    throw new BrokerError('OFFSET_OUT_OF_RANGE', text)
  }
  if (length > wanted.frameBytesMax) {
    const text = `a frame of ${length} bytes; the limit of this log is ${wanted.frameBytesMax}`
    throw new BrokerError('MESSAGE_TOO_LARGE', text)
  }
  return claimed
}

/** Do whole records fill the frame? The views read them unchecked. */
function hasRecords(bytes: Buffer, at: number, { length, records }: FrameHeader): boolean {
  let count = 0
  let next = at + FRAME_HEADER_BYTES
  for (const end = at + length; next < end; count++) {
    const size = checkRecord(bytes, next, end, false)
    if (size === 0) return false
    next += size
  }
  return next === at + length && count === records
}

const broken = ({ position }: FrameWanted, why: string): BrokerError =>
  new BrokerError('PROTOCOL_ERROR', `what was sent for position ${position} is no frame: ${why}`)
