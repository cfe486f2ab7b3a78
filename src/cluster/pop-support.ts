// Brokers of RocketMQ 4 have no POP, and tell no topic's configuration: no gateway works before
// them.
import { BrokerError } from '../errors.ts'
import { STATE_TOPIC } from '../model/names.ts'
import { REQUEST, RESPONSE } from '../remoting/codes.ts'
import { writeFields } from '../remoting/layout.ts'
import { TOPIC } from '../remoting/requests/topics.ts'
import type { Links } from './links.ts'
import type { ClusterOptions } from './options.ts'

/** A master that does not answer is not judged. @throws NOT_SUPPORTED, naming the broker */
export async function checkPopSupport(
  links: Links,
  { requestTimeoutMs }: Pick<ClusterOptions, 'requestTimeoutMs'>,
): Promise<void> {
  const limits = { timeoutMs: requestTimeoutMs }
  const fields = writeFields(TOPIC, { topic: STATE_TOPIC })
  const masters = await links.masters.list(limits)
  await Promise.all(
    masters.map(async ({ name, address }) => {
      const asking = links.masters.connection(address, limits)
      const response = await asking
        .then((connection) => connection.request(REQUEST.getTopicConfig, { ...limits, fields }))
        .catch(() => undefined)
      if (response?.code !== RESPONSE.requestCodeNotSupported) return
      throw new BrokerError(
        'NOT_SUPPORTED',
        `the broker '${name}' at ${address} is of RocketMQ 4, which has no POP: a gateway needs brokers of RocketMQ 5, ` +
          'or our own',
      )
    }),
  )
}
