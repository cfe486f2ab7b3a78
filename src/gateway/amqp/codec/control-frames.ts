// The rare performatives as plain values, checked field by field (AMQP 2.7): what the connection
// decides on and what rhea is told. Fields that neither uses are not read.
import { AmqpError, CONDITION, decodeError } from '../errors.ts'
import { IDLE_TIMEOUT_MS_MIN, NAME_BYTES_MAX } from '../limits.ts'
import { CODE, codeOfSymbol } from './performatives.ts'
import { encodedFields } from './scalar-list.ts'
import { AmqpSymbol, type AmqpValue, Described, ValueReader } from './value-reader.ts'

/** The action that a container wants on a second connection with its id. */
export type SolePolicy = 'refuse-connection' | 'close-existing'

export const SOLE_CONNECTION = 'sole-connection-for-container'

export interface OpenFrame {
  readonly containerId: string
  readonly hostname: string | undefined
  readonly maxFrameSize: number
  readonly channelMax: number
  readonly idleTimeoutMs: number | undefined
  /** product and version, for the client registry. */
  readonly product: string
  /** Does the peer want its container id to be connected once only, and what else is to happen? */
  readonly solePolicy: SolePolicy | undefined
}

export interface BeginFrame {
  readonly remoteChannel: number | undefined
  readonly nextOutgoingId: number
  readonly incomingWindow: number
  readonly outgoingWindow: number
}

export interface AttachFrame {
  readonly name: string
  readonly handle: number
  /** The peer receives and we send. */
  readonly isReceiver: boolean
  readonly sndSettleMode: number | undefined
  readonly rcvSettleMode: number | undefined
  readonly source: Described | undefined
  readonly target: Described | undefined
  /** The same as they came, to be answered with. */
  readonly encodedSource: Buffer | undefined
  readonly encodedTarget: Buffer | undefined
  readonly initialDeliveryCount: number
  readonly maxMessageSize: number | undefined
  readonly desiredCapabilities: readonly string[]
}

export interface DetachFrame {
  readonly handle: number
  readonly isClosed: boolean
  readonly error: PeerError | undefined
}

export interface PeerError {
  readonly condition: string
  readonly description: string
}

/** The fields of a performative's or terminus' list, read by index and type. */
export class FieldList {
  readonly #what: string
  readonly #values: readonly AmqpValue[]

  constructor(what: string, value: AmqpValue) {
    if (!Array.isArray(value)) throw decodeError(`the fields of ${what} are no list`)
    this.#what = what
    this.#values = value
  }

  at(index: number): AmqpValue {
    return this.#values[index] ?? null
  }

  #wrong(name: string, wanted: string): AmqpError {
    return decodeError(`${this.#what}.${name} is not ${wanted}`)
  }

  uint(index: number, name: string): number | undefined {
    const value = this.at(index)
    if (value === null) return undefined
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32) {
      return value
    }
    throw this.#wrong(name, 'an unsigned number of 32 bits')
  }

  ulong(index: number, name: string): number | undefined {
    const value = this.at(index)
    if (value === null) return undefined
    if (typeof value === 'bigint') return Number(value)
    if (typeof value === 'number' && value >= 0) return value
    throw this.#wrong(name, 'an unsigned number')
  }

  boolean(index: number, name: string): boolean {
    const value = this.at(index)
    if (value === null) return false
    if (typeof value === 'boolean') return value
    throw this.#wrong(name, 'a boolean')
  }

  /** A string or symbol, of a name's length unless told otherwise. */
  text(index: number, name: string, bytesMax = NAME_BYTES_MAX): string | undefined {
    const value = this.at(index)
    if (value === null) return undefined
    const text = value instanceof AmqpSymbol ? value.text : value
    if (typeof text !== 'string') throw this.#wrong(name, 'a string')
    if (Buffer.byteLength(text) > bytesMax) {
      const message = `${this.#what}.${name} is longer than ${bytesMax} bytes`
      throw new AmqpError(CONDITION.invalidField, message)
    }
    return text
  }

  binary(index: number, name: string): Buffer | undefined {
    const value = this.at(index)
    if (value === null) return undefined
    if (Buffer.isBuffer(value)) return value
    throw this.#wrong(name, 'a binary')
  }

  described(index: number, name: string): Described | undefined {
    const value = this.at(index)
    if (value === null) return undefined
    if (value instanceof Described) return value
    throw this.#wrong(name, 'a described value')
  }

  /** One symbol or an array of them. */
  symbols(index: number, name: string): readonly string[] {
    const value = this.at(index)
    if (value === null) return []
    const list = Array.isArray(value) ? value : [value]
    return list.map((symbol) => {
      if (symbol instanceof AmqpSymbol) return symbol.text
      throw this.#wrong(name, 'a symbol or an array of symbols')
    })
  }

  map(index: number, name: string): ReadonlyMap<AmqpValue, AmqpValue> {
    const value = this.at(index)
    if (value === null) return new Map()
    if (value instanceof Map) return value
    throw this.#wrong(name, 'a map')
  }
}

/** The code of a described value's descriptor, or -1. */
export function codeOf(described: Described): number {
  const { descriptor } = described
  if (typeof descriptor === 'number') return descriptor
  return descriptor instanceof AmqpSymbol ? codeOfSymbol(descriptor.text) : -1
}

/** The fields of the performative at `at`. @throws AmqpError decode-error */
export function readFieldList(what: string, bytes: Buffer, at: number, end: number): FieldList {
  const reader = new ValueReader(bytes, at, end)
  const value = reader.read()
  if (!(value instanceof Described)) throw decodeError(`${what} is no described list`)
  if (reader.at !== end) throw decodeError(`${end - reader.at} bytes behind ${what}`)
  return new FieldList(what, value.value)
}

export function readOpen(fields: FieldList): OpenFrame {
  const containerId = fields.text(0, 'container-id')
  if (containerId === undefined) throw decodeError('open has no container-id')
  const idleTimeoutMs = fields.uint(4, 'idle-time-out')
  if (idleTimeoutMs !== undefined && idleTimeoutMs !== 0 && idleTimeoutMs < IDLE_TIMEOUT_MS_MIN) {
    const message = `open.idle-time-out is below ${IDLE_TIMEOUT_MS_MIN} ms`
    throw new AmqpError(CONDITION.invalidField, message)
  }
  const properties = fields.map(9, 'properties')
  const product = [properties.get('product'), properties.get('version')]
  return {
    containerId,
    hostname: fields.text(1, 'hostname'),
    maxFrameSize: fields.uint(2, 'max-frame-size') ?? 0xffff_ffff,
    channelMax: fields.uint(3, 'channel-max') ?? 0xffff,
    idleTimeoutMs: idleTimeoutMs === 0 ? undefined : idleTimeoutMs,
    product: product.filter((part) => typeof part === 'string').join(' '),
    solePolicy: solePolicyOf(fields.symbols(8, 'desired-capabilities'), properties),
  }
}

const CLOSE_EXISTING = 1

function solePolicyOf(
  desired: readonly string[],
  properties: ReadonlyMap<AmqpValue, AmqpValue>,
): SolePolicy | undefined {
  if (!desired.includes(SOLE_CONNECTION)) return undefined
  const policy = properties.get('sole-connection-enforcement-policy')
  return policy === CLOSE_EXISTING ? 'close-existing' : 'refuse-connection'
}

export function readBegin(fields: FieldList): BeginFrame {
  return {
    remoteChannel: fields.uint(0, 'remote-channel'),
    nextOutgoingId: required(fields.uint(1, 'next-outgoing-id'), 'begin.next-outgoing-id'),
    incomingWindow: required(fields.uint(2, 'incoming-window'), 'begin.incoming-window'),
    outgoingWindow: required(fields.uint(3, 'outgoing-window'), 'begin.outgoing-window'),
  }
}

const ATTACH_FIELDS_MAX = 14

/** @throws AmqpError decode-error */
export function readAttach(bytes: Buffer, at: number, end: number): AttachFrame {
  const fields = readFieldList('attach', bytes, at, end)
  const encoded = encodedFields(bytes.subarray(at, end), 0, ATTACH_FIELDS_MAX, 'attach')
  return {
    // Of any length: a link can be refused by a name that is too long, and not without its name.
    name: required(fields.text(0, 'name', Infinity), 'attach.name'),
    handle: required(fields.uint(1, 'handle'), 'attach.handle'),
    isReceiver: fields.boolean(2, 'role'),
    sndSettleMode: fields.uint(3, 'snd-settle-mode'),
    rcvSettleMode: fields.uint(4, 'rcv-settle-mode'),
    source: terminus(fields.described(5, 'source'), 'attach.source'),
    target: terminus(fields.described(6, 'target'), 'attach.target'),
    encodedSource: kept(encoded[5]),
    encodedTarget: kept(encoded[6]),
    initialDeliveryCount: fields.uint(9, 'initial-delivery-count') ?? 0,
    maxMessageSize: fields.ulong(10, 'max-message-size'),
    desiredCapabilities: fields.symbols(12, 'desired-capabilities'),
  }
}

export function readDetach(fields: FieldList): DetachFrame {
  return {
    handle: required(fields.uint(0, 'handle'), 'detach.handle'),
    isClosed: fields.boolean(1, 'closed'),
    error: readError(fields.described(2, 'error')),
  }
}

/** end and close have an error as their only field. */
export const readGoodbye = (fields: FieldList): PeerError | undefined =>
  readError(fields.described(0, 'error'))

export function readError(error: Described | undefined): PeerError | undefined {
  if (error === undefined || codeOf(error) !== CODE.error) return undefined
  const fields = new FieldList('error', error.value)
  return {
    condition: fields.text(0, 'condition') ?? '',
    description: describedShort(fields.at(1)),
  }
}

const DESCRIPTION_CHARS_MAX = 256

const describedShort = (value: AmqpValue): string =>
  typeof value === 'string' ? value.slice(0, DESCRIPTION_CHARS_MAX) : ''

/** The fields of a terminus of any kind are a list. */
function terminus(value: Described | undefined, what: string): Described | undefined {
  if (value !== undefined && !Array.isArray(value.value)) throw decodeError(`${what} has no fields`)
  return value
}

/** A copy: the answer goes out when the chunk that the attach came in may be gone. */
const kept = (encoded: Buffer | undefined): Buffer | undefined =>
  encoded === undefined || encoded[0] === 0x40 ? undefined : Buffer.from(encoded)

function required<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw decodeError(`${what} is missing`)
  return value
}
