// The PUBLISH and PUBREL packets of one client: which are messages, which are requests, which have
// to wait, and which are refused. What is taken goes to `Inbound`.
import { BrokerError } from '../../../errors.ts'
import { partOf } from '../../../model/bytes.ts'
import { type Host, hostOf } from '../../../model/host.ts'
import { PUBLISH_BEGINNING_BYTES } from '../limits.ts'
import { tooManyUserProperties } from '../packets/properties.ts'
import { packetTooLarge } from '../packets/protocol.ts'
import { decodePublish, emptyPublish } from '../packets/publish-packet.ts'
import { checkResponseTopic } from '../packets/topic-name.ts'
import type { Peer } from '../session/peer.ts'
import { Inbound } from './inbound.ts'
import type { PublishParts } from './parts.ts'
import { PublishRoutes } from './publish-routes.ts'
import { isReply, passReply } from './replies.ts'
import { TransactionRequests } from './transactions.ts'

/** The client, as its PUBLISHes need it. */
export interface PublishingPeer extends Peer {
  readonly remoteAddress: string
  readonly remotePort: number
  /** Packets behind this one are read when the work is done. */
  hold(work: Promise<void>): void
  /** What waited was handled behind its chunk. */
  endOfChunk(): void
  /** Tells the broker its groups, which have changed. */
  refresh(): Promise<void>
}

export class PublishPackets {
  readonly inbound: Inbound
  readonly #parts: PublishParts
  readonly #peer: PublishingPeer
  readonly #routes: PublishRoutes
  readonly #transactions: TransactionRequests
  readonly #host: Host
  readonly #packet = emptyPublish()
  #isClosed = false

  constructor(parts: PublishParts, peer: PublishingPeer) {
    const { remoteAddress, remotePort, principal } = peer
    this.#parts = parts
    this.#peer = peer
    this.inbound = new Inbound(parts, peer, remoteAddress, remotePort)
    this.#routes = new PublishRoutes(parts, principal)
    this.#host = hostOf(remoteAddress, remotePort)
    this.#transactions = new TransactionRequests(parts, principal, this.#host)
  }

  /** Those in which the client has transactions. */
  get producerGroups(): readonly string[] {
    return [...this.#transactions.groups]
  }

  /**
   * A PUBLISH that would be sent again on the next connection is refused like any other message
   * that is too large. Clients of 3.1.1 cannot be told the limit; those of MQTT 5 are, and some
   * that are widely used take no notice. What is not sent again ends the connection of an MQTT 5
   * client (3.2.2.3.6).
   */
  oversized(first: number, packetBytes: number, bytesMax: number): number {
    const isResent = (first & 6) !== 0
    if (isResent || !this.#peer.isV5) return PUBLISH_BEGINNING_BYTES
    throw packetTooLarge(packetBytes, bytesMax)
  }

  /**
   * A PUBLISH of which there is only the beginning, with its topic and packet id.
   * @throws ProtocolError
   */
  beginning(first: number, bytes: Buffer, start: number, end: number): void {
    const packet = this.#packet
    // The properties may be cut off, and the topic is not needed to refuse it.
    decodePublish(packet, first, bytes, start, end, false)
    if (this.#peer.isV5) this.#routes.passOver(packet, bytes, end)
    const { packetBytesMax } = this.#parts.options
    const text = `its packet has more than ${packetBytesMax} bytes; mqtt.packetBytesMax is the most`
    this.inbound.refuse(packet, new BrokerError('MESSAGE_TOO_LARGE', text))
  }

  /**
   * false: what is behind it is held. `hasWaited`: it has had its turn, or follows what had.
   * @throws ProtocolError
   */
  onPublish(first: number, bytes: Buffer, start: number, end: number, hasWaited = false): boolean {
    const packet = this.#packet
    const { isV5 } = this.#peer
    decodePublish(packet, first, bytes, start, end, isV5)
    checkResponseTopic(packet.properties)
    const { request, route, refusal } = this.#routes.find(packet, bytes)
    if (isV5 && request !== undefined) {
      this.#peer.hold(this.#onRequest(request, bytes))
      return false
    }
    // A QoS 2 message that was taken stays taken, also where it would be refused now.
    if (packet.qos === 2 && this.inbound.repeats(packet.packetId)) return true
    if (route === undefined) {
      this.inbound.refuse(packet, refusal)
      return true
    }
    if (packet.qos === 2 && this.inbound.isUnknown(packet.packetId)) {
      this.#askFirst(route.topic, first, Buffer.from(bytes.subarray(start, end)))
      return false
    }
    if (!hasWaited && this.inbound.isCrowded(route)) {
      this.#waitForRoom(first, Buffer.from(bytes.subarray(start, end)))
      return false
    }
    const { payloadStart, payloadEnd } = packet
    try {
      if (packet.properties.hasMoreUser) throw tooManyUserProperties()
      if (packet.retain) this.#parts.retained.check(route.name, payloadEnd - payloadStart)
      this.inbound.add(route, packet, partOf(bytes, payloadStart, payloadEnd))
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      this.inbound.refuse(packet, error)
    }
    return true
  }

  /** PUBREL; one that did not wait for its PUBREC takes effect behind the message nevertheless. */
  onPubrel(packetId: number): boolean {
    if (!this.inbound.isStoring(packetId)) {
      this.inbound.onPubrel(packetId)
      return true
    }
    this.#peer.hold(this.inbound.stored().then(() => this.inbound.onPubrel(packetId)))
    return false
  }

  close(): void {
    this.#isClosed = true
    this.inbound.flush()
    this.inbound.close()
  }

  /** A request in a PUBLISH: served behind what came before it. */
  async #onRequest(name: string, bytes: Buffer): Promise<void> {
    const packet = { ...this.#packet }
    const { payloadStart, payloadEnd, qos, properties, packetId } = packet
    const payload = Buffer.from(bytes.subarray(payloadStart, payloadEnd))
    this.inbound.flush()
    try {
      if (packet.properties.hasMoreUser) throw tooManyUserProperties()
      const request = { name, qos, properties, payload }
      if (isReply(name)) await passReply(this.#parts, this.#peer.principal, this.#host, request)
      else if (await this.#transactions.serve(request)) await this.#peer.refresh()
      if (qos > 0) this.inbound.accept(packetId)
    } catch (error) {
      this.inbound.refuse(packet, BrokerError.from(error))
    }
  }

  /**
   * A QoS 2 message noted before a restart: whether it is stored is asked before it is taken again.
   */
  #askFirst(topic: string, first: number, body: Buffer): void {
    const resolved = this.inbound
      .resolve(topic, this.#packet.packetId)
      .then(() => this.#goOn(first, body))
    this.#peer.hold(resolved)
  }

  /** Very many filters select the message, and enough of its kind is on its way into the log. */
  #waitForRoom(first: number, body: Buffer): void {
    const taken = new Promise<void>((resolve, reject) => {
      this.#parts.fanOut.wait(() => {
        try {
          this.#goOn(first, body)
          resolve()
        } catch (error) {
          reject(error)
        }
      })
    })
    this.#peer.hold(taken)
  }

  #goOn(first: number, body: Buffer): void {
    if (this.#isClosed) return
    this.onPublish(first, body, 0, body.length, true)
    this.#peer.endOfChunk()
  }
}
