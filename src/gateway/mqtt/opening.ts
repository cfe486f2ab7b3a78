// A CONNECT on its way to a session: the proof of its user, its terms, and the session of its
// client id. Reads no packets but the AUTH that it asked for; the connection writes CONNACK.

import type { Principal } from '../../access/auth.ts'
import { BrokerError } from '../../errors.ts'
import type { GatewaySocket } from '../../port/gateway.ts'
import { checkSameUser, type Extended, extendedLogin, proofOf } from './extended-login.ts'
import { authenticate, connackProperties, type Terms, termsOf } from './handshake.ts'
import { CONNECT_DECODED_FACTOR } from './limits.ts'
import type { PacketOutput } from './outgoing/packet-output.ts'
import { type ConnectPacket, ConnectRefused } from './packets/connect-packet.ts'
import type { Properties } from './packets/properties.ts'
import { PACKET, ProtocolError, packetName, violation } from './packets/protocol.ts'
import type { MqttParts } from './parts.ts'
import type { Session, SessionHolder } from './session/session.ts'

/** The connection, as its opening needs it. */
export interface OpeningConnection extends SessionHolder {
  readonly remoteAddress: string
  readonly output: PacketOutput
  /** What came behind CONNECT is read, as far as the AUTH that is due. */
  awaitProof(): void
}

export interface Opened {
  readonly terms: Terms
  readonly principal: Principal
  /** Epoch ms: the end of the token by which the client logged in. */
  readonly endsMs: number | undefined
  readonly session: Session
  readonly present: boolean
  /** For CONNACK. */
  readonly properties: Properties
}

export class Opening {
  readonly packet: ConnectPacket
  /** Memory that the CONNECT takes, about. */
  readonly bytes: number
  readonly #parts: MqttParts
  readonly #socket: GatewaySocket
  readonly #connection: OpeningConnection
  readonly #ending = new AbortController()
  /** The client is to send an AUTH with its proof. */
  #challenge:
    | { readonly sinceMs: number; readonly method: string; proved(proof: Properties): void }
    | undefined

  constructor(
    parts: MqttParts,
    socket: GatewaySocket,
    connection: OpeningConnection,
    connect: { readonly packet: ConnectPacket; readonly bytes: number },
  ) {
    this.#parts = parts
    this.#socket = socket
    this.#connection = connection
    this.packet = connect.packet
    this.bytes = connect.bytes * CONNECT_DECODED_FACTOR
  }

  /**
   * undefined when the connection ends first; its session may have another holder by then. Rejects
   * with what CONNACK is to tell.
   */
  async open(): Promise<Opened | undefined> {
    const { context, options, sessions } = this.#parts
    const { packet } = this
    const { signal } = this.#ending
    const extended = await this.#prove()
    const user = extended?.principal.name ?? this.#socket.certifiedUser
    const terms = termsOf(packet, options, user)
    const properties = connackProperties(packet, terms, options, extended)
    const principal =
      extended?.principal ?? (await authenticate(packet, context, this.#socket, signal))
    if (signal.aborted) return undefined
    if (terms.will !== undefined) this.#authorizeWill(terms.will.topic, principal)
    const { clientId, expiryMs, will } = terms
    const { clean } = packet
    const holder = this.#connection
    const request = { clientId, principal, clean, expiryMs, will, holder, signal }
    const endsMs = extended === undefined ? this.#endOfPassword() : extended.endsMs
    return { terms, principal, endsMs, properties, ...(await sessions.attach(request)) }
  }

  /** The connection ends before it is open. */
  abort(): void {
    this.#ending.abort(new BrokerError('CLOSED', 'the connection has ended'))
  }

  get isChallenged(): boolean {
    return this.#challenge !== undefined
  }

  /** Has the client had its time for the AUTH? */
  isLate(nowMs: number): boolean {
    const { connectTimeoutMs } = this.#parts.options
    return this.#challenge !== undefined && nowMs - this.#challenge.sinceMs >= connectTimeoutMs
  }

  /** @throws ConnectRefused when it has to be an AUTH, and is not */
  packetBegins(type: number): void {
    const isProof = type === PACKET.auth || type === PACKET.disconnect
    if (this.#challenge === undefined || isProof) return
    const text = `${packetName(type)} in the place of an AUTH (MQTT-3.1.2-30)`
    throw new ConnectRefused(this.packet.version, violation(text))
  }

  /** The AUTH that was asked for. @throws ConnectRefused */
  onAuth(bytes: Buffer, start: number, end: number): void {
    const challenge = this.#challenge
    this.#challenge = undefined
    try {
      challenge?.proved(proofOf(bytes, start, end, challenge.method))
    } catch (error) {
      throw error instanceof ProtocolError ? new ConnectRefused(this.packet.version, error) : error
    }
  }

  /** By AUTH packets, where the client wants it so; undefined: it does not. */
  async #prove(): Promise<Extended | undefined> {
    const { properties, username } = this.packet
    const { authMethod } = properties
    if (authMethod === undefined) return undefined
    const { auth } = this.#parts.context
    const login = extendedLogin(auth, authMethod, this.#connection.remoteAddress)
    const challenge = login.begin(properties)
    const proof =
      challenge === undefined ? properties : await this.#answerTo(challenge, login.method)
    const extended = await login.end(proof, this.#ending.signal)
    checkSameUser(username, extended.principal)
    return extended
  }

  /** Rejects when the connection ends first. */
  #answerTo(challenge: Buffer, method: string): Promise<Properties> {
    const { output } = this.#connection
    const { signal } = this.#ending
    output.append(challenge)
    output.flush()
    const sinceMs = this.#parts.context.clock.monotonic()
    setImmediate(() => this.#connection.awaitProof())
    return new Promise<Properties>((resolve, reject) => {
      this.#challenge = { sinceMs, method, proved: resolve }
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
  }

  /** Of a token in its place. */
  #endOfPassword(): number | undefined {
    const password = this.packet.password?.toString()
    return password === undefined ? undefined : this.#parts.context.auth.endOf(password)
  }

  #authorizeWill(name: string, principal: Principal): void {
    const { addresses, context } = this.#parts
    const { topic } = addresses.route(name)
    context.auth.authorize(principal, 'publish', { kind: 'topic', name: topic })
  }
}
