// The options of `connect`, checked and with their defaults.
import { type Clock, systemClock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { splitAddress } from '../model/host.ts'
import { BODY_BYTES_DEFAULT, BODY_BYTES_MAX } from '../model/limits.ts'
import type { DialOptions } from '../remoting/connection.ts'
import type { Credentials } from '../remoting/signature.ts'
import { checkKind, checkNames, KIND, type Kind } from './calls/option-names.ts'
import type { CheckTransaction } from './transactional-producer.ts'

export interface ConnectOptions {
  /** 'host:port', several separated by ';' or as a list. Default: localhost:9876. */
  readonly nameServers?: string | readonly string[] | undefined
  /** Only this broker, without a name server; the address that it advertises is not used. */
  readonly broker?: string | undefined
  /** RocketMQ's ACL: every request is signed. */
  readonly auth?: Credentials | undefined
  /** true, or the options of node:tls (ca, cert, key, servername). */
  readonly tls?: boolean | NonNullable<DialOptions['tls']> | undefined
  /**
   * Under which brokers list this client as a producer. Clients of one group answer for each
   * other's transactions.
   */
  readonly producerGroup?: string | undefined
  /** Says what became of a transaction that a broker was not told of: `transaction` needs it. */
  readonly checkTransaction?: CheckTransaction | undefined
  /**
   * Messages without an ordering key stay in order too: those of one topic go to one queue, one
   * after the other, and to another only when its broker does not take them. Default: they go round
   * the queues.
   */
  readonly inOrder?: boolean | undefined
  /**
   * Longest body of a message, as RocketMQ's `maxMessageSize`; default 4 MiB, at most 16 MiB. The
   * broker has a limit of its own, which has to be raised as well.
   */
  readonly bodyBytesMax?: number | undefined
  /**
   * RocketMQ's message trace: sends, and messages that a handler is given, are told of in the topic
   * RMQ_SYS_TRACE_TOPIC, for mqadmin and the dashboard; default false.
   */
  readonly trace?: boolean | undefined
  /** How long a send may take with all its attempts; default 10 s. */
  readonly timeoutMs?: number | undefined
  /** How long one attempt to connect may take; default 3 s. */
  readonly connectTimeoutMs?: number | undefined
  /** Gives up connecting. */
  readonly signal?: AbortSignal | undefined
  /** For tests. */
  readonly clock?: Clock | undefined
}

export interface CheckedOptions {
  readonly nameServers: readonly string[]
  readonly broker: string | undefined
  readonly auth: Credentials | undefined
  readonly tls: DialOptions['tls']
  readonly producerGroup: string
  readonly checkTransaction: CheckTransaction | undefined
  readonly inOrder: boolean
  readonly bodyBytesMax: number
  readonly trace: boolean
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  readonly clock: Clock
}

const NAME_SERVER_DEFAULT = '127.0.0.1:9876'
const PRODUCER_GROUP_DEFAULT = 'TRIVET_PRODUCER'
const TIMEOUT_MS = 10_000
const CONNECT_TIMEOUT_MS = 3000

const NAMES: Readonly<Record<keyof ConnectOptions, Kind | true>> = {
  nameServers: true,
  broker: KIND.text,
  auth: KIND.object,
  tls: true,
  producerGroup: KIND.text,
  checkTransaction: true,
  inOrder: KIND.flag,
  bodyBytesMax: KIND.number,
  trace: KIND.flag,
  timeoutMs: KIND.number,
  connectTimeoutMs: KIND.number,
  signal: KIND.signal,
  clock: KIND.object,
}

/** @throws BrokerError ARGUMENT_INVALID */
export function checkOptions(options: ConnectOptions): CheckedOptions {
  checkNames('option of connect', options, NAMES)
  const { broker, auth, tls } = options
  if (broker !== undefined && options.nameServers !== undefined) {
    throw invalid("give either 'nameServers' or 'broker', not both")
  }
  if (auth !== undefined && !(auth.accessKey && auth.secretKey)) {
    throw invalid("'auth' needs an accessKey and a secretKey")
  }
  const { checkTransaction } = options
  if (checkTransaction !== undefined && typeof checkTransaction !== 'function') {
    throw invalid("'checkTransaction' is no function")
  }
  const given = options.nameServers ?? NAME_SERVER_DEFAULT
  if (typeof given !== 'string') checkKind('nameServers', given, KIND.texts)
  const nameServers = (typeof given === 'string' ? given.split(';') : given)
    .map((address) => address.trim())
    .filter((address) => address !== '')
  if (nameServers.length === 0) throw invalid("'nameServers' is empty")
  for (const address of broker === undefined ? nameServers : [broker]) splitAddress(address)
  return {
    nameServers,
    broker,
    auth,
    tls: tls === true ? {} : tls === false ? undefined : tls,
    checkTransaction,
    producerGroup: options.producerGroup ?? PRODUCER_GROUP_DEFAULT,
    inOrder: options.inOrder ?? false,
    bodyBytesMax: checkBytes(options.bodyBytesMax ?? BODY_BYTES_DEFAULT),
    trace: options.trace ?? false,
    timeoutMs: checkMs('timeoutMs', options.timeoutMs ?? TIMEOUT_MS),
    connectTimeoutMs: checkMs('connectTimeoutMs', options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS),
    clock: options.clock ?? systemClock,
  }
}

function checkMs(name: string, value: number): number {
  if (Number.isFinite(value) && value > 0) return value
  throw invalid(`'${name}' is ${value}; a number of milliseconds above 0 is due`)
}

function checkBytes(value: number): number {
  if (Number.isInteger(value) && value > 0 && value <= BODY_BYTES_MAX) return value
  throw invalid(`'bodyBytesMax' is ${value}; a whole number from 1 to ${BODY_BYTES_MAX} is due`)
}

const invalid = (text: string): BrokerError => new BrokerError('ARGUMENT_INVALID', text)
