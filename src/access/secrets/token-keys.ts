// The keys that tokens are signed with: a file with a JWK set (RFC 7517), read again when it
// changes.
import { readFileSync, statSync } from 'node:fs'
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'

export interface TokenKey {
  readonly kty: string
  readonly kid?: string
  readonly alg?: string
  readonly use?: string
  /** Of `oct`: the secret, in base64url. */
  readonly k?: string
  /** Of `EC`. */
  readonly crv?: string
}

/** A shorter secret can be guessed from one token (RFC 7518, 3.2). */
const SECRET_BYTES_MIN = 32
const KEYS_MAX = 100
const LOOK_MS = 1_000

export class TokenKeys {
  readonly #file: string
  readonly #clock: Clock
  readonly #log: Logger
  #keys: readonly TokenKey[]
  #seen: string
  #lookedMs: number

  /** @throws BrokerError CONFIG_INVALID */
  constructor(file: string, clock: Clock, log: Logger) {
    this.#file = file
    this.#clock = clock
    this.#log = log
    this.#seen = appearanceOf(file)
    this.#lookedMs = clock.monotonic()
    this.#keys = readKeys(file)
  }

  /** A file that is wrong changes nothing. */
  get current(): readonly TokenKey[] {
    const nowMs = this.#clock.monotonic()
    if (nowMs - this.#lookedMs < LOOK_MS) return this.#keys
    this.#lookedMs = nowMs
    const seen = appearanceOf(this.#file)
    if (seen === this.#seen) return this.#keys
    this.#seen = seen
    const fields = { evt: 'jwt.reload', file: this.#file }
    try {
      this.#keys = readKeys(this.#file)
      this.#log.info(fields, 'the keys of tokens were read again')
    } catch (error) {
      const { message } = BrokerError.from(error)
      const text = 'the keys of tokens cannot be read again; the ones before stay in use'
      this.#log.error({ ...fields, error: message }, text)
    }
    return this.#keys
  }
}

function appearanceOf(file: string): string {
  try {
    const { mtimeMs, size, ino } = statSync(file)
    return `${mtimeMs} ${size} ${ino}`
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

function readKeys(file: string): readonly TokenKey[] {
  const invalid = (what: string): BrokerError =>
    new BrokerError('CONFIG_INVALID', `jwt.keys: the file '${file}' ${what}`)
  let set: unknown
  try {
    set = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw invalid(code === undefined ? 'is not JSON' : `cannot be read (${code})`)
  }
  const keys = (set as { readonly keys?: unknown } | null)?.keys
  if (!Array.isArray(keys) || keys.length > KEYS_MAX) {
    throw invalid(`is no JWK set: {"keys": [...]}, with ${KEYS_MAX} keys at most`)
  }
  for (const key of keys as (TokenKey | null)[]) {
    if (typeof key?.kty !== 'string') throw invalid("has a key without 'kty'")
    const secret = typeof key.k === 'string' ? key.k : ''
    const isShort = Buffer.from(secret, 'base64url').length < SECRET_BYTES_MIN
    if (key.kty === 'oct' && isShort) {
      throw invalid(`has a secret of less than ${SECRET_BYTES_MIN} bytes`)
    }
  }
  return keys as readonly TokenKey[]
}
