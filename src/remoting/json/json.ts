// The JSON dialect of bodies, as Java's fastjson writes it: besides JSON itself unquoted keys
// (`{0:"a"}`), single quotes, objects as keys (`{{"topic":"T"}:5}`) and references
// (`{"$ref":"$.a"}`). Objects become Maps, because their keys come from the wire.
import type { Slice } from '../../clock.ts'
import { invalidRequest } from '../protocol-error.ts'

export type JsonKey = string | JsonMap
export type JsonMap = Map<JsonKey, Json>
export type Json = null | boolean | number | string | Json[] | JsonMap

const DEPTH_MAX = 64
/**
 * Values of one body, keys that are objects among them: an empty object costs its sender three
 * bytes and us two hundred. Registrations are the largest bodies; each topic has nine values, and
 * 16 MiB hold about 60,000 topics.
 */
const VALUES_MAX = 600_000
/** V8 copies what is shorter out of a longer string by itself. */
const SLICE_CHARS_MIN = 13
/** Code of the last character that counts as white. */
const SPACE = 32
const BARE = /[\w$.+-]+/y
const NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?[LlFfDdBS]?$/

/** @throws BrokerError ARGUMENT_INVALID */
export function parseJson(text: string): Json {
  const parser = new Parser(text)
  while (!parser.step());
  return parser.result()
}

/** The same of a text that may be large. @throws BrokerError ARGUMENT_INVALID */
export async function parseJsonInSlices(text: string, slice: Slice): Promise<Json> {
  const parser = new Parser(text)
  while (!parser.step()) if (slice.isOver) await slice.rest()
  return parser.result()
}

/** An array or object that is not whole yet. */
interface Open {
  readonly list: Json[] | undefined
  readonly map: JsonMap
  /** Of the member whose value is due. */
  key: JsonKey
  /** It is itself the key of the one around it. */
  readonly isKey: boolean
}

const NO_MEMBERS: JsonMap = new Map()

class Parser {
  readonly #text: string
  /** The innermost last. */
  readonly #open: Open[] = []
  #at = 0
  /** The next backslash from `#at` on, once looked for; behind the text there is none. */
  #escapeAt = -1
  #values = 0
  #root: Json | undefined
  #hasReferences = false

  constructor(text: string) {
    this.#text = text
  }

  /** Reads one value, or one key and its value. True: that was the last. */
  step(): boolean {
    const top = this.#open.at(-1)
    if (top === undefined) this.#value()
    else if (top.list !== undefined) {
      if (this.#peek() === ']') this.#close()
      else this.#value()
    } else if (this.#peek() === '}') this.#close()
    else if (this.#key(top)) this.#value()
    return this.#open.length === 0
  }

  result(): Json {
    if (this.#peek() !== '') throw this.#error('text after the value')
    const root = this.#root!
    return this.#hasReferences ? resolveReferences(root, root, []) : root
  }

  #value(): void {
    const c = this.#peek()
    this.#checkDepth()
    this.#count()
    if (c === '{' || c === '[') this.#begin(c, false)
    else if (c === '"' || c === "'") this.#place(this.#string(c))
    else {
      const scalar = scalarOf(this.#bare())
      if (scalar === undefined) throw this.#error('an unknown word')
      this.#place(scalar)
    }
  }

  /** False: the key is an object, which comes first. */
  #key(top: Open): boolean {
    const c = this.#peek()
    if (c === '{') {
      this.#checkDepth()
      this.#count()
      this.#begin(c, true)
      return false
    }
    top.key = c === '"' || c === "'" ? this.#string(c) : this.#bare()
    this.#expect(':')
    return true
  }

  #begin(c: '{' | '[', isKey: boolean): void {
    this.#at++
    const isList = c === '['
    const map = isList ? NO_MEMBERS : new Map()
    this.#open.push({ list: isList ? [] : undefined, map, key: '', isKey })
  }

  /** A whole value into what is open. */
  #place(value: Json): void {
    const top = this.#open.at(-1)
    if (top === undefined) {
      this.#root = value
      return
    }
    if (top.list !== undefined) top.list.push(value)
    else {
      top.map.set(top.key, value)
      if (top.key === '$ref') this.#hasReferences = true
    }
    if (this.#peek() === ',') this.#at++
    else this.#close()
  }

  #close(): void {
    const { list, map, isKey } = this.#open.at(-1)!
    this.#expect(list === undefined ? '}' : ']')
    this.#open.pop()
    if (!isKey) {
      this.#place(list ?? map)
      return
    }
    this.#open.at(-1)!.key = map
    this.#expect(':')
    this.#value()
  }

  #checkDepth(): void {
    if (this.#open.length > DEPTH_MAX) throw this.#error(`nesting deeper than ${DEPTH_MAX}`)
  }

  #string(quote: string): string {
    let from = ++this.#at
    let out = ''
    let end = -1
    for (;;) {
      if (end < this.#at) end = this.#text.indexOf(quote, this.#at)
      if (end === -1) throw this.#error('a string without end')
      if (this.#escapeAt < this.#at) this.#findEscape()
      if (end < this.#escapeAt) {
        this.#at = end
        break
      }
      this.#at = this.#escapeAt
      out += this.#text.slice(from, this.#at) + this.#escape()
      from = this.#at
    }
    out += this.#text.slice(from, this.#at)
    this.#at++
    return ownText(out)
  }

  #findEscape(): void {
    const at = this.#text.indexOf('\\', this.#at)
    this.#escapeAt = at === -1 ? this.#text.length : at
  }

  #count(): void {
    if (++this.#values > VALUES_MAX) throw this.#error(`more than ${VALUES_MAX} values`)
  }

  /** Stands on the backslash, ends behind the escape. */
  #escape(): string {
    const c = this.#text[this.#at + 1] ?? ''
    const digits = c === 'u' ? 4 : c === 'x' ? 2 : 0
    if (digits > 0) {
      const hex = this.#text.slice(this.#at + 2, this.#at + 2 + digits)
      if (hex.length < digits || !/^[0-9a-fA-F]+$/.test(hex)) throw this.#error('a bad escape')
      this.#at += 2 + digits
      return String.fromCharCode(Number.parseInt(hex, 16))
    }
    this.#at += 2
    return ESCAPES.get(c) ?? c
  }

  #bare(): string {
    BARE.lastIndex = this.#at
    const word = BARE.exec(this.#text)?.[0]
    if (word === undefined) throw this.#error('a value is due')
    this.#at += word.length
    return ownText(word)
  }

  #peek(): string {
    while (this.#text.charCodeAt(this.#at) <= SPACE) this.#at++
    return this.#text[this.#at] ?? ''
  }

  #expect(c: string): void {
    if (this.#peek() !== c) throw this.#error(`'${c}' is due`)
    this.#at++
  }

  #error(what: string): Error {
    return invalidRequest(`the body is not JSON: ${what} at character ${this.#at}`)
  }
}

/** A slice would keep the whole body in memory for as long as one name of it is remembered. */
const ownText = (slice: string): string =>
  slice.length < SLICE_CHARS_MIN ? slice : ` ${slice}`.slice(1)

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
  ['0', '\0'],
])

const WORDS: ReadonlyMap<string, Json> = new Map<string, Json>([
  ['true', true],
  ['false', false],
  ['null', null],
  ['NaN', null],
])

function scalarOf(word: string): Json | undefined {
  const known = WORDS.get(word)
  if (known !== undefined) return known
  return NUMBER.test(word) ? Number.parseFloat(word) : undefined
}

/** Replaces `{"$ref": path}` by what the path names: `$` the root, `@` this, `..` the parent. */
function resolveReferences(value: Json, root: Json, parents: readonly Json[]): Json {
  if (Array.isArray(value)) {
    const inner = [...parents, value]
    for (const [i, item] of value.entries()) value[i] = resolveReferences(item, root, inner)
    return value
  }
  if (!(value instanceof Map)) return value
  const path = value.get('$ref')
  if (value.size === 1 && typeof path === 'string') return follow(path, root, parents)
  const inner = [...parents, value]
  for (const [key, member] of value) value.set(key, resolveReferences(member, root, inner))
  return value
}

function follow(path: string, root: Json, parents: readonly Json[]): Json {
  if (path === '@') return parents.at(-1) ?? null
  if (path === '..') return parents.at(-2) ?? null
  let at: Json | undefined = root
  for (const [, name, index] of path.slice(1).matchAll(/\.([^.[\]]+)|\[([^\]]+)\]/g)) {
    const step: string = name ?? index!.replace(/^["']|["']$/g, '')
    if (Array.isArray(at)) at = at[Number(step)]
    else at = at instanceof Map ? at.get(step) : undefined
  }
  return at ?? null
}
