// pub and sub over MQTT 5, through mqtt.js. Level one of an MQTT topic is the topic, level two the
// tag; keys and the ordering key travel as user properties.
import type { IPublishPacket, MqttClient } from 'mqtt'
import { unlessAborted } from '../../abort.ts'
import { abortController } from '../../client/calls/abort.ts'
import { Mailbox } from '../../client/calls/mailbox.ts'
import { BrokerError } from '../../errors.ts'
import { ACCESS_KEY_ENV, PASSWORD_ENV } from '../../settings.ts'
import { tlsFailureText } from '../../tls-failure.ts'
import { tlsOptions } from '../connection.ts'
import { answerTimeoutMs, type Patience, whileHeard } from '../patience.ts'
import {
  type Arrival,
  allAccepted,
  type Leg,
  type LegAround,
  type Letter,
  notLetIn,
  type Wish,
  whenAborted,
} from './leg.ts'

const ADDRESS_DEFAULT = '127.0.0.1:1883'
const CONNECT_TIMEOUT_MS = 5000
/** For the peer's last word. */
const CLOSE_TIMEOUT_MS = 2000
const QOS = 1

/** The part of an answer that says why. */
interface Puback {
  readonly properties: { readonly reasonString?: string }
}

/**
 * A message, and how mqtt.js is told to acknowledge it and read on; with an error it only reads on.
 */
interface Incoming {
  readonly packet: IPublishPacket
  readonly done: (error?: Error) => void
}

export async function openMqttLeg(around: LegAround): Promise<Leg> {
  const { flags, env, signal } = around
  const { connect } = await import('mqtt').catch(() => {
    throw new BrokerError(
      'NOT_SUPPORTED',
      '--via mqtt uses mqtt.js; install it: npm install -g mqtt',
    )
  })
  const address = flags.at ?? ADDRESS_DEFAULT
  const peer = `the MQTT broker at ${address}`
  const patience = { peer, timeoutMs: answerTimeoutMs(flags.timeout) }
  const username = flags['access-key'] ?? env[ACCESS_KEY_ENV]
  // Holds one at a time.
  const inbox = new Mailbox<Incoming>()
  let inHand: Incoming | undefined
  const tls = tlsOptions(flags)
  const client = connect(`${tls ? 'mqtts' : 'mqtt'}://${address}`, {
    ...tls,
    protocolVersion: 5,
    connectTimeout: CONNECT_TIMEOUT_MS,
    reconnectPeriod: 0,
    ...(username !== undefined && { username, password: env[PASSWORD_ENV] ?? '' }),
  })
  const lost = whenLost(client, address)
  whenAborted(lost, () => inbox.end(lost.reason))
  // mqtt.js drops the callbacks of pending requests when the connection ends.
  const unlessLost = <T>(promise: Promise<T>): Promise<T> =>
    unlessAborted(unlessAborted(promise, lost), signal)
  try {
    await unlessLost(new Promise<void>((resolve) => client.once('connect', () => resolve())))
  } catch (error) {
    client.end(true)
    throw error
  }
  client.handleMessage = (packet, done) => {
    inHand = { packet, done }
    inbox.push(inHand)
  }
  const settle = ({ done }: Incoming): void => {
    inHand = undefined
    done()
  }
  return {
    publish: async (letters, accepted) => {
      if (letters.some(({ delayMs }) => delayMs !== undefined)) {
        throw new BrokerError('NOT_SUPPORTED', '--delay needs --via native or amqp')
      }
      const publishAll = (heard: () => void): Promise<void> =>
        allAccepted(
          letters.map(async (letter, at) => accepted(at, await publish(client, letter, heard))),
        )
      await unlessLost(whileHeard(patience, publishAll))
    },
    arrivals: (wish, ended) => arrivals(client, inbox, settle, patience, wish, ended),
    close: async () => {
      // Messages not shown are not acknowledged, and must not keep mqtt.js from the packets behind
      // them.
      client.handleMessage = (_, done) => done(NOT_SHOWN)
      inHand?.done(NOT_SHOWN)
      if (client.connected) {
        const late = AbortSignal.timeout(CLOSE_TIMEOUT_MS)
        await unlessAborted(unlessAborted(client.endAsync(), lost), late).catch(() => {})
      } else client.end(true)
      // Once it has begun to end, mqtt.js has no way to let go of a peer that says nothing.
      client.stream.destroy()
    },
  }
}

const NOT_SHOWN = new Error('not shown')

/** Aborted with what ended the connection. */
function whenLost(client: MqttClient, address: string): AbortSignal {
  const lost = abortController()
  let wasOpen = false
  client.once('connect', () => {
    wasOpen = true
  })
  client.on('error', (error) =>
    lost.abort(wasOpen ? ended(address, error) : failure(address, error)),
  )
  client.on('disconnect', ({ reasonCode, properties }) =>
    lost.abort(ended(address, properties?.reasonString ?? `reason code ${reasonCode}`)),
  )
  client.on('close', () => {
    const text = 'it closed the connection'
    lost.abort(wasOpen ? ended(address, text) : failure(address, text))
  })
  return lost.signal
}

const textOf = (cause: unknown): string =>
  cause instanceof Error
    ? (tlsFailureText(cause) ?? (cause.message || String(cause)))
    : String(cause)

const ended = (address: string, cause: unknown): BrokerError =>
  new BrokerError('CLOSED', `the MQTT broker at ${address} broke off: ${textOf(cause)}`, { cause })

/** Of CONNACK. */
const BAD_USER_NAME_OR_PASSWORD = 134

function failure(address: string, cause: unknown): BrokerError {
  const text = textOf(cause)
  const { code } = cause as { readonly code?: unknown }
  const peer = `the MQTT broker at ${address}`
  if (code === BAD_USER_NAME_OR_PASSWORD) return notLetIn(peer, text, cause)
  // A number is the peer's own word.
  if (typeof code === 'number') return new BrokerError('CLOSED', `${peer}: ${text}`, { cause })
  return new BrokerError(
    'UNREACHABLE',
    `no MQTT broker answers at ${address} (${text}); start one with 'trivet start', ` +
      'or say where it is with --at',
    { cause },
  )
}

async function publish(client: MqttClient, letter: Letter, heard: () => void) {
  const topic = letter.tag === undefined ? letter.topic : `${letter.topic}/${letter.tag}`
  const userProperties: Record<string, string> = { ...letter.properties }
  if (letter.keys.length > 0) userProperties['KEYS'] = letter.keys.join(' ')
  if (letter.orderingKey !== undefined) userProperties['SHARDING_KEY'] = letter.orderingKey
  const body = typeof letter.body === 'string' ? letter.body : Buffer.from(letter.body)
  // With an empty object mqtt.js writes a PUBLISH that is never acknowledged.
  const isPlain = Object.keys(userProperties).length === 0
  const options = { qos: QOS, ...(isPlain ? {} : { properties: { userProperties } }) } as const
  await new Promise<void>((resolve, reject) => {
    client.publish(topic, body, options, (error, packet) => {
      heard()
      // The answer is a PUBACK.
      const { properties } = (packet ?? {}) as Partial<Puback>
      if (error) reject(refused(topic, properties?.reasonString ?? textOf(error)))
      else resolve()
    })
  })
  return { topic }
}

const refused = (topic: string, reason: string): BrokerError =>
  new BrokerError('INTERNAL', `the broker did not accept '${topic}': ${reason}`)

async function* arrivals(
  client: MqttClient,
  inbox: Mailbox<Incoming>,
  settle: (incoming: Incoming) => void,
  patience: Patience,
  wish: Wish,
  signal: AbortSignal,
): AsyncIterable<Arrival> {
  if (wish.from === 'first') {
    throw new BrokerError('NOT_SUPPORTED', '--from first needs --via native or amqp')
  }
  const prefix = wish.group === undefined ? '' : `$share/${wish.group}/`
  const filters = filtersOf(wish).map((filter) => prefix + filter)
  // Messages may come before the answer, which mqtt.js reads when those are settled.
  const subscribed = client.subscribeAsync(filters, { qos: QOS }).then(() => {})
  subscribed.catch((error) => inbox.end(error))
  let begin: () => void = () => {}
  const begun = new Promise<void>((resolve) => {
    begin = resolve
  })
  whileHeard(patience, () => Promise.race([subscribed, begun])).catch((error) => inbox.end(error))
  whenAborted(signal, () => inbox.end())
  for (;;) {
    const incoming = await inbox.next()
    if (incoming === undefined) return
    begin()
    yield arrivalOf(incoming.packet, () => settle(incoming))
  }
}

function filtersOf({ topic, tags, sql }: Wish): string[] {
  if (sql !== undefined) {
    throw new BrokerError('NOT_SUPPORTED', 'MQTT cannot select by --sql; leave out --via mqtt')
  }
  if (tags === undefined || tags.trim() === '*') return [`${topic}/#`]
  return tags.split('||').map((tag) => `${topic}/${tag.trim()}/#`)
}

function arrivalOf(
  { topic, payload, properties, qos, retain }: IPublishPacket,
  settle: () => void,
): Arrival {
  const [parent = topic, level] = topic.split('/')
  const {
    TAGS: tag = level,
    KEYS: keys = '',
    SHARDING_KEY: orderingKey,
    ...own
  } = textsOf(properties?.userProperties)
  return {
    topic: parent,
    tag,
    keys: keys.split(' ').filter((key) => key !== ''),
    orderingKey,
    properties: own,
    body: Buffer.from(payload),
    isRetained: retain,
    details: { mqttTopic: topic, qos, retained: retain },
    settle: async () => settle(),
  }
}

type UserProperties = NonNullable<IPublishPacket['properties']>['userProperties']

const textsOf = (given: UserProperties): Record<string, string> =>
  Object.fromEntries(
    Object.entries(given ?? {}).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(',') : String(value),
    ]),
  )
