// Reading members of a parsed body as loosely as Java does: a missing member takes its default, a
// number may come as text. Only a body of the wrong kind altogether is refused.

import { invalidRequest } from '../protocol-error.ts'
import { type Json, type JsonMap, parseJson } from './json.ts'

/** The body's object. @throws BrokerError ARGUMENT_INVALID */
export function parseObject(body: Buffer): JsonMap {
  return wholeObject(parseJson(body.toString('utf8')))
}

/** The body as an object. @throws BrokerError ARGUMENT_INVALID when it is something else */
export function wholeObject(value: Json): JsonMap {
  if (!(value instanceof Map)) throw invalidRequest('the body is no JSON object')
  return value
}

export const asObject = (value: Json | undefined): JsonMap =>
  value instanceof Map ? value : new Map()

export const objectAt = (map: JsonMap, name: string): JsonMap => asObject(map.get(name))

export function listAt(map: JsonMap, name: string): readonly Json[] {
  const value = map.get(name)
  return Array.isArray(value) ? value : []
}

export const objectsAt = (map: JsonMap, name: string): readonly JsonMap[] =>
  listAt(map, name).map(asObject)

export const textOf = (value: Json | undefined): string =>
  typeof value === 'string' || typeof value === 'number' ? String(value) : ''

export function numberOf(value: Json | undefined, absent: number): number {
  const number = typeof value === 'string' && value !== '' ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) ? number : absent
}

export const flagOf = (value: Json | undefined, absent: boolean): boolean =>
  value === undefined || value === null ? absent : value === true || value === 'true'

export const textAt = (map: JsonMap, name: string): string => textOf(map.get(name))

export const numberAt = (map: JsonMap, name: string, absent = 0): number =>
  numberOf(map.get(name), absent)

export const flagAt = (map: JsonMap, name: string, absent = false): boolean =>
  flagOf(map.get(name), absent)

/** Entries of a map with text keys; other keys are skipped. */
export function* entriesAt(map: JsonMap, name: string): Generator<readonly [string, Json]> {
  for (const [key, value] of objectAt(map, name)) {
    if (typeof key === 'string') yield [key, value]
  }
}
