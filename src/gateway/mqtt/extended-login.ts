// A login by AUTH packets (MQTT 5, 4.12): between CONNECT and CONNACK, and later that of a client
// that is connected and proves its user anew. The method is SCRAM-SHA-256.

import type { Authenticator, Principal } from '../../access/auth.ts'
import { SCRAM_SHA_256, ScramLogin } from '../../access/scram.ts'
import { BrokerError } from '../../errors.ts'
import { AUTH_REASON, decodeAuth, encodeAuth } from './packets/auth-packet.ts'
import type { Properties } from './packets/properties.ts'
import { ProtocolError, REASON, violation } from './packets/protocol.ts'

/** A client that has proved its user. */
export interface Extended {
  readonly principal: Principal
  /** By which the server proves itself, for CONNACK or the last AUTH. */
  readonly authMethod: string
  readonly authData: Buffer
}

export class ExtendedLogin {
  readonly #auth: Authenticator
  readonly #address: string
  #login: ScramLogin | undefined

  /** @throws ProtocolError for another method (4.12, MQTT-4.12.0-1) */
  constructor(auth: Authenticator, method: string, address: string) {
    if (method !== SCRAM_SHA_256 || auth.anonymousAllowed) {
      const text = auth.anonymousAllowed
        ? 'this broker has no users, so there is nothing to prove'
        : `the authentication method is not offered; ${SCRAM_SHA_256} is`
      throw new ProtocolError(REASON.badAuthMethod, text)
    }
    this.#auth = auth
    this.#address = address
  }

  /** @returns the AUTH that asks for the proof. @throws BrokerError UNAUTHENTICATED */
  begin({ authData }: Properties): Buffer {
    this.#login = new ScramLogin(this.#auth, this.#address)
    const challenge = this.#login.first(authData ?? NOTHING)
    return encodeAuth(AUTH_REASON.continue, SCRAM_SHA_256, challenge)
  }

  /** Rejects with UNAUTHENTICATED, BUSY, or the signal's reason. */
  async end({ authData }: Properties, signal?: AbortSignal): Promise<Extended> {
    const login = this.#login
    this.#login = undefined
    if (login === undefined) throw violation('AUTH goes on with what has not begun')
    const { principal, serverFinal } = await login.final(authData ?? NOTHING, signal)
    return { principal, authMethod: SCRAM_SHA_256, authData: serverFinal }
  }
}

/** The AUTH that answers a challenge. @throws ProtocolError */
export function proofOf(bytes: Buffer, start: number, end: number): Properties {
  const { reason, properties } = decodeAuth(bytes, start, end)
  if (reason !== AUTH_REASON.continue) throw violation('AUTH does not go on with the login')
  checkMethod(properties)
  // It is looked at when the chunk is gone.
  return { ...properties, authData: Buffer.from(properties.authData ?? NOTHING) }
}

/** @throws ProtocolError (MQTT-4.12.0-5) */
export function checkMethod({ authMethod }: Properties): void {
  if (authMethod === SCRAM_SHA_256) return
  throw violation('AUTH has another authentication method than CONNECT')
}

/** The user name of CONNECT is not proved, so it may be no other. */
export function checkSameUser(username: string | undefined, { name }: Principal): void {
  if (username === undefined || username === name) return
  throw new BrokerError('UNAUTHENTICATED', 'the user name of CONNECT is not the one that logs in')
}

const NOTHING = Buffer.alloc(0)
