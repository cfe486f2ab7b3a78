// A login by AUTH packets (MQTT 5, 4.12): between CONNECT and CONNACK, and later that of a client
// that is connected and proves its user anew. The methods are SCRAM-SHA-256, whose proof answers a
// challenge, and OAUTH2-JWT, which has the token in CONNECT already.

import type { Authenticator, Principal } from '../../access/auth.ts'
import { SCRAM_SHA_256, ScramLogin } from '../../access/scram.ts'
import { BrokerError } from '../../errors.ts'
import { AUTH_REASON, decodeAuth, encodeAuth } from './packets/auth-packet.ts'
import type { Properties } from './packets/properties.ts'
import { ProtocolError, REASON, violation } from './packets/protocol.ts'

/** As Azure Event Grid names it, and so clients that renew their tokens know it. */
const OAUTH2_JWT = 'OAUTH2-JWT'

/** A client that has proved its user. */
export interface Extended {
  readonly principal: Principal
  readonly authMethod: string
  /** By which the server proves itself, for CONNACK or the last AUTH. */
  readonly authData?: Buffer | undefined
  /** Epoch ms: the end of the token by which it did. */
  readonly endsMs?: number | undefined
}

export interface ExtendedLogin {
  readonly method: string
  /**
   * @returns the AUTH that asks for the proof; undefined: what was given is the proof, for `end`
   * @throws BrokerError UNAUTHENTICATED
   */
  begin(given: Properties): Buffer | undefined
  /** Rejects with UNAUTHENTICATED, BUSY, or the signal's reason. */
  end(proof: Properties, signal?: AbortSignal): Promise<Extended>
}

/** @throws ProtocolError for another method (4.12, MQTT-4.12.0-1) */
export function extendedLogin(auth: Authenticator, method: string, address: string): ExtendedLogin {
  if (auth.anonymousAllowed) {
    const text = 'this broker has no users, so there is nothing to prove'
    throw new ProtocolError(REASON.badAuthMethod, text)
  }
  if (method === SCRAM_SHA_256) return new ScramAuth(auth, address)
  if (method === OAUTH2_JWT) return new TokenAuth(auth, address)
  const text = `the authentication method is not offered; ${SCRAM_SHA_256} and ${OAUTH2_JWT} are`
  throw new ProtocolError(REASON.badAuthMethod, text)
}

class ScramAuth implements ExtendedLogin {
  readonly method = SCRAM_SHA_256
  readonly #auth: Authenticator
  readonly #address: string
  #login: ScramLogin | undefined

  constructor(auth: Authenticator, address: string) {
    this.#auth = auth
    this.#address = address
  }

  begin({ authData }: Properties): Buffer {
    this.#login = new ScramLogin(this.#auth, this.#address)
    const challenge = this.#login.first(authData ?? NOTHING)
    return encodeAuth(AUTH_REASON.continue, this.method, challenge)
  }

  async end({ authData }: Properties, signal?: AbortSignal): Promise<Extended> {
    const login = this.#login
    this.#login = undefined
    if (login === undefined) throw violation('AUTH goes on with what has not begun')
    const { principal, serverFinal } = await login.final(authData ?? NOTHING, signal)
    return { principal, authMethod: this.method, authData: serverFinal }
  }
}

class TokenAuth implements ExtendedLogin {
  readonly method = OAUTH2_JWT
  readonly #auth: Authenticator
  readonly #address: string
  #hasBegun = false

  constructor(auth: Authenticator, address: string) {
    this.#auth = auth
    this.#address = address
  }

  begin(): undefined {
    this.#hasBegun = true
  }

  async end({ authData }: Properties, signal?: AbortSignal): Promise<Extended> {
    if (!this.#hasBegun) throw violation('AUTH goes on with what has not begun')
    this.#hasBegun = false
    const token = (authData ?? NOTHING).toString()
    const principal = await this.#auth.verifyToken(token, this.#address, signal)
    return { principal, authMethod: this.method, endsMs: this.#auth.endOf(token) }
  }
}

/** The AUTH that answers a challenge. @throws ProtocolError */
export function proofOf(bytes: Buffer, start: number, end: number, method: string): Properties {
  const { reason, properties } = decodeAuth(bytes, start, end)
  if (reason !== AUTH_REASON.continue) throw violation('AUTH does not go on with the login')
  checkMethod(properties, method)
  // It is looked at when the chunk is gone.
  return { ...properties, authData: Buffer.from(properties.authData ?? NOTHING) }
}

/** @throws ProtocolError (MQTT-4.12.0-5) */
export function checkMethod({ authMethod }: Properties, method: string): void {
  if (authMethod === method) return
  throw violation('AUTH has another authentication method than CONNECT')
}

/** The user name of CONNECT is not proved, so it may be no other. */
export function checkSameUser(username: string | undefined, { name }: Principal): void {
  if (username === undefined || username === name) return
  throw new BrokerError('UNAUTHENTICATED', 'the user name of CONNECT is not the one that logs in')
}

const NOTHING = Buffer.alloc(0)
