// The packets of one client before aedes has them: what the standard forbids ends the connection,
// what is not taken here is answered as our own engine answers it, and aedes is not given it.
import { isSystemName } from '../../aedes/message.ts'
import { BrokerError } from '../../errors.ts'
import { PUBLISH_BEGINNING_BYTES } from '../mqtt/limits.ts'
import { decodeAck } from '../mqtt/packets/ack-packet.ts'
import type { WillMessage } from '../mqtt/packets/connect-packet.ts'
import { decodeDisconnect } from '../mqtt/packets/disconnect-packet.ts'
import {
  checkFirstByte,
  PACKET,
  ProtocolError,
  packetTooLarge,
  REASON,
  type Version,
  violation,
} from '../mqtt/packets/protocol.ts'
import { decodePublish, emptyPublish, type PublishPacket } from '../mqtt/packets/publish-packet.ts'
import { decodeSubscribe, decodeUnsubscribe } from '../mqtt/packets/subscribe-packet.ts'
import { nameOf, PublishRoutes } from '../mqtt/publish/publish-routes.ts'
import type { ClientRights } from './client-rights.ts'
import type { AedesParts } from './parts.ts'

/** To aedes, to nothing, or to aedes once it is looked through. */
export type PacketVerdict = 'pass' | 'drop' | Promise<void>

interface Peer {
  readonly version: Version
  /** Of a line of the log. */
  readonly fields: Readonly<Record<string, string>>
  answer(bytes: Buffer): void
  /** aedes is given a message of so many bytes. */
  taken(bytes: number): void
}

export class PacketCheck {
  readonly #parts: AedesParts
  readonly #peer: Peer
  readonly #routes: PublishRoutes
  readonly #packet = emptyPublish()
  /** QoS by filter. */
  readonly #filters = new Map<string, number>()
  #hasRefused = false

  constructor(parts: AedesParts, { principal }: ClientRights, peer: Peer) {
    this.#parts = parts
    this.#peer = peer
    this.#routes = new PublishRoutes(parts, principal)
  }

  /** @throws BrokerError */
  checkWill({ topic, payload }: Pick<WillMessage, 'topic' | 'payload'>): void {
    const name = Buffer.from(topic)
    const packet = { ...emptyPublish(), topicEnd: name.length }
    const { refusal } = this.#routes.find(packet, name)
    const error = refusal ?? this.#excess(topic, payload.length, false)
    if (error !== undefined) throw error
  }

  /** One more filter of the session? */
  hasRoomFor(filter: string, qos: number): boolean {
    const { filtersMax } = this.#parts.options
    if (!this.#filters.has(filter) && this.#filters.size >= filtersMax) return false
    this.#filters.set(filter, qos)
    return true
  }

  get filters(): readonly { readonly filter: string; readonly qos: number }[] {
    return Array.from(this.#filters, ([filter, qos]) => ({ filter, qos }))
  }

  oversized(first: number, packetBytes: number, bytesMax: number): number {
    if (first >>> 4 !== PACKET.publish) throw packetTooLarge(packetBytes, bytesMax)
    return PUBLISH_BEGINNING_BYTES
  }

  beginning(first: number, bytes: Buffer, start: number, end: number): void {
    decodePublish(this.#packet, first, bytes, start, end, false)
    const { packetBytesMax } = this.#parts.options
    const text = `its packet has more than ${packetBytesMax} bytes; mqtt.packetBytesMax is the most`
    this.#refuse(this.#packet, new BrokerError('MESSAGE_TOO_LARGE', text))
  }

  /** @throws ProtocolError */
  look(first: number, bytes: Buffer, start: number, end: number): PacketVerdict {
    const type = first >>> 4
    if (type === PACKET.publish) return this.#onPublish(first, bytes, start, end)
    checkFirstByte(first, this.#peer.version)
    switch (type) {
      case PACKET.puback:
      case PACKET.pubrec:
      case PACKET.pubrel:
      case PACKET.pubcomp:
        decodeAck(type, bytes, start, end, false)
        return 'pass'
      case PACKET.pingreq:
        if (end === start) return 'pass'
        throw new ProtocolError(REASON.malformedPacket, 'a ping has a body', true)
      case PACKET.subscribe:
        return this.#onSubscribe(Buffer.from(bytes.subarray(start, end)))
      case PACKET.unsubscribe:
        return this.#onUnsubscribe(Buffer.from(bytes.subarray(start, end)))
      case PACKET.disconnect:
        decodeDisconnect(bytes, start, end, false)
        return 'pass'
      default:
        throw violation('a second CONNECT')
    }
  }

  #onPublish(first: number, bytes: Buffer, start: number, end: number): PacketVerdict {
    const packet = this.#packet
    decodePublish(packet, first, bytes, start, end, false)
    const payloadBytes = packet.payloadEnd - packet.payloadStart
    const { refusal } = this.#routes.find(packet, bytes)
    const error = refusal ?? this.#excess(nameIn(packet, bytes), payloadBytes, packet.retain)
    if (error !== undefined) {
      this.#refuse(packet, error)
      return 'drop'
    }
    this.#peer.taken(payloadBytes)
    return 'pass'
  }

  /** Why a message that its user may publish is not taken. */
  #excess(name: string, payloadBytes: number, isRetained: boolean): BrokerError | undefined {
    const { options, retained } = this.#parts
    if (isSystemName(name)) return new BrokerError('PERMISSION_DENIED', '$SYS/ is reserved')
    if (payloadBytes > options.bodyBytesMax) {
      const text = `the message has ${payloadBytes} bytes; ${options.bodyBytesMax} is the most`
      return new BrokerError('MESSAGE_TOO_LARGE', text)
    }
    try {
      if (isRetained) retained.check(name, payloadBytes)
      return undefined
    } catch (error) {
      return BrokerError.from(error)
    }
  }

  /** 3.1.1 has no word for it: acknowledged and dropped, or the client sends it for ever. */
  #refuse({ qos, packetId }: PublishPacket, error: BrokerError): void {
    const { context, traffic } = this.#parts
    traffic.refused(error.code)
    if (!this.#hasRefused) {
      this.#hasRefused = true
      const fields = { evt: 'mqtt.publish_refused', ...this.#peer.fields, code: error.code }
      const text = `a message was not taken: ${error.message}; further ones of this connection are not logged`
      context.log.warn(fields, text)
    }
    if (qos > 0) {
      this.#peer.answer(Buffer.of(qos === 1 ? 0x40 : 0x50, 2, packetId >>> 8, packetId & 255))
    }
  }

  async #onSubscribe(body: Buffer): Promise<void> {
    const { options, filterWork } = this.#parts
    const { version } = this.#peer
    const { excess } = await decodeSubscribe(body, 0, body.length, version, options, filterWork)
    if (excess > 0) throw violation('SUBSCRIBE has too many filters')
  }

  async #onUnsubscribe(body: Buffer): Promise<void> {
    const { options, filterWork } = this.#parts
    const { version } = this.#peer
    const packet = await decodeUnsubscribe(body, 0, body.length, version, options, filterWork)
    if (packet.excess > 0) throw violation('UNSUBSCRIBE has too many filters')
    for (const { text } of packet.filters) this.#filters.delete(text)
  }
}

const nameIn = ({ topicStart, topicEnd }: PublishPacket, bytes: Buffer): string =>
  nameOf(bytes, topicStart, topicEnd)
