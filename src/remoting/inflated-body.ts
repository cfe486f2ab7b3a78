// The body of a record as its sender gave it, for a client.
import { INFLATED_BODY_BYTES_MAX } from '../model/limits.ts'
import { SYS_FLAG } from '../model/record.ts'
import { inflateBy, methodOf } from './inflate/inflate.ts'
import { protocolError } from './protocol-error.ts'

/**
 * Inflates to `INFLATED_BODY_BYTES_MAX` and no further.
 * @throws BrokerError PROTOCOL_ERROR
 */
export function inflateBody(body: Buffer, sysFlag: number): Buffer {
  if ((sysFlag & SYS_FLAG.compressed) === 0) return body
  const method = methodOf(sysFlag)
  if (method === undefined) {
    throw protocolError('a message body is compressed with an unknown method')
  }
  let inflated: Buffer | undefined
  try {
    inflated = inflateBy(method, body, INFLATED_BODY_BYTES_MAX)
  } catch (cause) {
    const { message } = cause as Error
    throw protocolError(`a compressed message body cannot be inflated: ${message.slice(0, 120)}`)
  }
  if (inflated !== undefined) return inflated
  throw protocolError(
    `a compressed message body has more than ${INFLATED_BODY_BYTES_MAX} bytes when it is inflated`,
  )
}
