// A strict schema as a flat list of settings, each with one name in every layer: key path in the
// file, environment variable, flag. Layers them and remembers where each value came from. Knows no
// single setting: those are declared in config.ts. Of zod it has the types alone, for commands that
// take no settings load this file.
import type { z } from 'zod'
import { didYouMean, nearest } from './did-you-mean.ts'
import { BrokerError } from './errors.ts'

/** One leaf of the schema. What its JSON Schema says is made when it is asked for: few are. */
export interface Setting {
  /** 'mqtt.connectionsMax', as in the file. */
  readonly name: string
  readonly path: readonly string[]
  /** 'TRIVET_MQTT__CONNECTIONS_MAX' */
  readonly env: string
  /** 'mqtt.connections-max', without the dashes. */
  readonly flag: string
  /** On or off: as a flag it needs no value. Told without making the schema. */
  readonly isSwitch: boolean
  /** JSON Schema of the value: types, bounds, choices. */
  readonly schema: JsonSchema
  readonly description: string
  readonly default: unknown
}

export interface JsonSchema {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly secret?: boolean
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly anyOf?: readonly JsonSchema[]
  readonly items?: JsonSchema
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly additionalProperties?: boolean | JsonSchema
}

/**
 * Where a value came from, in words: 'default', 'trivet.json', 'TRIVET_MQTT__PORT', '--mqtt.port'.
 */
export type Origin = string

/** A schema, as what is given is held against it. */
export interface Declaration<S extends z.ZodType> {
  readonly schema: S
  readonly settings: readonly Setting[]
  readonly jsonSchema: () => JsonSchema
}

export interface Layers {
  readonly file?: { readonly name: string; readonly content: unknown } | undefined
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Flag names without dashes; a bare boolean flag is 'true'. */
  readonly flags?: ReadonlyMap<string, string>
}

export interface Layered<T> {
  readonly values: T
  readonly origins: ReadonlyMap<string, Origin>
}

const ENV_PREFIX = 'TRIVET_'
/** Names the file itself, so it is no setting. */
export const CONFIG_FILE_ENV = 'TRIVET_CONFIG'
/** The address and user of a cluster for commands; a server started beside them lets them pass. */
export const NAME_SERVERS_ENV = 'TRIVET_NAME_SERVERS'
export const ACCESS_KEY_ENV = 'TRIVET_ACCESS_KEY'
export const SECRET_KEY_ENV = 'TRIVET_SECRET_KEY'
/** For the protocols that take a password instead of a signature. */
export const PASSWORD_ENV = 'TRIVET_PASSWORD'
const NO_SETTINGS: ReadonlySet<string> = new Set([
  CONFIG_FILE_ENV,
  NAME_SERVERS_ENV,
  ACCESS_KEY_ENV,
  SECRET_KEY_ENV,
  PASSWORD_ENV,
])

const snake = (word: string): string => word.replace(/([A-Z])/g, '_$1').toUpperCase()
const kebab = (word: string): string => word.replace(/([A-Z])/g, '-$1').toLowerCase()

export function settingsOf(root: JsonSchema): readonly Setting[] {
  const settings: Setting[] = []
  const visit = (node: JsonSchema, path: readonly string[]): void => {
    for (const [key, child] of Object.entries(node.properties ?? {})) {
      if (key.startsWith('$')) continue
      const at = [...path, key]
      if (child.properties !== undefined) {
        visit(child, at)
        continue
      }
      settings.push(settingAt(at, child.type === 'boolean', () => child))
    }
  }
  visit(root, [])
  return settings
}

export const settingAt = (
  path: readonly string[],
  isSwitch: boolean,
  schema: () => JsonSchema,
): Setting => ({
  isSwitch,
  name: path.join('.'),
  path,
  env: ENV_PREFIX + path.map(snake).join('__'),
  flag: path.map(kebab).join('.'),
  get schema() {
    return schema()
  },
  get description() {
    return schema().description ?? ''
  },
  get default() {
    return schema().default
  },
})

/**
 * @throws BrokerError CONFIG_INVALID naming every bad value, where it came from and what would do
 */
export function layer<S extends z.ZodType>(
  { schema, settings, jsonSchema }: Declaration<S>,
  layers: Layers,
): Layered<z.output<S>> {
  const problems: string[] = []
  const origins = new Map<string, Origin>()
  const tree = startTree(layers.file, problems)
  for (const setting of settings) {
    const fromFile = hasPath(tree, setting.path)
    origins.set(setting.name, fromFile && layers.file ? layers.file.name : 'default')
  }
  for (const [setting, text, origin] of overrides(settings, layers, problems)) {
    origins.set(setting.name, origin)
    setPath(tree, setting.path, coerce(text, setting.schema))
  }
  const parsed = schema.safeParse(tree)
  if (!parsed.success) {
    for (const issue of parsed.error.issues)
      problems.push(...explain(issue, jsonSchema(), origins, layers.file?.name))
  }
  if (problems.length > 0 || !parsed.success) {
    throw new BrokerError(
      'CONFIG_INVALID',
      `the configuration is not valid:\n${problems.map((line) => `  - ${line}`).join('\n')}`,
    )
  }
  return { values: deepFreeze(parsed.data), origins }
}

type Tree = Record<string, unknown>

const isTree = (value: unknown): value is Tree =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function startTree(file: Layers['file'], problems: string[]): Tree {
  if (file === undefined) return {}
  if (!isTree(file.content)) {
    problems.push(`${file.name} must hold one JSON object`)
    return {}
  }
  return structuredClone(file.content)
}

function* overrides(
  settings: readonly Setting[],
  layers: Layers,
  problems: string[],
): Iterable<readonly [Setting, string, Origin]> {
  const byEnv = new Map(settings.map((setting) => [setting.env, setting]))
  for (const [name, text] of Object.entries(layers.env ?? {})) {
    if (!name.startsWith(ENV_PREFIX) || NO_SETTINGS.has(name) || text === undefined) continue
    const setting = byEnv.get(name)
    if (setting) yield [setting, text, name]
    else problems.push(`${name} is no setting${didYouMean(name, byEnv.keys())}`)
  }
  const byFlag = new Map(settings.map((setting) => [setting.flag, setting]))
  for (const [name, text] of layers.flags ?? []) {
    const setting = byFlag.get(name)
    if (setting) yield [setting, text, `--${name}`]
    else problems.push(`--${name} is no setting${didYouMean(name, byFlag.keys())}`)
  }
}

function hasPath(tree: Tree, path: readonly string[]): boolean {
  let at: unknown = tree
  for (const key of path) {
    if (!isTree(at) || !Object.hasOwn(at, key)) return false
    at = at[key]
  }
  return true
}

/** The path comes from the schema, never from a user. */
function setPath(tree: Tree, path: readonly string[], value: unknown): void {
  let at = tree
  for (const key of path.slice(0, -1)) {
    // A wrong type in the file is reported by the schema only if it is left alone.
    const below = Object.hasOwn(at, key) ? at[key] : undefined
    if (below === undefined) at[key] = {}
    else if (!isTree(below)) return
    at = at[key] as Tree
  }
  at[path.at(-1)!] = value
}

/** Text of a flag or variable as the type that the schema wants; left as text when it is none. */
function coerce(text: string, schema: JsonSchema): unknown {
  const types = (schema.anyOf ?? [schema]).map((one) => one.type)
  if (types.includes('boolean') && (text === 'true' || text === 'false')) return text === 'true'
  const isNumeric = types.includes('integer') || types.includes('number')
  if (isNumeric && /^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  if (types.includes('array') && !text.startsWith('[')) {
    return text === '' ? [] : text.split(',').map((item) => item.trim())
  }
  if (types.includes('object') || types.includes('array')) {
    try {
      return JSON.parse(text)
    } catch {
      return text
    }
  }
  return text
}

function explain(
  issue: z.core.$ZodIssue,
  root: JsonSchema,
  origins: ReadonlyMap<string, Origin>,
  file: string | undefined,
): string[] {
  const path = issue.path.map(String)
  const name = path.join('.')
  // A path that is no setting of its own can only stand in the file.
  const origin = originOf(path, origins) ?? file
  const where = origin === undefined || origin === 'default' ? '' : ` (from ${origin})`
  if (issue.code === 'unrecognized_keys') {
    const siblings = Object.keys(schemaAt(root, path)?.properties ?? {})
    return issue.keys.map((key) => {
      const near = nearest(key, siblings)
      const hint = near === undefined ? '' : ` (did you mean '${[...path, near].join('.')}'?)`
      return `'${[...path, key].join('.')}'${where} is no setting${hint}`
    })
  }
  // A rule of ours says itself what would do.
  const isOurs = issue.code === 'custom' || issue.code === 'invalid_format'
  const hint = isOurs ? '' : accepted(schemaAt(root, path))
  return [`'${name}'${where}: ${issue.message}${hint}`]
}

function originOf(
  path: readonly string[],
  origins: ReadonlyMap<string, Origin>,
): Origin | undefined {
  for (let length = path.length; length > 0; length--) {
    const origin = origins.get(path.slice(0, length).join('.'))
    if (origin !== undefined) return origin
  }
  return undefined
}

function schemaAt(root: JsonSchema, path: readonly string[]): JsonSchema | undefined {
  let at: JsonSchema | undefined = root
  for (const key of path) {
    if (at === undefined) return undefined
    const below: JsonSchema | boolean | undefined =
      at.properties?.[key] ?? at.items ?? at.additionalProperties
    at = typeof below === 'object' ? below : undefined
  }
  return at
}

function accepted(schema: JsonSchema | undefined): string {
  const words = schema && typeWords(schema)
  return words ? `; write ${words}` : ''
}

/** A type for people: 'a whole number, 0 to 65535', "'sync' or 'async'". */
export function typeWords(schema: JsonSchema): string {
  if (schema.anyOf) return schema.anyOf.map(typeWords).join(', or ')
  if (schema.const !== undefined) return `'${String(schema.const)}'`
  if (schema.enum) return schema.enum.map((one) => `'${String(one)}'`).join(' or ')
  const range = rangeWords(schema)
  switch (schema.type) {
    case 'boolean':
      return 'true or false'
    case 'integer':
      return `a whole number${range}`
    case 'number':
      return `a number${range}`
    case 'array':
      return `a list${schema.items ? ` of ${schema.items.type ?? 'value'}s` : ''}`
    case 'object':
      return 'an object'
    default:
      return 'text'
  }
}

function rangeWords(schema: JsonSchema): string {
  const low = schema.minimum
  // JSON Schema of zod bounds every integer by what a double holds.
  const high = schema.maximum === Number.MAX_SAFE_INTEGER ? undefined : schema.maximum
  if (low !== undefined && low > Number.MIN_SAFE_INTEGER) {
    return high === undefined ? `, ${low} or more` : `, ${low} to ${high}`
  }
  return high === undefined ? '' : `, ${high} at most`
}

/** The value with every part that the schema calls secret replaced. */
export function redact(value: unknown, schema: JsonSchema | undefined): unknown {
  if (schema?.secret && value !== undefined) return '(hidden)'
  if (!isTree(value)) return value
  const shown = new Map<string, unknown>()
  for (const [key, child] of Object.entries(value)) {
    const below = schema?.properties?.[key] ?? schema?.additionalProperties
    shown.set(key, redact(child, typeof below === 'object' ? below : undefined))
  }
  return Object.fromEntries(shown)
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const child of Object.values(value)) deepFreeze(child)
  }
  return value
}
