// Writes bodies so that every client reads them: standard JSON, compact, members without value left
// out; a Map with objects as keys becomes fastjson's `{{..}:..}`, the only form its readers take
// there.

import type { Slice } from '../../clock.ts'

export type JsonOut =
  | null
  | undefined
  | boolean
  | number
  | string
  | readonly JsonOut[]
  | ReadonlyMap<string | number | object, JsonOut>
  | { readonly [name: string]: JsonOut }

export function emitJson(value: JsonOut): string {
  if (value === null || value === undefined) return 'null'
  if (typeof value !== 'object') return JSON.stringify(value)
  if (isList(value)) return `[${value.map(emitJson).join(',')}]`
  const members: string[] = []
  const entries = isMap(value) ? value : Object.entries(value)
  for (const [key, member] of entries) {
    if (member === null || member === undefined) continue
    members.push(emitMember(key, member))
  }
  return `{${members.join(',')}}`
}

export const jsonBody = (value: JsonOut): Buffer => Buffer.from(emitJson(value), 'utf8')

/** Characters that are made bytes of together. */
const PIECE_CHARS_MIN = 64 * 1024

/**
 * A body with one list or table that may be large: `items`, joined by commas, between `open` and
 * `close`. Written in slices, so that the items are best made as they are asked for.
 */
export async function jsonBodyInSlices(
  open: string,
  items: Iterable<string>,
  close: string,
  slice: Slice,
): Promise<Buffer> {
  const pieces: Buffer[] = []
  let text = open
  let isFirst = true
  for (const item of items) {
    if (slice.isOver) await slice.rest()
    text += isFirst ? item : `,${item}`
    isFirst = false
    if (text.length < PIECE_CHARS_MIN) continue
    pieces.push(Buffer.from(text))
    text = ''
  }
  return Buffer.concat([...pieces, Buffer.from(text + close)])
}

export const emitMember = (key: string | number | object, value: JsonOut): string =>
  `${emitKey(key)}:${emitJson(value)}`

const isList = (value: JsonOut): value is readonly JsonOut[] => Array.isArray(value)
const isMap = (value: JsonOut): value is ReadonlyMap<string | number | object, JsonOut> =>
  value instanceof Map

const emitKey = (key: string | number | object): string =>
  typeof key === 'object' ? emitJson(key as JsonOut) : JSON.stringify(String(key))
