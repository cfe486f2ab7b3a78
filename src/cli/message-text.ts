// A message for people (one line) and for programs (one object with stable names).
import { isUtf8 } from 'node:buffer'
import type { ShownMessage } from './wire/leg.ts'
import { visible } from './words.ts'

const bufferOf = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength)

/** A body that is no text is given in base64, under another name. */
export function messageJson(
  message: ShownMessage,
  details: Readonly<Record<string, string | number | boolean>>,
): Readonly<Record<string, unknown>> {
  const { topic, tag, keys, orderingKey, properties, body } = message
  const content = isUtf8(body)
    ? { body: bufferOf(body).toString() }
    : { bodyBase64: bufferOf(body).toString('base64') }
  return { topic, tag, keys, orderingKey, properties, ...content, ...details }
}

/** 'orders tag=paid keys=a,b source=web  hello', and behind the topic (retained) if it is. */
export function messageLine(message: ShownMessage): string {
  const { topic, tag, keys, orderingKey, properties, body, isRetained } = message
  const head = [topic]
  if (isRetained === true) head.push('(retained)')
  if (tag !== undefined) head.push(`tag=${tag}`)
  if (keys.length > 0) head.push(`keys=${keys.join(',')}`)
  if (orderingKey !== undefined) head.push(`ordering-key=${orderingKey}`)
  for (const [name, value] of Object.entries(properties)) head.push(`${name}=${value}`)
  const shown = isUtf8(body) ? bufferOf(body).toString() : `<${body.length} bytes>`
  return visible(`${head.join(' ')}  ${shown}`)
}
