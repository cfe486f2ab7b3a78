// The server's side of one login by SCRAM-SHA-256 (RFC 5802, RFC 7677), whatever protocol carries
// its four messages. Without channel binding: a client that insists on it is refused.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { BrokerError } from '../errors.ts'
import type { Authenticator, Principal } from './auth.ts'
import { hmac, prepared, type ScramKeys } from './secrets/scram-keys.ts'

export const SCRAM_SHA_256 = 'SCRAM-SHA-256'

const NONCE_BYTES = 18
const MESSAGE_CHARS_MAX = 1_024
/** `n,a=user,` and what follows it; a client that could bind to the channel says `y`. */
const CLIENT_FIRST = /^([ny],(?:a=([^,]*))?,)(n=([^,]*),r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?)$/s
const CLIENT_FINAL =
  /^(c=([A-Za-z0-9+/=]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?),p=([A-Za-z0-9+/=]+)$/s

interface Begun {
  readonly user: string
  /** What of the client's first message tells of channel binding. */
  readonly header: string
  readonly nonce: string
  /** The first two messages as both ends sign them. */
  readonly signed: string
  readonly keys: ScramKeys
}

export interface ScramOutcome {
  readonly principal: Principal
  /** By which the client knows that this is a server that knows its password. */
  readonly serverFinal: Buffer
}

export class ScramLogin {
  readonly #auth: Authenticator
  readonly #address: string
  readonly #nonce: () => string
  #begun: Begun | undefined

  /** @param nonce of the server; fixed in tests alone */
  constructor(
    auth: Authenticator,
    address: string,
    nonce: () => string = () => randomBytes(NONCE_BYTES).toString('base64'),
  ) {
    this.#auth = auth
    this.#address = address
    this.#nonce = nonce
  }

  /** client-first to server-first. @throws BrokerError UNAUTHENTICATED */
  first(message: Buffer): Buffer {
    const [, header = '', actsFor, bare, name, clientNonce] = matched(CLIENT_FIRST, message)
    const user = nameOf(name ?? '')
    if (actsFor !== undefined && nameOf(actsFor) !== user) {
      throw refused('one user in the name of another')
    }
    const keys = this.#auth.scramKeys(user)
    const nonce = `${clientNonce}${this.#nonce()}`
    const answer = `r=${nonce},s=${keys.salt.toString('base64')},i=${keys.iterations}`
    this.#begun = { user, header, nonce, signed: `${bare},${answer}`, keys }
    return Buffer.from(answer)
  }

  /**
   * client-final to server-final. Rejects with UNAUTHENTICATED, never telling a wrong name from a
   * wrong password, with BUSY, or the signal's reason.
   */
  async final(message: Buffer, signal?: AbortSignal): Promise<ScramOutcome> {
    const begun = this.#begun
    this.#begun = undefined
    if (begun === undefined) throw refused('a last message without a first one')
    const [, unproved, binding, nonce, proof] = matched(CLIENT_FINAL, message)
    const { user, keys } = begun
    if (Buffer.from(binding!, 'base64').toString('latin1') !== begun.header) {
      throw refused('the channel binding of the two messages differs')
    }
    if (nonce !== begun.nonce) throw refused('the nonce is another one')
    const signed = `${begun.signed},${unproved}`
    const isRight = (): boolean => isProof(Buffer.from(proof!, 'base64'), signed, keys)
    const principal = await this.#auth.verifyProof(user, keys, isRight, this.#address, signal)
    const serverFinal = Buffer.from(`v=${hmac(keys.serverKey, signed).toString('base64')}`)
    return { principal, serverFinal }
  }
}

/** The proof is the client's key under a signature that the stored key makes. */
function isProof(proof: Buffer, signed: string, { storedKey }: ScramKeys): boolean {
  const signature = hmac(storedKey, signed)
  if (proof.length !== signature.length) return false
  const clientKey = Buffer.from(proof.map((byte, at) => byte ^ signature[at]!))
  return timingSafeEqual(createHash('sha256').update(clientKey).digest(), storedKey)
}

function matched(pattern: RegExp, message: Buffer): readonly (string | undefined)[] {
  const text = message.toString('utf8')
  const found = text.length > MESSAGE_CHARS_MAX ? null : pattern.exec(text)
  if (found !== null) return found
  throw refused('a malformed message, or one with channel binding')
}

/** RFC 5802, 5.1: a comma and an equals sign in a name are written as =2C and =3D. */
function nameOf(written: string): string {
  if (/=(?!2C|3D)/.test(written)) throw refused('a malformed user name')
  return prepared(written.replaceAll('=2C', ',').replaceAll('=3D', '='))
}

const refused = (text: string): BrokerError => new BrokerError('UNAUTHENTICATED', `SCRAM: ${text}`)
