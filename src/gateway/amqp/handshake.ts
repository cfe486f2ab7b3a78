// A connection before its first AMQP frame: the peer's protocol header, and its login by SASL
// (AMQP 2.2, 5.3). Bytes pipelined behind an answer that takes time wait for it.

import type { Authenticator, Principal } from '../../access/auth.ts'
import type { Clock, Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { Output } from '../../output.ts'
import { FRAME_SASL } from './codec/performatives.ts'
import { AmqpError, CONDITION, describeError } from './errors.ts'
import { SaslExchange, type SaslPeer, type SaslStep } from './sasl.ts'

export interface HandshakePeer extends SaslPeer {
  readonly clock: Clock
  readonly log: Logger
  readonly output: Output
  /** The next bytes are a protocol header. */
  expectHeader(): void
  /** AMQP begins: the peer sent its header and acts for the principal, until `endsMs` (epoch). */
  onAuthenticated(principal: Principal, endsMs: number | undefined): void
  /** Goes on with the bytes that came during the login. */
  resume(): void
  /** Pending output is sent and the socket closes. */
  drop(reason: string): void
}

const SASL_HEADER = Buffer.from('AMQP\u0003\u0001\u0000\u0000', 'latin1')
const AMQP_HEADER = Buffer.from('AMQP\u0000\u0001\u0000\u0000', 'latin1')
const HEADER_AMQP = 0
const HEADER_SASL = 3

const GONE = new BrokerError('CLOSED', 'the connection has ended')

export class Handshake {
  readonly #peer: HandshakePeer
  readonly #auth: Authenticator
  readonly #failureDelayMs: number
  /** Once the peer asked for it. */
  #sasl: SaslExchange | undefined
  #principal: Principal | undefined
  #endsMs: number | undefined
  #failure: Timer | undefined
  /** Aborted when the connection ends. */
  readonly #ended = new AbortController()
  /** The AMQP header came: the connection itself handles frames. */
  isDone = false

  constructor(peer: HandshakePeer, auth: Authenticator, failureDelayMs: number) {
    this.#peer = peer
    this.#auth = auth
    this.#failureDelayMs = failureDelayMs
    if (auth.anonymousAllowed) this.#principal = auth.anonymous()
  }

  onHeader(id: number): boolean {
    if (id === HEADER_SASL && this.#sasl === undefined) {
      this.#sasl = new SaslExchange(this.#auth, this.#peer, this.#ended.signal)
      this.#peer.output.push(SASL_HEADER)
      this.#peer.output.push(this.#sasl.mechanismsFrame())
      return true
    }
    if (id === HEADER_AMQP && this.#principal !== undefined) {
      this.isDone = true
      this.#peer.onAuthenticated(this.#principal, this.#endsMs)
      return true
    }
    // The peer learns what would do.
    this.#peer.output.push(this.#sasl === undefined ? SASL_HEADER : AMQP_HEADER)
    this.#peer.drop('a protocol header other than the one expected')
    return false
  }

  /** @throws AmqpError for a frame that has no place here */
  onFrame(type: number, bytes: Buffer, at: number, end: number): boolean {
    if (type !== FRAME_SASL || this.#sasl === undefined) {
      throw new AmqpError(CONDITION.framingError, 'an AMQP frame within the security layer')
    }
    const step = this.#sasl.take(bytes, at, end)
    if (!(step instanceof Promise)) return this.#take(step)
    step.then(
      (done) => {
        if (this.#take(done)) this.#peer.resume()
      },
      (error: unknown) => this.#peer.drop(describeError(error).description),
    )
    return false
  }

  /** Answers whether the peer may go on. */
  #take(step: SaslStep): boolean {
    if (this.#ended.signal.aborted) return false
    if (step.kind === 'refused') {
      this.#refuse(step)
      return false
    }
    this.#peer.output.push(step.frame)
    if (step.kind === 'accepted') {
      this.#principal = step.principal
      this.#endsMs = step.endsMs
      this.#peer.expectHeader()
    }
    return true
  }

  /** A guesser waits for the answer, and gets one answer a connection. */
  #refuse(step: SaslStep & { kind: 'refused' }): void {
    const { log, remoteAddress, clock } = this.#peer
    const fields = { evt: 'amqp.auth_failed', remote: remoteAddress }
    log.info(fields, `authentication failed: ${step.reason}`)
    this.#failure = clock.after(this.#failureDelayMs, () => {
      this.#peer.output.push(step.frame)
      this.#peer.drop('authentication failed')
    })
  }

  close(): void {
    this.#failure?.cancel()
    this.#ended.abort(GONE)
  }
}
