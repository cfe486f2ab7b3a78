// The JSON header codec: `{"code":..,"extFields":{..},"flag":..,"language":"..","opaque":..,...}`.
// Written as Java writes it (members in alphabetical order, field values always strings, nothing
// null), read as loosely as clients write, and as Apache's brokers take it: numbers and booleans
// among the field values, numbers in quotes, single quotes, unknown members, and bytes that are no
// UTF-8 (each reads as U+FFFD, as in Java).
import { LANGUAGE_DEFAULT } from '../codes.ts'
import { parseJson } from '../json/json.ts'
import { protocolError } from '../protocol-error.ts'
import type { Header } from './header.ts'

/** @throws BrokerError PROTOCOL_ERROR */
export function decodeJsonHeader(bytes: Buffer, start: number, end: number): Header {
  const members = membersOf(bytes.utf8Slice(start, end))
  const language = members.get('language')
  const remark = members.get('remark')
  return {
    code: integer(members, 'code', 0),
    language: typeof language === 'string' ? language : LANGUAGE_DEFAULT,
    version: integer(members, 'version', 0),
    opaque: integer(members, 'opaque', 0),
    flag: integer(members, 'flag', 0),
    remark: typeof remark === 'string' && remark !== '' ? remark : undefined,
    fields: fieldsOf(members.get('extFields')),
  }
}

function membersOf(text: string): ReadonlyMap<unknown, unknown> {
  const parsed = parsedHeader(text)
  const members = entriesOf(parsed)
  if (members === undefined) throw protocolError('a JSON header is not an object')
  return new Map(members)
}

function parsedHeader(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The dialect of fastjson, which is rarer and takes longer.
  }
  try {
    return parseJson(text)
  } catch (cause) {
    throw protocolError(`a header is not JSON: ${String((cause as Error).message).slice(0, 120)}`)
  }
}

function entriesOf(value: unknown): Iterable<[unknown, unknown]> | undefined {
  if (value instanceof Map) return value
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return Object.entries(value)
}

const INTEGER = /^-?\d{1,10}$/

function integer(members: ReadonlyMap<unknown, unknown>, name: string, absent: number): number {
  const given = members.get(name) ?? absent
  const value = typeof given === 'string' && INTEGER.test(given) ? Number(given) : given
  if (typeof value !== 'number' || (value | 0) !== value) {
    throw protocolError(`a header's '${name}' is no 32-bit integer`)
  }
  return value
}

function fieldsOf(value: unknown): Map<string, string> {
  const fields = new Map<string, string>()
  if (value === undefined || value === null) return fields
  const entries = entriesOf(value)
  if (entries === undefined) throw protocolError("a header's 'extFields' is not an object")
  for (const [name, field] of entries) {
    if (field === null) continue
    if (typeof field === 'object') throw protocolError("a header's field is not a scalar")
    fields.set(String(name), String(field))
  }
  return fields
}

export function encodeJsonHeader(header: Header): Buffer {
  let fields = ''
  for (const [name, value] of header.fields) {
    fields += `${fields === '' ? '' : ','}${JSON.stringify(name)}:${JSON.stringify(value)}`
  }
  const remark = header.remark === undefined ? '' : `"remark":${JSON.stringify(header.remark)},`
  return Buffer.from(
    `{"code":${header.code},"extFields":{${fields}},"flag":${header.flag},` +
      `"language":"${header.language}","opaque":${header.opaque},${remark}` +
      `"serializeTypeCurrentRPC":"JSON","version":${header.version}}`,
    'utf8',
  )
}
