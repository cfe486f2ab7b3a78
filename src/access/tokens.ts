// JSON Web Tokens (RFC 7519): whether one is to be believed, and which user it names. What that
// user may do stands with the users.
import type { CryptoKey, JWTHeaderParameters, JWTPayload } from 'jose'
import type { Clock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { JwtOptions } from './options.ts'
import type { TokenKey } from './secrets/token-keys.ts'

/** By algorithm the only kind of key that it is used with: a public key is no secret. */
const KINDS: Readonly<Record<string, Pick<TokenKey, 'kty' | 'crv'>>> = {
  HS256: { kty: 'oct' },
  RS256: { kty: 'RSA' },
  ES256: { kty: 'EC', crv: 'P-256' },
}
const TOKEN_CHARS_MAX = 8_192
/** How far the clocks of issuer and broker may be apart. */
const TOLERANCE_SECONDS = 30
/** Three parts of base64url, the first of them a JSON object. */
const TOKEN = /^eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/

/** Epoch ms from when on a token that was believed is so no longer. */
export function endOfToken(token: string): number {
  const payload = Buffer.from(token.split('.')[1]!, 'base64url').toString('utf8')
  const { exp } = JSON.parse(payload) as { readonly exp: number }
  return (exp + TOLERANCE_SECONDS) * 1000
}

export const isToken = (text: string): boolean => TOKEN.test(text)

export class Tokens {
  readonly #options: JwtOptions
  readonly #keys: { readonly current: readonly TokenKey[] }
  readonly #clock: Clock
  readonly #imported = new WeakMap<TokenKey, CryptoKey | Uint8Array>()

  constructor(options: JwtOptions, keys: { readonly current: readonly TokenKey[] }, clock: Clock) {
    this.#options = options
    this.#keys = keys
    this.#clock = clock
  }

  /** @throws BrokerError UNAUTHENTICATED with why it is not believed */
  async userOf(token: string): Promise<string> {
    if (token.length > TOKEN_CHARS_MAX) throw refused(`it is longer than ${TOKEN_CHARS_MAX}`)
    const { issuer, audience, userClaim } = this.#options
    // Loaded with the first token.
    const { jwtVerify } = await import('jose')
    let payload: JWTPayload
    try {
      const verified = await jwtVerify(token, (header) => this.#keyFor(header), {
        algorithms: Object.keys(KINDS),
        ...(issuer !== undefined && { issuer }),
        ...(audience !== undefined && { audience }),
        clockTolerance: TOLERANCE_SECONDS,
        currentDate: new Date(this.#clock.now()),
        requiredClaims: ['exp', userClaim],
      })
      payload = verified.payload
    } catch (error) {
      throw refused((error as Error).message)
    }
    const user = payload[userClaim]
    if (typeof user === 'string' && user !== '') return user
    throw refused(`its claim '${userClaim}' is no name`)
  }

  async #keyFor({ alg, kid }: JWTHeaderParameters): Promise<CryptoKey | Uint8Array> {
    const kind = Object.hasOwn(KINDS, alg) ? KINDS[alg] : undefined
    const fitting = this.#keys.current.filter(
      (key) =>
        key.kty === kind?.kty &&
        key.crv === kind.crv &&
        (kid === undefined || key.kid === kid) &&
        (key.alg === undefined || key.alg === alg) &&
        (key.use === undefined || key.use === 'sig'),
    )
    const [key, ...others] = fitting
    if (key === undefined) throw new Error('no key of jwt.keys is the one that it names')
    if (others.length > 0) throw new Error('several keys of jwt.keys fit, and it names none')
    const known = this.#imported.get(key)
    if (known !== undefined) return known
    const { importJWK } = await import('jose')
    const imported = await importJWK(key, alg)
    this.#imported.set(key, imported)
    return imported
  }
}

const refused = (why: string): BrokerError =>
  new BrokerError('UNAUTHENTICATED', `the token is refused: ${why}`)
