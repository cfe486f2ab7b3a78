// A connected client: takes its packets after CONNECT apart and hands them to the parts that deal
// with them. Knows its session and its rights; the socket belongs to its connection.

import { isAllowed, type Principal } from '../../access/auth.ts'
import { BrokerError } from '../../errors.ts'
import type { ConsumerRegistration } from '../../model/client.ts'
import { Acknowledging } from './deliver/acknowledging.ts'
import { Custody } from './deliver/custody.ts'
import { Outbound } from './deliver/outbound.ts'
import {
  checkMethod,
  checkSameUser,
  type Extended,
  type ExtendedLogin,
  extendedLogin,
} from './extended-login.ts'
import { cappedExpiry, type Terms } from './handshake.ts'
import type { PacketOutput } from './outgoing/packet-output.ts'
import { decodeAck } from './packets/ack-packet.ts'
import { AUTH_REASON, type AuthPacket, decodeAuth, encodeAuth } from './packets/auth-packet.ts'
import type { ConnectPacket } from './packets/connect-packet.ts'
import { decodeDisconnect } from './packets/disconnect-packet.ts'
import {
  checkFirstByte,
  malformed,
  PACKET,
  ProtocolError,
  packetTooLarge,
  REASON,
  type ReasonCode,
  type Version,
  violation,
} from './packets/protocol.ts'
import {
  decodeSubscribe,
  decodeUnsubscribe,
  encodeSuback,
  encodeUnsuback,
  type FilterRequest,
  ofBridge,
} from './packets/subscribe-packet.ts'
import type { MqttParts } from './parts.ts'
import type { Inbound } from './publish/inbound.ts'
import { type PublishingPeer, PublishPackets } from './publish/publish-packets.ts'
import type { Session } from './session/session.ts'
import type { ShareSource } from './session/subscriptions.ts'
import { Subscribing } from './subscribing.ts'

/** The connection, as its client needs it. */
export interface ClientConnection {
  readonly id: string
  readonly remoteAddress: string
  readonly remotePort: number
  readonly output: PacketOutput
  /** Epoch ms: the end of the token by which the client logged in last. */
  endsMs: number | undefined
  wantFlush(): void
  journal(): void
  setReading(): void
  fail(error: ProtocolError): void
  failBehind(error: ProtocolError): void
  broken(error: unknown): void
  /** Reads on after a packet that was held for. */
  readOn(): void
  /** The client said goodbye. */
  onDisconnect(reason: ReasonCode): void
}

const NEVER_EXPIRES = 0

export class Client implements PublishingPeer {
  readonly isV5: boolean
  readonly version: Version
  readonly session: Session
  readonly principal: Principal
  readonly output: PacketOutput
  readonly window: number
  readonly packetBytesMax: number
  readonly aliasMax: number
  readonly wantsReasons: boolean
  readonly keepAliveSeconds: number
  readonly remoteAddress: string
  readonly remotePort: number
  readonly inbound: Inbound
  readonly outbound: Outbound
  readonly #parts: MqttParts
  readonly isBridge: boolean
  readonly #connection: ClientConnection
  readonly #subscribing: Subscribing
  readonly #acknowledging: Acknowledging
  readonly #custody: Custody
  readonly #publishes: PublishPackets
  readonly #consumable = new Map<string, boolean>()
  /** What is registered of each group. */
  readonly #consumers = new WeakMap<ShareSource, ConsumerRegistration>()
  /** Of a client that logged in by AUTH packets. */
  readonly #login: ExtendedLogin | undefined
  #isClosed = false
  /** Deliveries may have room since the last chunk. */
  #hasAcked = false
  #registeredMs: number

  constructor(
    parts: MqttParts,
    connection: ClientConnection,
    packet: ConnectPacket,
    given: { terms: Terms; principal: Principal; session: Session },
  ) {
    const { terms } = given
    this.#parts = parts
    this.#connection = connection
    this.version = packet.version
    this.isV5 = packet.version === 5
    this.isBridge = packet.isBridge
    this.session = given.session
    this.principal = given.principal
    this.output = connection.output
    this.remoteAddress = connection.remoteAddress
    this.remotePort = connection.remotePort
    this.window = terms.window
    this.packetBytesMax = terms.packetBytesMax
    this.aliasMax = terms.aliasMax
    this.wantsReasons = terms.wantsReasons
    this.keepAliveSeconds = terms.keepAliveSeconds
    this.#registeredMs = parts.context.clock.monotonic()
    this.#publishes = new PublishPackets(parts, this)
    this.inbound = this.#publishes.inbound
    this.outbound = new Outbound(parts, this)
    this.#subscribing = new Subscribing(parts, this, this.outbound)
    this.#acknowledging = new Acknowledging(parts, this)
    this.#custody = new Custody(parts, this.session, this.#subscribing.members)
    const { authMethod } = packet.properties
    const { auth } = parts.context
    this.#login =
      authMethod === undefined ? undefined : extendedLogin(auth, authMethod, this.remoteAddress)
  }

  /** Takes up what the session has; CONNACK is written already. */
  start(isPresent: boolean): Promise<void> {
    return this.#work(this.#takeUp(isPresent))
  }

  async #takeUp(isPresent: boolean): Promise<void> {
    if (!isPresent) {
      await this.#subscribing.refresh()
      return
    }
    this.outbound.resume()
    await this.#subscribing.resume()
    this.outbound.pump()
  }

  wantFlush(): void {
    this.#connection.wantFlush()
  }

  journal(): void {
    this.#connection.journal()
  }

  setReading(): void {
    this.#connection.setReading()
  }

  refused(error: BrokerError): void {
    const { clientId } = this.session
    const remote = this.remoteAddress
    const fields = { evt: 'mqtt.publish_refused', clientId, remote, code: error.code }
    const text = `a message was not taken: ${error.message}; further ones of this connection are not logged`
    this.#parts.context.log.warn(fields, text)
  }

  fail(error: ProtocolError): void {
    this.#connection.fail(error)
  }

  broken(error: unknown): void {
    this.#connection.broken(error)
  }

  mayRead(topic: string): boolean {
    const known = this.#consumable.get(topic)
    if (known !== undefined) return known
    const { auth } = this.#parts.context
    const may = isAllowed(auth, this.principal, 'consume', { kind: 'topic', name: topic })
    this.#consumable.set(topic, may)
    return may
  }

  async register(shares: readonly ShareSource[]): Promise<void> {
    if (this.#isClosed) return
    const { context } = this.#parts
    await context.broker.clients.register({
      clientId: this.session.clientId,
      connectionId: this.#connection.id,
      protocol: 'mqtt',
      address: `${this.remoteAddress}:${this.remotePort}`,
      language: 'MQTT',
      version: this.version,
      consumers: shares.map((share) => this.#consumerOf(share)),
      producerGroups: this.#publishes.producerGroups,
    })
    // The connection may end during the registration, and the registry may hear of its end first.
    if (this.#isClosed) await context.broker.clients.unregister(this.#connection.id)
  }

  /** The same each time, as a client may have thousands. */
  #consumerOf(share: ShareSource): ConsumerRegistration {
    const known = this.#consumers.get(share)
    if (known !== undefined) return known
    const { group, topic, filter } = share
    const consumer: ConsumerRegistration = {
      ...{ group, model: 'clustering', mode: 'per-message' },
      subscriptions: [{ topic, filter, version: 0 }],
      ...{ consumeType: 'CONSUME_PASSIVELY', consumeFrom: 'CONSUME_FROM_LAST_OFFSET' },
    }
    this.#consumers.set(share, consumer)
    return consumer
  }

  /** How much is to be read of a packet that is too large. @throws ProtocolError */
  oversized(first: number, packetBytes: number, bytesMax: number): number {
    if (first >>> 4 !== PACKET.publish) throw packetTooLarge(packetBytes, bytesMax)
    return this.#publishes.oversized(first, packetBytes, bytesMax)
  }

  /** What was to be read of it. @throws ProtocolError */
  beginning(first: number, bytes: Buffer, start: number, end: number): void {
    this.#publishes.beginning(first, bytes, start, end)
  }

  /** One packet; false: the next must wait for `readOn`. @throws ProtocolError */
  packet(first: number, bytes: Buffer, start: number, end: number): boolean {
    const type = first >>> 4
    if (type === PACKET.publish) return this.#publishes.onPublish(first, bytes, start, end)
    if ((type === PACKET.pingreq || type === PACKET.pingresp) && end > start) {
      // A stream whose pings have a body is out of step: no answer would be understood.
      throw new ProtocolError(REASON.malformedPacket, 'a ping has a body', true)
    }
    checkFirstByte(first, this.version)
    switch (type) {
      case PACKET.puback:
      case PACKET.pubrec:
      case PACKET.pubcomp:
        this.#acknowledging.onAck(type, decodeAck(type, bytes, start, end, this.isV5))
        this.#hasAcked = true
        return true
      case PACKET.pubrel:
        return this.#publishes.onPubrel(decodeAck(type, bytes, start, end, this.isV5) >>> 8)
      case PACKET.pingreq:
        this.inbound.onPingreq()
        return true
      case PACKET.subscribe:
        this.hold(this.#onSubscribe(Buffer.from(bytes.subarray(start, end))))
        return false
      case PACKET.unsubscribe:
        this.hold(this.#onUnsubscribe(Buffer.from(bytes.subarray(start, end))))
        return false
      case PACKET.disconnect:
        this.#onDisconnect(bytes, start, end)
        return true
      case PACKET.auth:
        this.hold(this.#onAuth(decodeAuth(bytes, start, end)))
        return false
      default:
        throw violation('a second CONNECT')
    }
  }

  /** A client that logged in by AUTH packets proves its user anew (4.12.1). */
  async #onAuth({ reason, properties }: AuthPacket): Promise<void> {
    const login = this.#login
    if (login === undefined) throw violation('AUTH without an authentication method in CONNECT')
    checkMethod(properties, login.method)
    try {
      const isAnew = reason === AUTH_REASON.reauthenticate
      const challenge = isAnew ? login.begin(properties) : undefined
      if (challenge === undefined) this.#proved(await login.end(properties))
      else this.output.append(challenge)
    } catch (error) {
      if (error instanceof ProtocolError) throw error
      throw new ProtocolError(REASON.notAuthorized, BrokerError.from(error).message)
    }
    this.wantFlush()
  }

  #proved({ principal, authMethod, authData, endsMs }: Extended): void {
    checkSameUser(this.principal.name, principal)
    this.#connection.endsMs = endsMs
    this.output.append(encodeAuth(AUTH_REASON.success, authMethod, authData))
  }

  endOfChunk(): void {
    this.inbound.flush()
    this.#acknowledging.flush()
    if (this.#hasAcked) {
      this.#hasAcked = false
      this.outbound.pump()
    }
  }

  /** Called a few times a second: renews what would lapse while the client is here. */
  sweep(nowMs: number, registerEveryMs: number): void {
    const { context } = this.#parts
    this.#custody.renew(nowMs)
    if (nowMs - this.#registeredMs >= registerEveryMs) {
      this.#registeredMs = nowMs
      this.#subscribing.refresh().catch((error: unknown) => {
        context.log.warn({ evt: 'mqtt.register_failed', err: error }, 'registering a client failed')
      })
    }
  }

  refresh(): Promise<void> {
    return this.#subscribing.refresh()
  }

  get memberId(): string {
    return this.#connection.id
  }

  /**
   * The connection ends: gives back what was under way. `isLost`: without the client's goodbye. The
   * session belongs to the table.
   */
  close(isLost: boolean): void {
    this.#isClosed = true
    this.#publishes.close()
    this.#acknowledging.flush()
    this.#subscribing.close()
    this.outbound.close()
    this.#custody.giveBack(isLost)
    const { context } = this.#parts
    context.broker.clients.unregister(this.#connection.id).catch((error: unknown) => {
      context.log.warn({ evt: 'mqtt.unregister_failed', err: error }, 'a client stays registered')
    })
  }

  /** Packets behind this one are read when the work is done. */
  hold(work: Promise<void>): void {
    this.#work(work)
      .then(() => this.#connection.readOn())
      .catch((error: unknown) => {
        if (error instanceof ProtocolError) this.#connection.failBehind(error)
        else this.broken(error)
      })
  }

  /**
   * The session's next connection waits for it: the two must not change its subscriptions at once.
   */
  #work(work: Promise<void>): Promise<void> {
    this.session.work = work.catch(() => {})
    return work
  }

  async #onSubscribe(body: Buffer): Promise<void> {
    const { options } = this.#parts
    const slice = this.#parts.filterWork
    const asked = await decodeSubscribe(body, 0, body.length, this.version, options, slice)
    const packet = this.isBridge ? ofBridge(asked) : asked
    if (this.#isClosed) return
    await this.#settleBefore(packet.requests)
    if (this.#isClosed) return
    const codes = await this.#subscribing.subscribe(packet)
    const known = this.isV5 ? codes : codes.map((code) => Math.min(code, REASON.unspecified))
    if (this.#isClosed) return
    this.output.append(encodeSuback(this.version, packet.packetId, known))
    this.wantFlush()
    this.outbound.goOn()
  }

  async #onUnsubscribe(body: Buffer): Promise<void> {
    const { options } = this.#parts
    const slice = this.#parts.filterWork
    const packet = await decodeUnsubscribe(body, 0, body.length, this.version, options, slice)
    if (this.#isClosed) return
    await this.#settleBefore(packet.filters)
    if (this.#isClosed) return
    const codes = await this.#subscribing.unsubscribe(packet)
    if (this.#isClosed) return
    this.output.append(encodeUnsuback(this.version, packet.packetId, codes))
    this.wantFlush()
    await this.#subscribing.refresh()
  }

  /**
   * Packets of one connection take effect in the order sent: the log has the PUBLISHes before this
   * one, and those that the filters select are on their way to the client as it had subscribed, as
   * far as it takes more.
   */
  async #settleBefore(filters: readonly FilterRequest[]): Promise<void> {
    await this.inbound.stored()
    await this.outbound.catchUp(filters)
    this.inbound.sendPubacks()
  }

  #onDisconnect(bytes: Buffer, start: number, end: number): void {
    const { reason, properties } = decodeDisconnect(bytes, start, end, this.isV5)
    const { sessionExpiry } = properties
    if (sessionExpiry !== undefined) {
      if (this.session.expiryMs === NEVER_EXPIRES && sessionExpiry > 0) {
        throw violation('DISCONNECT gives an expiry to a session that was to have none')
      }
      this.session.expiryMs = cappedExpiry(sessionExpiry, this.#parts.options)
    }
    if (!this.isV5 && reason !== REASON.success) throw malformed('DISCONNECT')
    this.#connection.onDisconnect(reason)
  }
}
