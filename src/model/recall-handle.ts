// The text by which a producer takes a delayed message back, as RocketMQ 5 writes it: base64url of
// `v1 topic broker time id`. Its clients read the broker's name and the id from it and hand it back
// as it is. Pure.
const VERSION = 'v1'
const CHARS_MAX = 2048
const BASE64URL = /^[A-Za-z0-9_-]*={0,2}$/

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
  const text = [VERSION, topic, brokerName, dueMs, messageId].join(' ')
  return Buffer.from(text).toString('base64').replaceAll('+', '-').replaceAll('/', '_')
}

/** undefined for what is none. */
export function decodeRecallHandle(text: string): RecallHandle | undefined {
  if (text.length > CHARS_MAX || !BASE64URL.test(text)) return undefined
  const [version, topic, brokerName, time, messageId] = Buffer.from(text, 'base64url')
    .toString()
    .split(' ')
  if (version !== VERSION || topic === undefined || brokerName === undefined) return undefined
  if (time === undefined || messageId === undefined) return undefined
  return { topic, brokerName, dueMs: /^\d{1,15}$/.test(time) ? Number(time) : -1, messageId }
}
