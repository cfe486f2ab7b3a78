// The two ways in which bytes from a peer can be wrong.
import { BrokerError } from '../errors.ts'

/** The frame or header cannot be read: there is no opaque to answer to, the connection ends. */
export const protocolError = (message: string): BrokerError =>
  new BrokerError('PROTOCOL_ERROR', message)

/** The header was read and something in it or in the body is wrong: the peer gets an answer. */
export const invalidRequest = (message: string): BrokerError =>
  new BrokerError('ARGUMENT_INVALID', message)
