// Writes bodies so that every client reads them: standard JSON, compact, members without value left out;
// a Map with objects as keys becomes fastjson's `{{..}:..}`, the only form its readers take there.

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
    members.push(`${emitKey(key)}:${emitJson(member)}`)
  }
  return `{${members.join(',')}}`
}

export const jsonBody = (value: JsonOut): Buffer => Buffer.from(emitJson(value), 'utf8')

const isList = (value: JsonOut): value is readonly JsonOut[] => Array.isArray(value)
const isMap = (value: JsonOut): value is ReadonlyMap<string | number | object, JsonOut> =>
  value instanceof Map

const emitKey = (key: string | number | object): string =>
  typeof key === 'object' ? emitJson(key as JsonOut) : JSON.stringify(String(key))
