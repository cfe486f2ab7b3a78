// The security layer of a connection (AMQP 5.3): SCRAM-SHA-256, PLAIN, EXTERNAL for a client whose
// certificate names its user and, where clients without credentials may act, ANONYMOUS. One
// exchange per connection; any failure ends it.

import type { Authenticator, Principal } from '../../access/auth.ts'
import { SCRAM_SHA_256, ScramLogin } from '../../access/scram.ts'
import { BrokerError } from '../../errors.ts'
import type { GatewaySocket } from '../../port/gateway.ts'
import { codeOf, FieldList } from './codec/control-frames.ts'
import { CODE, FRAME_SASL } from './codec/performatives.ts'
import { Described, ValueReader } from './codec/value-reader.ts'
import { ValueWriter } from './codec/value-writer.ts'
import { AmqpError, CONDITION, decodeError } from './errors.ts'

/** Codes of sasl-outcome. */
const OUTCOME_OK = 0
const OUTCOME_AUTH = 1
/** Come again later. */
const OUTCOME_SYS_TEMP = 4

const NAME_CHARS_MAX = 1024
/** A token may be one. */
const PASSWORD_CHARS_MAX = 4096

export type SaslStep =
  | { readonly kind: 'challenge'; readonly frame: Buffer }
  | {
      readonly kind: 'accepted'
      readonly frame: Buffer
      readonly principal: Principal
      /** Epoch ms, of a login that holds for a time only. */
      readonly endsMs?: number | undefined
    }
  | { readonly kind: 'refused'; readonly frame: Buffer; readonly reason: string }

/** What the transport knows of the peer. */
export type SaslPeer = Pick<GatewaySocket, 'remoteAddress' | 'certifiedUser'>

type Accepted = SaslStep & { readonly kind: 'accepted' }
type Mechanism = (response: Buffer) => SaslStep | Promise<SaslStep>

export class SaslExchange {
  readonly #auth: Authenticator
  /** Of the peer. */
  readonly #address: string
  /** Aborted when the connection ends. */
  readonly #signal: AbortSignal | undefined
  /** Names from the wire are looked up here and nowhere else. */
  readonly #mechanisms: ReadonlyMap<string, Mechanism>
  /** Waiting for the response that the init lacked. */
  #challenged: Mechanism | undefined
  #isStarted = false

  constructor(auth: Authenticator, peer: SaslPeer, signal?: AbortSignal) {
    this.#auth = auth
    this.#address = peer.remoteAddress
    this.#signal = signal
    const mechanisms: [string, Mechanism][] = [['PLAIN', (response) => this.#plain(response)]]
    // Clients take the strongest that is offered, and must not be led to one that refuses their
    // user.
    if (auth.isScramOffered) {
      mechanisms.unshift([SCRAM_SHA_256, (response) => this.#scram(response)])
    }
    const { certifiedUser } = peer
    // First: clients that choose by this order have a certificate to be known by it.
    if (certifiedUser !== undefined) {
      mechanisms.unshift(['EXTERNAL', (response) => this.#external(certifiedUser, response)])
    }
    if (auth.anonymousAllowed) mechanisms.push(['ANONYMOUS', () => accepted(auth.anonymous())])
    this.#mechanisms = new Map(mechanisms)
  }

  /** The first frame, from us. */
  mechanismsFrame(): Buffer {
    const writer = new ValueWriter()
    return writer
      .frame(FRAME_SASL, 0, () => {
        writer.descriptor(CODE.saslMechanisms).list(1, () => {
          writer.symbolArray([...this.#mechanisms.keys()])
        })
      })
      .take()
  }

  /** @throws AmqpError for a frame that has no place here */
  take(bytes: Buffer, at: number, end: number): SaslStep | Promise<SaslStep> {
    const frame = new ValueReader(bytes, at, end).read()
    if (!(frame instanceof Described)) throw decodeError('a SASL frame without a performative')
    const code = codeOf(frame)
    if (code === CODE.saslInit && !this.#isStarted) {
      return this.#start(new FieldList('sasl-init', frame.value))
    }
    const challenged = this.#challenged
    if (code === CODE.saslResponse && challenged !== undefined) {
      this.#challenged = undefined
      return challenged(
        new FieldList('sasl-response', frame.value).binary(0, 'response') ?? NOTHING,
      )
    }
    throw new AmqpError(
      CONDITION.notAllowed,
      `SASL performative 0x${code.toString(16)} has no place here`,
    )
  }

  #start(init: FieldList): SaslStep | Promise<SaslStep> {
    this.#isStarted = true
    const name = init.text(0, 'mechanism') ?? ''
    const mechanism = this.#mechanisms.get(name)
    if (mechanism === undefined) return refused(`mechanism ${JSON.stringify(name.slice(0, 40))}`)
    const response = init.binary(1, 'initial-response')
    if (response !== undefined || name === 'ANONYMOUS') return mechanism(response ?? NOTHING)
    return this.#challenge(NOTHING, mechanism)
  }

  #challenge(bytes: Buffer, then: Mechanism): SaslStep {
    this.#challenged = then
    return { kind: 'challenge', frame: challengeFrame(bytes) }
  }

  #scram(response: Buffer): SaslStep {
    const login = new ScramLogin(this.#auth, this.#address)
    try {
      return this.#challenge(login.first(response), async (final) => {
        try {
          const { principal, serverFinal } = await login.final(final, this.#signal)
          return accepted(principal, serverFinal)
        } catch (error) {
          return refusedFor(error)
        }
      })
    } catch (error) {
      return refusedFor(error)
    }
  }

  /** RFC 4422, A: the response is the user to act for, or nothing. */
  #external(user: string, response: Buffer): SaslStep {
    const actsFor = response.toString('utf8')
    if (actsFor !== '' && actsFor !== user) return refused('one user in the name of another')
    try {
      return accepted(this.#auth.certified(user))
    } catch (error) {
      return refused(BrokerError.from(error).message)
    }
  }

  /** RFC 4616: authorization id, user and password between zero bytes. */
  async #plain(response: Buffer): Promise<SaslStep> {
    const parts = response.toString('utf8').split('\u0000')
    const [actsFor, user, password] = parts
    if (parts.length !== 3 || !user || password === undefined) return refused('a malformed PLAIN')
    if (actsFor && actsFor !== user) return refused('one user in the name of another')
    if (user.length > NAME_CHARS_MAX || password.length > PASSWORD_CHARS_MAX) {
      return refused('credentials of absurd length')
    }
    try {
      const signal = this.#signal
      const principal = await this.#auth.verifyPassword(user, password, this.#address, signal)
      return { ...accepted(principal), endsMs: this.#auth.endOf(password) }
    } catch (error) {
      return refusedFor(error)
    }
  }
}

const NOTHING = Buffer.alloc(0)

const accepted = (principal: Principal, additionalData?: Buffer): Accepted => ({
  kind: 'accepted',
  frame: outcomeFrame(OUTCOME_OK, additionalData),
  principal,
})

function refusedFor(error: unknown): SaslStep {
  const { code, message } = BrokerError.from(error)
  return refused(message, code === 'BUSY' ? OUTCOME_SYS_TEMP : OUTCOME_AUTH)
}

/** The peer is not told why, but for whether to come again. */
const refused = (reason: string, outcome = OUTCOME_AUTH): SaslStep => ({
  kind: 'refused',
  frame: outcomeFrame(outcome),
  reason,
})

function outcomeFrame(code: number, additionalData?: Buffer): Buffer {
  const writer = new ValueWriter()
  return writer
    .frame(FRAME_SASL, 0, () => {
      writer.descriptor(CODE.saslOutcome).list(additionalData === undefined ? 1 : 2, () => {
        writer.ubyte(code)
        if (additionalData !== undefined) writer.binary(additionalData)
      })
    })
    .take()
}

function challengeFrame(bytes: Buffer): Buffer {
  const writer = new ValueWriter()
  return writer
    .frame(FRAME_SASL, 0, () => {
      writer.descriptor(CODE.saslChallenge).list(1, () => writer.binary(bytes))
    })
    .take()
}
