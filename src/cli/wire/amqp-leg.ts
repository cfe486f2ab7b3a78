// pub and sub over AMQP 1.0, through rhea. The tag is the subject, the ordering key the group id,
// keys and properties are application properties; a message is settled after it was shown.
import rhea, { type Connection, type Delivery, type EventContext, type Message } from 'rhea'
import { unlessAborted } from '../../abort.ts'
import { abortController } from '../../client/calls/abort.ts'
import { Mailbox } from '../../client/calls/mailbox.ts'
import { BrokerError } from '../../errors.ts'
import { splitAddress } from '../../model/host.ts'
import { ACCESS_KEY_ENV, PASSWORD_ENV } from '../../settings.ts'
import { tlsFailureText } from '../../tls-failure.ts'
import { tlsOptions } from '../connection.ts'
import { answerTimeoutMs, type Patience, whileHeard } from '../patience.ts'
import { AmqpSender } from './amqp-sender.ts'
import {
  type Arrival,
  type Leg,
  type LegAround,
  type Letter,
  notLetIn,
  type Wish,
  whenAborted,
} from './leg.ts'

const ADDRESS_DEFAULT = '127.0.0.1:5672'
const CREDIT = 64
const CONNECT_TIMEOUT_MS = 5000
/** The idle time-out: a peer that sends nothing for twice as long is gone. */
const IDLE_MS = 30_000
/** For the peer's last word. */
const CLOSE_TIMEOUT_MS = 2000

export async function openAmqpLeg(around: LegAround): Promise<Leg> {
  const { flags, env, signal } = around
  const address = flags.at ?? ADDRESS_DEFAULT
  const peer = `the AMQP broker at ${address}`
  const patience = { peer, timeoutMs: answerTimeoutMs(flags.timeout) }
  const username = flags['access-key'] ?? env[ACCESS_KEY_ENV] ?? 'anonymous'
  const password = env[PASSWORD_ENV]
  const tls = tlsOptions(flags)
  const connection = rhea.create_container().connect({
    ...splitAddress(address),
    ...(tls && { transport: 'tls' as const, servername: serverName(address), ...tls }),
    username,
    ...(password !== undefined && { password }),
    reconnect: false,
    idle_time_out: IDLE_MS,
  })
  const lost = whenLost(connection, address)
  const unlessLost = <T>(promise: Promise<T>): Promise<T> =>
    unlessAborted(unlessAborted(promise, lost), signal)
  try {
    const opened = settled<void>((resolve) => {
      connection.once('connection_open', () => resolve())
    })
    await unlessAborted(unlessLost(opened), AbortSignal.timeout(CONNECT_TIMEOUT_MS))
  } catch (error) {
    hangUp(connection)
    if (!isTimeout(error)) throw error
    throw noBroker(address, `no answer within ${CONNECT_TIMEOUT_MS} ms`, error)
  }
  let sender: AmqpSender | undefined
  const senderFor = (topic: string): AmqpSender => {
    sender ??= new AmqpSender(connection, `/topics/${encodeURIComponent(topic)}`, (error) =>
      refused(topic, error),
    )
    return sender
  }
  return {
    publish: async (letters, accepted) => {
      const messages = letters.map(messageOf)
      const { topic } = letters[0]!
      const took = (at: number): void => accepted(at, { topic })
      const publishAll = (heard: () => void): Promise<void> =>
        senderFor(topic).send(messages, heard, took)
      await unlessLost(whileHeard(patience, publishAll))
    },
    arrivals: (wish, ended) => arrivals(connection, lost, patience, wish, ended),
    close: async () => {
      const closed = settled<void>((resolve) => {
        connection.once('connection_close', () => resolve())
        connection.close()
      })
      const late = AbortSignal.timeout(CLOSE_TIMEOUT_MS)
      await unlessAborted(unlessAborted(closed, lost), late).catch(() => {})
      hangUp(connection)
    },
  }
}

/** TLS names servers by host names alone; rhea would name an address too. */
const serverName = (address: string): string => {
  const { host } = splitAddress(address)
  return /^[\d.]+$|:/.test(host) ? '' : host
}

/** Aborted with what ended the connection. */
function whenLost(connection: Connection, address: string): AbortSignal {
  const lost = abortController()
  let wasOpen = false
  connection.once('connection_open', () => {
    wasOpen = true
  })
  for (const event of ['connection_error', 'session_close', 'disconnected', 'error']) {
    connection.once(event, (context: EventContext) =>
      lost.abort(wasOpen ? brokenOff(address, context) : unreachable(address, context)),
    )
  }
  return lost.signal
}

interface Insides {
  readonly socket?: { destroy(): void }
  readonly heartbeat_in?: NodeJS.Timeout
}

/**
 * rhea has no way to let go of a peer that says nothing, and would go on waiting for its
 * heartbeats.
 */
function hangUp(connection: Connection): void {
  const { socket, heartbeat_in: heartbeat } = connection as Insides
  socket?.destroy()
  clearTimeout(heartbeat)
}

const settled = <T>(
  run: (resolve: (value: T) => void, reject: (error: unknown) => void) => void,
): Promise<T> => new Promise(run)

const causeOf = (context: EventContext): object | undefined =>
  context.error ?? context.session?.error ?? context.connection?.error

const causeText = (cause: object | undefined): string =>
  cause === undefined ? 'the connection ended' : conditionText(cause)

/** As rhea says that the security layer failed. */
const NOT_LET_IN = 'amqp:unauthorized-access'

function unreachable(address: string, context: EventContext): BrokerError {
  const cause = causeOf(context)
  const { condition } = (cause ?? {}) as { readonly condition?: unknown }
  if (condition === NOT_LET_IN) {
    return notLetIn(`the AMQP broker at ${address}`, causeText(cause), cause)
  }
  return noBroker(address, causeText(cause), cause)
}

function brokenOff(address: string, context: EventContext): BrokerError {
  const cause = causeOf(context)
  const text = `the AMQP broker at ${address} broke off: ${causeText(cause)}`
  return new BrokerError('CLOSED', text, { cause })
}

const noBroker = (address: string, text: string, cause: unknown): BrokerError =>
  new BrokerError(
    'UNREACHABLE',
    `no AMQP broker answers at ${address} (${text}); start one with 'trivet start', ` +
      'or say where it is with --at',
    { cause },
  )

const isTimeout = (error: unknown): boolean =>
  error instanceof DOMException && error.name === 'TimeoutError'

/** An error of rhea is an Error, or a condition with a description. */
function conditionText(error: object): string {
  const tls = error instanceof Error ? tlsFailureText(error) : undefined
  if (tls !== undefined) return tls
  const { description, message, condition } = error as Record<string, unknown>
  return String(description ?? message ?? condition ?? error)
}

const reasonText = (error: object | undefined): string =>
  error === undefined ? 'no reason given' : conditionText(error)

const refused = (topic: string, error: object | undefined): BrokerError =>
  new BrokerError('INTERNAL', `the broker did not accept '${topic}': ${reasonText(error)}`)

const ended = (topic: string, error: object | undefined): BrokerError =>
  new BrokerError('CLOSED', `the broker ended the link for '${topic}': ${reasonText(error)}`)

function messageOf(letter: Letter): Message {
  const { tag, keys, orderingKey, delayMs } = letter
  const properties: Record<string, string> = { ...letter.properties }
  if (keys.length > 0) properties['KEYS'] = keys.join(' ')
  return {
    ...(tag !== undefined && { subject: tag }),
    ...(orderingKey !== undefined && { group_id: orderingKey }),
    ...(delayMs !== undefined && {
      message_annotations: { 'x-opt-delivery-delay': delayMs },
    }),
    application_properties: properties,
    body: rhea.message.data_section(Buffer.from(letter.body)),
  }
}

async function* arrivals(
  connection: Connection,
  lost: AbortSignal,
  patience: Patience,
  wish: Wish,
  signal: AbortSignal,
): AsyncIterable<Arrival> {
  const inbox = new Mailbox<{ message: Message; delivery: Delivery }>()
  const receiver = connection.open_receiver({
    source: sourceOf(wish),
    autoaccept: false,
    credit_window: 0,
  })
  receiver.on('message', ({ message, delivery }: EventContext) => {
    inbox.push({ message: message!, delivery: delivery! })
  })
  receiver.on('receiver_close', () => inbox.end(ended(wish.topic, receiver.error)))
  const attached = settled<void>((resolve) => receiver.once('receiver_open', () => resolve()))
  whileHeard(patience, () => attached).catch((error) => inbox.end(error))
  whenAborted(lost, () => inbox.end(lost.reason))
  whenAborted(signal, () => inbox.end())
  receiver.add_credit(CREDIT)
  for (;;) {
    const next = await inbox.next()
    if (next === undefined) return
    yield arrivalOf(wish.topic, next.message, () => {
      next.delivery.accept()
      receiver.add_credit(1)
    })
  }
}

function sourceOf({ topic, tags, sql, group, from }: Wish): string {
  const path = `/topics/${encodeURIComponent(topic)}`
  const options: string[] = []
  if (tags !== undefined && tags.trim() !== '*') options.push(`tag=${encodeURIComponent(tags)}`)
  if (sql !== undefined) options.push(`sql=${encodeURIComponent(sql)}`)
  if (from !== undefined) options.push(`offset=${from}`)
  const query = options.length === 0 ? '' : `?${options.join('&')}`
  const end = group === undefined ? '/broadcast' : `/groups/${encodeURIComponent(group)}`
  return path + end + query
}

function arrivalOf(topic: string, message: Message, settle: () => void): Arrival {
  const { KEYS: keys, ...own } = message.application_properties ?? {}
  const texts = Object.entries(own).map(([name, value]) => [name, String(value)] as const)
  return {
    topic,
    tag: message.subject,
    keys: typeof keys === 'string' ? keys.split(' ').filter((key) => key !== '') : [],
    orderingKey: message.group_id,
    properties: Object.fromEntries(texts),
    body: bytesOf(message.body),
    details: { deliveryCount: message.delivery_count ?? 0 },
    settle: async () => settle(),
  }
}

function bytesOf(body: unknown): Uint8Array {
  const content =
    typeof body === 'object' && body !== null && 'content' in body ? body.content : body
  if (content instanceof Uint8Array) return content
  if (Array.isArray(content)) return Buffer.concat(content.map(bytesOf))
  return Buffer.from(typeof content === 'string' ? content : JSON.stringify(content ?? ''))
}
