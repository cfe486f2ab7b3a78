// Where the reply to a request goes, whatever protocol requester and responder speak. The property
// REPLY_TO_CLIENT says it, as responders of RocketMQ say it again in their reply:
//
//   <client id>      a native client, on its connection
//   mqtt:NAME        the MQTT topic of that name
//   topic:T[/TAG]    the topic T, as requesters of AMQP name it
//
// Responders that send to a name are given all of it as one: ADDRESS[/CORRELATION-ID], each part
// percent-encoded. The correlation id in it counts for more than the responder's own: AMQP's often
// answer with the id of the message in its place.
import { BrokerError } from '../../errors.ts'
import { checkTopicName, isSendForbidden } from '../../model/names.ts'
import { PROPERTY } from '../../model/properties.ts'

export type ReplyAddress =
  | { readonly kind: 'client'; readonly clientId: string }
  | { readonly kind: 'mqtt'; readonly name: string }
  | { readonly kind: 'topic'; readonly topic: string; readonly tag: string | undefined }

const MQTT = 'mqtt:'
const TOPIC = 'topic:'

export const replyToMqtt = (name: string): string => `${MQTT}${name}`

/** The topic name of a reply by MQTT. */
export const mqttNameOf = (address: string): string | undefined =>
  address.startsWith(MQTT) ? address.slice(MQTT.length) : undefined

export const replyToTopic = (topic: string, tag: string | undefined): string =>
  `${TOPIC}${topic}${tag === undefined ? '' : `/${tag}`}`

/** @throws BrokerError NAME_INVALID, PERMISSION_DENIED for a name that takes no messages */
export function parseReplyAddress(text: string): ReplyAddress {
  if (text.startsWith(MQTT)) {
    const name = text.slice(MQTT.length)
    if (name === '' || name.startsWith('$') || ILLEGAL_IN_NAME.test(name)) {
      throw new BrokerError('NAME_INVALID', `the reply goes to no MQTT topic: ${shown(name)}`)
    }
    return { kind: 'mqtt', name }
  }
  if (!text.startsWith(TOPIC)) return { kind: 'client', clientId: text }
  const [topic = '', ...levels] = text.slice(TOPIC.length).split('/')
  checkTopicName(topic)
  if (isSendForbidden(topic)) {
    throw new BrokerError('PERMISSION_DENIED', `topic '${topic}' is the system's own`)
  }
  const tag = levels.join('/')
  return { kind: 'topic', topic, tag: tag === '' ? undefined : tag }
}

const ILLEGAL_IN_NAME = /[+#\p{Cc}]/u

const shown = (text: string): string => JSON.stringify(text.slice(0, 80))

/** By the properties of a request: undefined where it asks for no reply. */
export function replyAddressOf(properties: ReadonlyMap<string, string>): string | undefined {
  const text = properties.get(PROPERTY.replyTo)
  // As the first versions kept a response topic.
  const isBare = properties.has(PROPERTY.mqttTopic) && text !== undefined && !text.startsWith(MQTT)
  return isBare ? replyToMqtt(text) : text
}

/** Address and correlation id as one name. */
export interface ReplyName {
  readonly address: string
  readonly correlationId: string | undefined
}

export const formatReplyName = ({ address, correlationId }: ReplyName): string =>
  correlationId === undefined
    ? encodeURIComponent(address)
    : `${encodeURIComponent(address)}/${encodeURIComponent(correlationId)}`

/** @throws BrokerError NAME_INVALID */
export function parseReplyName(text: string): ReplyName {
  const [address = '', correlationId, ...rest] = text.split('/').map(decoded)
  if (address !== '' && rest.length === 0) return { address, correlationId }
  throw new BrokerError('NAME_INVALID', `${shown(text)} names no reply to a request`)
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch (cause) {
    const text = `${shown(part)} is not percent-encoded UTF-8`
    throw new BrokerError('NAME_INVALID', text, { cause })
  }
}
