// The JSON header codec: `{"code":..,"extFields":{..},"flag":..,"language":"..","opaque":..,...}`.
// Written as Java writes it (members in alphabetical order, field values always strings, nothing null),
// read as loosely as clients write: numbers and booleans among the field values, unknown members.
import { isUtf8 } from 'node:buffer'
import { LANGUAGE_DEFAULT } from './codes.ts'
import type { Header } from './command.ts'
import { protocolError } from './protocol-error.ts'

/** @throws BrokerError PROTOCOL_ERROR */
export function decodeJsonHeader(bytes: Buffer, start: number, end: number): Header {
  if (!isUtf8(bytes.subarray(start, end))) throw protocolError('a JSON header is not UTF-8')
  let parsed: unknown
  try {
    parsed = JSON.parse(bytes.utf8Slice(start, end))
  } catch (cause) {
    throw protocolError(`a header is not JSON: ${String((cause as Error).message).slice(0, 120)}`)
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw protocolError('a JSON header is not an object')
  }
  const members = new Map<string, unknown>(Object.entries(parsed))
  const language = members.get('language')
  const remark = members.get('remark')
  return {
    code: integer(members, 'code'),
    language: typeof language === 'string' ? language : LANGUAGE_DEFAULT,
    version: integer(members, 'version', 0),
    opaque: integer(members, 'opaque', 0),
    flag: integer(members, 'flag', 0),
    remark: typeof remark === 'string' && remark !== '' ? remark : undefined,
    fields: fieldsOf(members.get('extFields')),
  }
}

function integer(members: Map<string, unknown>, name: string, absent?: number): number {
  const value = members.get(name) ?? absent
  if (typeof value !== 'number' || !Number.isInteger(value) || (value | 0) !== value) {
    throw protocolError(`a header's '${name}' is no 32-bit integer`)
  }
  return value
}

function fieldsOf(value: unknown): Map<string, string> {
  const fields = new Map<string, string>()
  if (value === undefined || value === null) return fields
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw protocolError("a header's 'extFields' is not an object")
  }
  for (const [name, field] of Object.entries(value)) {
    if (field === null) continue
    if (typeof field === 'object') throw protocolError("a header's field is not a scalar")
    fields.set(name, String(field))
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
