// A body as its reader wants it.
import { BrokerError } from '../../errors.ts'

export const textOf = ({ buffer, byteOffset, byteLength }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('utf8')

/** @throws BrokerError MESSAGE_INVALID when the body of `what` is not JSON */
export function jsonOf<T>(body: Uint8Array, what: string): T {
  try {
    return JSON.parse(textOf(body)) as T
  } catch (cause) {
    throw new BrokerError('MESSAGE_INVALID', `the body of ${what} is not JSON`, { cause })
  }
}
