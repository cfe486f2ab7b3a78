// The names by which RocketMQ's clients speak of a stored message; they decode both, so these must
// be well formed. The offsetMsgId: store host and log position as 32 upper-case hex digits. The
// recall handle, by which a producer takes a delayed message back: base64url of
// `v1 topic broker time id`.
import { BrokerError } from '../errors.ts'
import type { Host } from './host.ts'
import { type LogPosition, logPosition } from './positions.ts'

const HANDLE_VERSION = 'v1'
const HANDLE_CHARS_MAX = 2048
const BASE64URL = /^[A-Za-z0-9_-]*={0,2}$/
const FORM = /^[0-9A-Fa-f]{32}$/
const hex = (value: number, digits: number): string =>
  value.toString(16).toUpperCase().padStart(digits, '0')

export const offsetMessageId = (host: Host, position: LogPosition): string =>
  offsetMessageIds(host, [position])

const ID_CHARS = 32
const COMMA = 0x2c
const TWO_32 = 4_294_967_296

/** Of messages that one broker stored, with commas between; a batch has tens of thousands. */
export function offsetMessageIds(host: Host, positions: readonly LogPosition[]): string {
  const ids = Buffer.alloc(positions.length * (ID_CHARS + 1), COMMA)
  const start = hex(host.ip, 8) + hex(host.port, 8)
  let at = 0
  for (const position of positions) {
    ids.latin1Write(start, at)
    putHex(ids, at + 16, position / TWO_32)
    putHex(ids, at + 24, position)
    at += ID_CHARS + 1
  }
  return ids.latin1Slice(0, Math.max(0, at - 1))
}

/** The lower 32 bits of the number as eight digits. */
function putHex(target: Buffer, at: number, value: number): void {
  for (let i = 7, left = value >>> 0; i >= 0; i--, left >>>= 4) {
    const digit = left & 15
    target[at + i] = digit < 10 ? 0x30 + digit : 0x37 + digit
  }
}

/** @throws BrokerError ARGUMENT_INVALID */
export function parseOffsetMessageId(id: string): { host: Host; position: LogPosition } {
  if (!FORM.test(id)) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `${JSON.stringify(id.slice(0, 64))} is not a message id of 32 hex digits`,
    )
  }
  return {
    host: { ip: Number.parseInt(id.slice(0, 8), 16), port: Number.parseInt(id.slice(8, 16), 16) },
    position: logPosition(Number.parseInt(id.slice(16), 16)),
  }
}

export interface RecallHandle {
  readonly topic: string
  readonly brokerName: string
  /** When the message is due, epoch ms. */
  readonly dueMs: number
  /** The unique key of the message. */
  readonly messageId: string
}

/** Padded: Go's decoder wants that. */
export function encodeRecallHandle(handle: RecallHandle): string {
  const { topic, brokerName, dueMs, messageId } = handle
  const text = [HANDLE_VERSION, topic, brokerName, dueMs, messageId].join(' ')
  return Buffer.from(text).toString('base64').replaceAll('+', '-').replaceAll('/', '_')
}

/** undefined for what is none. */
export function decodeRecallHandle(text: string): RecallHandle | undefined {
  if (text.length > HANDLE_CHARS_MAX || !BASE64URL.test(text)) return undefined
  const [version, topic, brokerName, time, ...id] = Buffer.from(text, 'base64url')
    .toString()
    .split(' ')
  if (version !== HANDLE_VERSION || topic === undefined || brokerName === undefined)
    return undefined
  if (time === undefined || id.length === 0) return undefined
  const messageId = id.join(' ')
  return { topic, brokerName, dueMs: /^\d{1,15}$/.test(time) ? Number(time) : -1, messageId }
}
