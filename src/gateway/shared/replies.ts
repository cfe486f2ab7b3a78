// Replies to requests of other protocols: pushed to the native client that asked, or published to
// the topic that an MQTT or AMQP client asked to be answered at. A responder is allowed to reply
// where it is allowed to publish.

import { type Authenticator, isAllowed, type Principal } from '../../access/auth.ts'
import { BrokerError } from '../../errors.ts'
import type { Host } from '../../model/host.ts'
import { ANY_QUEUE, type Destination, newMessage } from '../../model/message.ts'
import { replyTopic } from '../../model/names.ts'
import {
  BROKER_PROPERTIES,
  encodeProperties,
  hasSeparator,
  MESSAGE_TYPE,
  PROPERTY,
  TIME_TO_LIVE,
} from '../../model/properties.ts'
import { isMqttAddressable, mqttPlace } from '../../model/routing-name.ts'
import type { GatewayContext } from '../../port/gateway.ts'
import { parseReplyAddress, type ReplyAddress } from './reply-address.ts'

export interface Reply {
  /** The reply's to keep, as its properties. */
  readonly body: Uint8Array
  /** The responder's, with the correlation id. */
  readonly properties: ReadonlyMap<string, string>
  readonly bornHost: Host
}

type Context = Pick<GatewayContext, 'broker' | 'auth' | 'clock'>

/**
 * Settles when the client has it, or it is durable.
 * @throws BrokerError PERMISSION_DENIED, CLIENT_NOT_FOUND, NAME_INVALID, and as `Broker.publish`
 */
export async function sendReply(
  context: Context,
  principal: Principal,
  to: string,
  reply: Reply,
): Promise<void> {
  const { broker, auth, clock } = context
  const address = parseReplyAddress(to)
  const properties = ownProperties(reply.properties)
  const isPushed = address.kind === 'client'
  const place = isPushed
    ? { topic: replyTopic(broker.identity.clusterName), queueId: 0, createTopic: false }
    : await placeOf(context, principal, address, properties)
  auth.authorize(principal, 'publish', { kind: 'topic', name: place.topic })
  if (isPushed) {
    properties.set(MESSAGE_TYPE, 'reply')
    properties.set(PROPERTY.replyTo, address.clientId)
  }
  const orderingKey = address.kind === 'mqtt' ? address.name : undefined
  const encoded = encodeProperties(properties)
  const { body, bornHost } = reply
  const message = newMessage(place, orderingKey, body, encoded, bornHost, clock.now())
  if (isPushed) return broker.replies.push(address.clientId, message)
  const [result] = await broker.publish([message])
  if (result instanceof BrokerError) throw result
}

/** Adds what the place is known by to the properties. */
async function placeOf(
  { broker, auth }: Context,
  principal: Principal,
  address: Exclude<ReplyAddress, { kind: 'client' }>,
  properties: Map<string, string>,
): Promise<Destination> {
  const add = (name: string, value: string | undefined): void => {
    if (value !== undefined && !properties.has(name)) properties.set(name, value)
  }
  if (address.kind === 'topic') {
    const { topic, tag } = address
    add(PROPERTY.tags, tag)
    return { topic, queueId: ANY_QUEUE, createTopic: mayCreate(auth, principal, topic) }
  }
  const { name } = address
  const first = name.split('/', 1)[0]!
  const isThere = isMqttAddressable(first) && (await broker.topics.get(first)) !== undefined
  const { topic, isBound, tag, key } = mqttPlace(name, isThere)
  add(PROPERTY.tags, tag)
  add(PROPERTY.keys, key)
  add(PROPERTY.mqttTopic, name)
  return { topic, queueId: ANY_QUEUE, createTopic: !isBound }
}

const mayCreate = (auth: Authenticator, principal: Principal, name: string): boolean =>
  isAllowed(auth, principal, 'create', { kind: 'topic', name })

/** What a request says of itself, and what makes a message another one than a plain one. */
const NOT_OF_A_REPLY: ReadonlySet<string> = new Set([
  ...BROKER_PROPERTIES,
  PROPERTY.replyTo,
  PROPERTY.transactionPrepared,
  PROPERTY.producerGroup,
  PROPERTY.multiDispatch,
  MESSAGE_TYPE,
  TIME_TO_LIVE,
])

function ownProperties(given: ReadonlyMap<string, string>): Map<string, string> {
  const own = new Map<string, string>()
  for (const [name, value] of given) {
    const isStorable = name !== '' && value !== '' && !hasSeparator(name) && !hasSeparator(value)
    if (isStorable && !NOT_OF_A_REPLY.has(name)) own.set(name, value)
  }
  return own
}
