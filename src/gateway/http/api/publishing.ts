// A message of the API on its way to the broker: checked and written as the SDK does it.

import { isAllowed } from '../../../access/auth.ts'
import { encodeMessage, type OutgoingMessage } from '../../../client/calls/outgoing.ts'
import type { SendResult } from '../../../client/produce/producer.ts'
import { UniqueIds } from '../../../client/routes/unique-id.ts'
import { BrokerError } from '../../../errors.ts'
import { hostOf } from '../../../model/host.ts'
import { ANY_QUEUE, newMessage } from '../../../model/message.ts'
import { offsetMessageId } from '../../../model/message-id.ts'
import type { ApiQuestion } from './endpoint.ts'

type Publishing = Pick<ApiQuestion<unknown, unknown>, 'principal' | 'context' | 'address'>

let ids: UniqueIds | undefined

/** @throws BrokerError */
export async function publish(
  { principal, context, address }: Publishing,
  message: OutgoingMessage,
): Promise<Omit<SendResult, 'status'>> {
  const { broker, auth, clock } = context
  const { topic } = message
  auth.authorize(principal, 'publish', { kind: 'topic', name: topic })
  const { bodyBytesMax } = (await broker.status()).settings
  ids ??= new UniqueIds(clock)
  const { body, properties, orderingKey, uniqueId } = encodeMessage(
    message,
    ids.next(),
    bodyBytesMax,
  )
  const createTopic = isAllowed(auth, principal, 'create', { kind: 'topic', name: topic })
  const destination = { topic, queueId: ANY_QUEUE, createTopic }
  const host = hostOf(address, 0)
  const draft = newMessage(destination, orderingKey, body, properties, host, clock.now())
  // A sender's words, like a native client's.
  const [result] = await broker.publish([{ ...draft, ownProperties: false }])
  if (result === undefined || result instanceof BrokerError) throw result
  const { brokerName, queueId, queueOffset, storeHost, position, recallHandle } = result
  return {
    ...{ messageId: uniqueId, offsetMessageId: offsetMessageId(storeHost, position), topic },
    ...{ brokerName, queueId, queueOffset, recallHandle },
  }
}
