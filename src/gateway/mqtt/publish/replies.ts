// Replies by MQTT to requests that came by other protocols: the response topic of such a request is
// $trivet/reply/NAME, and what is published there goes to the client that asked. A PUBACK says what
// came of it.

import type { Principal } from '../../../access/auth.ts'
import { BrokerError } from '../../../errors.ts'
import type { Host } from '../../../model/host.ts'
import { INTERNAL_PROPERTIES, PROPERTY } from '../../../model/properties.ts'
import { sendReply } from '../../shared/replies.ts'
import { parseReplyName } from '../../shared/reply-address.ts'
import { correlationText, REPLY_PREFIX } from '../message.ts'
import type { PublishParts } from './parts.ts'
import type { RequestPublish } from './request-publish.ts'

export const isReply = (name: string): boolean => name.startsWith(REPLY_PREFIX)

/** Settles when the requester has it. @throws BrokerError */
export async function passReply(
  { context }: PublishParts,
  principal: Principal,
  bornHost: Host,
  { name, qos, properties, payload }: RequestPublish,
): Promise<void> {
  if (qos === 2) {
    throw new BrokerError('ARGUMENT_INVALID', 'a reply is published with QoS 0 or 1')
  }
  const to = parseReplyName(name.slice(REPLY_PREFIX.length))
  const own = new Map<string, string>()
  for (const [key, value] of properties.user ?? []) {
    if (!own.has(key) && (!INTERNAL_PROPERTIES.has(key) || SETTABLE.has(key))) own.set(key, value)
  }
  const { contentType, correlationData } = properties
  if (contentType !== undefined) own.set(PROPERTY.contentType, contentType)
  const correlationId =
    to.correlationId ?? (correlationData && correlationText(Buffer.from(correlationData)))
  if (correlationId !== undefined) own.set(PROPERTY.correlationId, correlationId)
  await sendReply(context, principal, to.address, { body: payload, properties: own, bornHost })
}

const SETTABLE: ReadonlySet<string> = new Set([PROPERTY.tags, PROPERTY.keys])
