// Whether a table fits into an answer. RocketMQ's clients close the connection on a longer frame,
// with whatever else is under way on it, and what is left out of a table would not be missed.
import { BrokerError } from '../errors.ts'
import { FRAME_BYTES_MAX } from './frame.ts'

/** The header of an answer with a table is much shorter. */
const HEADER_BYTES = 4096
export const TABLE_BYTES_MAX = FRAME_BYTES_MAX - HEADER_BYTES

/** Why the body cannot be sent; undefined when it can. */
export const tooLongForAnswer = ({
  length,
}: Pick<Uint8Array, 'length'>): BrokerError | undefined =>
  length <= TABLE_BYTES_MAX
    ? undefined
    : new BrokerError(
        'ARGUMENT_INVALID',
        `the answer would have ${length} bytes, and clients take ${TABLE_BYTES_MAX} at most; ` +
          'ask for a part of it, such as one topic of a group',
      )
