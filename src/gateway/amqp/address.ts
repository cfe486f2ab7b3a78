// The address grammar of links, and nothing about the node behind an address:
//
//   target  T | /topics/T[/tags/TAG][/queues/N]
//   source  T | /topics/T[/groups/G][/queues/N] | /topics/T/broadcast
//           /groups/G/dlq | /groups/G/retry
//           /replies/ADDRESS[/CORRELATION-ID], as the reply-to of a request says it
//   aliases T::G   queue://T   topic://T   /queues/T   /exchanges/T[/TAG]   T/Subscriptions/G
//           T/ConsumerGroups/G/Partitions/N
//   options ?key=value[&key=value]:
//           tag=A||B, offset=first|last|next|<n>|@<epoch ms>, order=1, lock=<s>
//
// RocketMQ's names have none of / : ? . so these delimit. Segments are percent-decoded, a bare name
// is not. Characters that RocketMQ forbids stand as %XX in the broker's name, so that every JMS
// name is a topic and is found again. Names with a segment that begins with $ are other brokers'
// own nodes ($cbs, $management, T/$DeadLetterQueue): there is none here, and none is made.
import { BrokerError } from '../../errors.ts'
import {
  EXPRESSION_TYPE,
  type MessageFilter,
  parseMessageFilter,
} from '../../model/message-filter.ts'
import { checkGroupName, checkTopicName, deadLetterTopic, retryTopic } from '../../model/names.ts'
import { formatReplyName, type ReplyName, replyToTopic } from '../shared/reply-address.ts'
import { NAME_BYTES_MAX } from './limits.ts'

export const GRAMMAR =
  'T, /topics/T[/tags/TAG][/queues/N] to send; ' +
  'T, T::G, /topics/T/groups/G, /topics/T/broadcast, /topics/T/queues/N, /groups/G/dlq to receive'

export type StartAt =
  | { readonly kind: 'first' }
  | { readonly kind: 'last' }
  | { readonly kind: 'next' }
  | { readonly kind: 'offset'; readonly offset: number }
  | { readonly kind: 'time'; readonly epochMs: number }

export interface Address {
  readonly topic: string
  readonly tag: string | undefined
  readonly queueId: number | undefined
  readonly group: string | undefined
  /** Explicitly: every link gets every message. */
  readonly broadcast: boolean
  /** The name says how to share: queue://T; undefined when it says nothing. */
  readonly routing: 'queue' | 'topic' | undefined
  readonly filter: MessageFilter | undefined
  readonly startAt: StartAt | undefined
  readonly ordered: boolean
  readonly lockMs: number | undefined
  /** Of a reply to a request that came by another protocol: messages go to its requester. */
  readonly replyTo: ReplyName | undefined
}

type Draft = { -readonly [K in keyof Address]: Address[K] }

/**
 * @throws BrokerError NAME_INVALID, ARGUMENT_INVALID, FILTER_INVALID, each quoting the grammar or
 * option
 */
export function parseAddress(text: string): Address {
  if (Buffer.byteLength(text) > NAME_BYTES_MAX) {
    throw new BrokerError('NAME_INVALID', `an address is longer than ${NAME_BYTES_MAX} bytes`)
  }
  const mark = text.indexOf('?')
  const path = mark === -1 ? text : text.slice(0, mark)
  const address = parsePath(path)
  if (RESERVED.test(address.topic)) throw reservedName(path)
  checkTopicName(address.topic)
  if (address.group !== undefined) checkGroupName(address.group)
  if (mark !== -1) readOptions(address, text.slice(mark + 1))
  return address
}

/** `name` is the topic's name as users of AMQP write it. */
const draftOf = (name: string): Draft => ({
  topic: brokerName(name),
  tag: undefined,
  queueId: undefined,
  group: undefined,
  broadcast: false,
  routing: undefined,
  filter: undefined,
  startAt: undefined,
  ordered: false,
  lockMs: undefined,
  replyTo: undefined,
})

function parsePath(path: string): Draft {
  if (path.startsWith('/')) return parseSegments(path)
  for (const routing of ['queue', 'topic'] as const) {
    const scheme = `${routing}://`
    if (path.startsWith(scheme)) return { ...parseBare(path.slice(scheme.length)), routing }
  }
  return parseBare(path)
}

/** A bare name, or one of the forms other brokers taught their users. */
function parseBare(path: string): Draft {
  const qualified = path.indexOf('::')
  if (qualified !== -1) {
    return groupOf(path.slice(0, qualified), path.slice(qualified + 2))
  }
  const [topic = '', kind, group, partitions, queue, ...rest] = path.split('/')
  if (rest.length === 0 && group !== undefined) {
    if (kind === 'Subscriptions' && partitions === undefined) return groupOf(topic, group)
    if (kind === 'ConsumerGroups' && partitions === 'Partitions' && queue !== undefined) {
      return { ...groupOf(topic, group), queueId: queueIdOf(queue, path) }
    }
  }
  return draftOf(path)
}

const groupOf = (topic: string, group: string): Draft => ({
  ...draftOf(topic),
  group: brokerName(group),
})

function parseSegments(path: string): Draft {
  const segments = path.slice(1).split('/').map(percentDecoded)
  const [root, name = '', ...rest] = segments
  switch (root) {
    case 'topics':
      return parseTopicPath(draftOf(name), rest, path)
    case 'groups':
      if (rest.length === 1 && rest[0] === 'dlq') return draftOf(deadLetterTopic(name))
      if (rest.length === 1 && rest[0] === 'retry') return draftOf(retryTopic(name))
      break
    case 'queues':
      if (rest.length === 0) return { ...draftOf(name), routing: 'queue' }
      break
    case 'replies':
      if (name !== '' && rest.length < 2) {
        return { ...draftOf(root), replyTo: { address: name, correlationId: rest[0] } }
      }
      break
    case 'exchanges':
      if (rest.length < 2) return { ...draftOf(name), tag: rest[0] }
      break
    default:
  }
  throw unknownForm(path)
}

function parseTopicPath(draft: Draft, rest: readonly string[], path: string): Draft {
  if (rest.length === 1 && rest[0] === 'broadcast') {
    draft.broadcast = true
    return draft
  }
  if (rest.length % 2 !== 0) throw unknownForm(path)
  for (let i = 0; i < rest.length; i += 2) {
    const value = rest[i + 1]!
    switch (rest[i]) {
      case 'tags':
        draft.tag = value
        break
      case 'groups':
        draft.group = brokerName(value)
        break
      case 'queues':
        draft.queueId = queueIdOf(value, path)
        break
      default:
        throw unknownForm(path)
    }
  }
  return draft
}

function readOptions(address: Draft, text: string): void {
  for (const pair of text.split('&')) {
    const at = pair.indexOf('=')
    const key = at === -1 ? pair : pair.slice(0, at)
    const value = at === -1 ? '' : percentDecoded(pair.slice(at + 1))
    switch (key) {
      case 'tag':
      case 'sql':
        if (address.filter !== undefined) throw chosenTwice()
        address.filter = parseMessageFilter(value, EXPRESSION_TYPE[key === 'tag' ? 'tags' : 'sql'])
        break
      case 'offset':
        address.startAt = parseStart(value)
        break
      case 'order':
        address.ordered = value === '1' || value === 'true'
        break
      case 'lock':
        address.lockMs = secondsOf(value)
        break
      default:
        throw new BrokerError(
          'ARGUMENT_INVALID',
          `the address option '${key.slice(0, 40)}' is unknown; tag, sql, offset, order and lock are`,
        )
    }
  }
}

const chosenTwice = (): BrokerError =>
  new BrokerError('ARGUMENT_INVALID', 'an address selects by one of the options tag and sql, once')

/** @throws BrokerError ARGUMENT_INVALID */
export function parseStart(text: string): StartAt {
  switch (text) {
    case 'first':
    case 'last':
    case 'next':
      return { kind: text }
    default:
  }
  const isTime = text.startsWith('@')
  const digits = isTime ? text.slice(1) : text
  const value = Number(digits)
  if (!/^\d{1,16}$/.test(digits) || !Number.isSafeInteger(value)) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `offset=${JSON.stringify(text.slice(0, 40))} is neither first, last, next, a number nor @<epoch ms>`,
    )
  }
  return isTime ? { kind: 'time', epochMs: value } : { kind: 'offset', offset: value }
}

const LOCK_SECONDS_MAX = 12 * 3600

function secondsOf(text: string): number {
  const seconds = Number(text)
  if (!/^\d+$/.test(text) || seconds < 1 || seconds > LOCK_SECONDS_MAX) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `lock=${text.slice(0, 20)} is not a number of seconds from 1 to ${LOCK_SECONDS_MAX}`,
    )
  }
  return seconds * 1000
}

function queueIdOf(text: string, path: string): number {
  if (!/^\d{1,4}$/.test(text)) throw unknownForm(path)
  return Number(text)
}

function unknownForm(path: string): BrokerError {
  const shown = JSON.stringify(path.slice(0, 80))
  return new BrokerError('TOPIC_NOT_FOUND', `no node has the address ${shown}; write ${GRAMMAR}`)
}

/** A `$` at the beginning of the topic's name or behind a slash, as `brokerName` writes them. */
const RESERVED = /(^|%2F)%24/

/** A client that sends a token or a management request there must hear that nothing answers. */
function reservedName(path: string): BrokerError {
  const shown = JSON.stringify(path.slice(0, 80))
  return new BrokerError(
    'TOPIC_NOT_FOUND',
    `no node has the address ${shown}: this broker has no nodes with names in $, and no topic is ` +
      `named like one; write ${GRAMMAR}`,
  )
}

function percentDecoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch (error) {
    throw new BrokerError(
      'NAME_INVALID',
      `${JSON.stringify(segment.slice(0, 40))} is not percent-encoded UTF-8`,
      { cause: error },
    )
  }
}

const LEGAL_BYTE = /^[|a-zA-Z0-9_-]$/
const HEX_PAIR = /^[0-9A-Fa-f]{2}$/
const DERIVED = /^%(RETRY|DLQ)%/

/** The name a topic or group has in the broker: 'qit.jms' is 'qit%2Ejms'. */
export function brokerName(name: string): string {
  // Names RocketMQ derives from groups begin with a % of their own.
  const derived = DERIVED.exec(name)?.[0] ?? ''
  const bytes = Buffer.from(name.slice(derived.length), 'utf8')
  let encoded = derived
  for (let i = 0; i < bytes.length; i++) {
    const char = String.fromCharCode(bytes[i]!)
    const isPlainPercent = char === '%' && !HEX_PAIR.test(bytes.toString('latin1', i + 1, i + 3))
    if (isPlainPercent || LEGAL_BYTE.test(char)) encoded += char
    else encoded += `%${bytes[i]!.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return encoded
}

/** The inverse of brokerName, for addresses we write into messages. */
export function bareName(name: string): string {
  if (!name.includes('%')) return name
  const derived = DERIVED.exec(name)?.[0] ?? ''
  const bytes: number[] = []
  for (let i = derived.length; i < name.length; i++) {
    const pair = name.slice(i + 1, i + 3)
    const isEscape = name[i] === '%' && HEX_PAIR.test(pair)
    bytes.push(isEscape ? Number.parseInt(pair, 16) : name.charCodeAt(i))
    if (isEscape) i += 2
  }
  return derived + Buffer.from(bytes).toString('utf8')
}

/** Where replies go to a requester that gives this address; undefined: none can be sent there. */
export function replyAddressAt(address: string): string | undefined {
  try {
    const { topic, tag, group, broadcast, replyTo } = parseAddress(address)
    if (replyTo !== undefined) return replyTo.address
    return group !== undefined || broadcast ? undefined : replyToTopic(topic, tag)
  } catch {
    return undefined
  }
}

/** The address at which a responder replies to a request of another protocol. */
export function replyNodeOf(reply: ReplyName): string | undefined {
  const node = `/replies/${formatReplyName(reply)}`
  return node.length > NAME_BYTES_MAX ? undefined : node
}
