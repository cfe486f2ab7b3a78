// One connection's PUBLISHes on their way into the log: those of a socket chunk go to the broker as
// one batch, and each is acknowledged, in order, once it is durable.
import { BrokerError, isUnconfirmed } from '../../../errors.ts'
import { type Host, hostOf } from '../../../model/host.ts'
import type { NewMessage, PublishResult } from '../../../model/message.ts'
import { MQTT_CATCH_ALL_TOPIC } from '../../../model/names.ts'
import type { StateChange } from '../../../model/state.ts'
import { type PublishBatch, PublishLine } from '../../shared/publish-line.ts'
import type { MessageAddress } from '../address.ts'
import { isFinalRefusal, reasonOf } from '../errors.ts'
import { INBOUND_IDS_MAX } from '../limits.ts'
import { encodeAck } from '../packets/ack-packet.ts'
import { PACKET, ProtocolError, REASON, type ReasonCode } from '../packets/protocol.ts'
import type { PublishPacket } from '../packets/publish-packet.ts'
import type { InboundId } from '../session/inbound-ids.ts'
import type { Peer } from '../session/peer.ts'
import type { Session } from '../session/session.ts'
import type { PublishParts } from './parts.ts'

/**
 * A message's acknowledgement in one number: packet id * 8 + QoS, 0 for QoS 0, and NO_SUBSCRIBERS
 * where the publisher is to be told that.
 */
type AckSlot = number
const NO_SUBSCRIBERS = 4

/** The PUBLISHes of one chunk. */
class AckBatch implements PublishBatch {
  messages: NewMessage[] = []
  readonly acks: AckSlot[] = []
  /** What they retain. */
  readonly retained: StateChange[] = []
  bytes = 0
  /** Of its messages, for `FanOut`. */
  weight = 0
  /** Ids of QoS 2 that must be in the log before or with their messages. */
  needsIntent = false
  /** Refused here, without asking the broker: no such message is ever taken. */
  isFinal = false
  /** PINGREQs that came behind it; a number, as a peer may send many while the log is slow. */
  pings = 0
  readonly #acknowledge: (batch: AckBatch, results: readonly PublishResult[]) => void

  constructor(acknowledge: (batch: AckBatch, results: readonly PublishResult[]) => void) {
    this.#acknowledge = acknowledge
  }

  settle(results: readonly PublishResult[]): void {
    this.#acknowledge(this, results)
  }
}

/** Memory of a message beside its payload, about. */
const MESSAGE_OVERHEAD_BYTES = 256
const PINGRESP = Buffer.of(0xd0, 0)

export class Inbound {
  readonly #parts: PublishParts
  readonly #peer: Peer
  readonly #session: Session
  readonly #bornHost: Host
  readonly #line: PublishLine<AckBatch>
  #hasRefused = false
  /**
   * PUBACKs for the end of the turn, behind the turn's deliveries: ids, or packets with a reason.
   */
  #pubacks: (number | Buffer)[] = []
  #isClosed = false

  constructor(parts: PublishParts, peer: Peer, address: string, port: number) {
    this.#parts = parts
    this.#peer = peer
    this.#session = peer.session
    this.#bornHost = hostOf(address, port)
    this.#line = new PublishLine({
      clock: parts.context.clock,
      traffic: parts.traffic,
      unstoredBytesMax: parts.options.unstoredBytesMax,
      newBatch: () => new AckBatch(this.#acknowledge),
      publish: (batch) => this.#publish(batch),
      changed: () => peer.setReading(),
    })
  }

  /** Does so much wait for the log that the socket must not be read? */
  get isFull(): boolean {
    return this.#line.isFull
  }

  /** `payload` is copied by `flush` at the latest. @throws ProtocolError */
  add(route: MessageAddress, packet: PublishPacket, payload: Uint8Array): void {
    const { qos, packetId } = packet
    let uniqueKey: string | undefined
    if (qos === 2) {
      this.#checkIds()
      uniqueKey = this.#intend(packetId)
    }
    this.#push(route, packet, payload, uniqueKey)
  }

  /** Do so many filters select the messages there that the next must wait for `FanOut`? */
  isCrowded(route: MessageAddress): boolean {
    const { fanOut } = this.#parts
    return fanOut.isCrowded(fanOut.weight(this.#filtersOf(route)))
  }

  /** A message that does not even go to the broker; answered in its turn. @throws ProtocolError */
  refuse(packet: PublishPacket, error: BrokerError): void {
    const { qos, packetId } = packet
    this.flush()
    const batch = new AckBatch(this.#acknowledge)
    batch.acks.push(packetId * 8 + qos)
    batch.bytes = MESSAGE_OVERHEAD_BYTES
    batch.isFinal = true
    this.#line.answer(batch, [error])
  }

  /** A request that was served without a message of its own. */
  accept(packetId: number): void {
    if (this.#isClosed) return
    this.#addPuback(packetId, false)
    this.#peer.wantFlush()
  }

  /**
   * Answered when what came before it is stored, so that a ping tells a publisher of QoS 0 as much.
   */
  onPingreq(): void {
    this.flush()
    const before = this.#line.last
    if (before === undefined) {
      this.#sendPingresp(1)
      return
    }
    before.pings++
    this.#line.grow(before, PINGRESP.length)
  }

  /** Settles when the broker has answered for every PUBLISH that came so far. */
  stored(): Promise<void> {
    return this.#line.whenIdle()
  }

  /**
   * Was the message of QoS 2 taken before? Each PUBLISH of the id gets its PUBREC until PUBREL
   * (MQTT-4.3.3-10; 3.1.1: MQTT-4.3.3-2), marked as a duplicate or not: clients exist that resend
   * without the mark, and a close would have them do it again.
   */
  repeats(packetId: number): boolean {
    const known = this.#session.inbound.find(packetId)
    if (known === undefined || known.state === 'unknown') return false
    if (known.state === 'storing') known.awaited++
    else this.sendPubrec(packetId)
    return true
  }

  /** Is the message of QoS 2 on its way into the log, its PUBREC not sent? */
  isStoring(packetId: number): boolean {
    return this.#session.inbound.find(packetId)?.state === 'storing'
  }

  /** Noted before a restart, and not known to be stored? */
  isUnknown(packetId: number): boolean {
    return this.#session.inbound.find(packetId)?.state === 'unknown'
  }

  /** Finds out by the message's unique key. */
  async resolve(topic: string, packetId: number): Promise<void> {
    const id = this.#session.inbound.find(packetId)
    if (id?.state !== 'unknown') return
    const { lookup } = this.#parts.context.broker
    const found = await lookup.byKey(topic, uniqueKeyOf(this.#session, id), { max: 1 })
    // Not there: it is taken as if it came for the first time.
    if (found.length > 0) id.state = 'stored'
    else this.#session.inbound.remove(packetId)
  }

  /** Hands the chunk's messages to the broker. */
  flush(): void {
    this.#line.flush()
  }

  /** PUBREL came: the id is free again, and PUBCOMP goes out once that is durable. */
  onPubrel(packetId: number): void {
    if (this.#session.inbound.remove(packetId) && this.#session.isPersistent) this.#peer.journal()
    this.#peer.output.appendAck(0x70, packetId)
    this.#peer.wantFlush()
  }

  /** A message the peer sent again on this connection is durable now. */
  sendPubrec(packetId: number): void {
    this.#peer.output.appendAck(0x50, packetId)
    this.#peer.wantFlush()
  }

  /** Puts the turn's PUBACKs at the end of the output. */
  sendPubacks(): void {
    const { output } = this.#peer
    for (const ack of this.#pubacks) {
      if (typeof ack === 'number') output.appendAck(0x40, ack)
      else output.append(ack)
    }
    this.#pubacks = []
  }

  /** Results that come later still free the session's ids; nothing is written any more. */
  close(): void {
    this.#isClosed = true
    this.#pubacks = []
  }

  /**
   * Each id is kept until PUBREL, so their number is held to the receive maximum. QoS 1 beyond it
   * is let be: a client that sends too much is not read until the log has it, and common clients do
   * not count.
   */
  #checkIds(): void {
    const { receiveMaximum } = this.#parts.options
    const idsMax = this.#peer.isV5 ? receiveMaximum : INBOUND_IDS_MAX
    if (this.#session.inbound.count < idsMax) return
    throw new ProtocolError(
      REASON.receiveMaximumExceeded,
      `${idsMax} messages of QoS 2 wait for PUBREL already`,
    )
  }

  /** Notes the id before the message is stored; a durable note is what makes a repeat harmless. */
  #intend(packetId: number): string | undefined {
    const id = this.#session.inbound.add(packetId)
    if (!this.#session.isPersistent) return undefined
    this.#line.batch.needsIntent = true
    return uniqueKeyOf(this.#session, id)
  }

  #push(
    route: MessageAddress,
    packet: PublishPacket,
    payload: Uint8Array,
    uniqueKey: string | undefined,
  ): void {
    const { qos, retain, properties, packetId } = packet
    const { isV5, isBridge } = this.#peer
    const session = this.#session
    const { nowMs, batch } = this.#line
    const knowsNoLocal = isV5 || isBridge
    const publisher =
      knowsNoLocal && session.subscriptions.hasNoLocal ? session.clientId : undefined
    const facts = { qos, retain, properties, publisher, uniqueKey, nowMs }
    const message = this.#parts.publisher.message(route, payload, facts, this.#bornHost)
    if (retain) {
      const change = this.#parts.retained.take(route.name, message, batch.messages.length)
      if (change !== undefined) batch.retained.push(change)
    }
    batch.messages.push(message)
    const isUnheard = isV5 && qos === 1 && this.#hasNoSubscribers(route)
    batch.acks.push(packetId * 8 + qos + (isUnheard ? NO_SUBSCRIBERS : 0))
    batch.bytes += payload.length + MESSAGE_OVERHEAD_BYTES
    const weight = this.#parts.fanOut.weight(this.#filtersOf(route))
    batch.weight += weight
    this.#parts.fanOut.add(weight)
  }

  /**
   * A hint for the publisher (0x10); a topic of its own may have native consumers, and before a
   * cluster other gateways have subscribers, so it never gets it there.
   */
  #hasNoSubscribers(route: MessageAddress): boolean {
    const { lightQueues } = this.#parts.context.broker
    if (route.topic !== MQTT_CATCH_ALL_TOPIC || lightQueues === undefined) return false
    return this.#filtersOf(route) === 0
  }

  #filtersOf(route: MessageAddress): number {
    const { subscribers } = this.#parts
    if (route.filtersGeneration !== subscribers.generation) {
      route.filters = subscribers.matching(route.name)
      route.filtersGeneration = subscribers.generation
    }
    return route.filters
  }

  /** The intents go with the messages, so that the log has none of these without them. */
  #publish({ messages, retained, needsIntent }: AckBatch): Promise<readonly PublishResult[]> {
    const { publisher, sessions } = this.#parts
    if (!needsIntent) return publisher.publish(messages, retained)
    const session = this.#session
    const change = sessions.copies.change(session)
    const notSaved = (): void => {
      change.refused()
      sessions.copies.touch(session)
    }
    const published = publisher.publish(messages, retained, change.states)
    published.then((results) => {
      // Perhaps they were: the append of another message may have had them.
      if (results.some((result) => result instanceof BrokerError)) notSaved()
    }, notSaved)
    const { storing } = session
    // Its value is none, or each would hold all answers before it.
    const before = (): Promise<void> => storing
    session.storing = published.then(before, before)
    return published
  }

  readonly #acknowledge = (batch: AckBatch, results: readonly PublishResult[]): void => {
    const { acks, isFinal, pings, weight } = batch
    for (let i = 0; i < acks.length; i++) {
      const ack = acks[i]!
      const result = results[i]!
      const packetId = ack >>> 3
      if (result instanceof BrokerError) {
        this.#refuse(packetId, ack & 3, result, isFinal || isFinalRefusal(result))
      } else if ((ack & 3) === 2) this.#stored(packetId)
      else if (ack !== 0) this.#addPuback(packetId, (ack & NO_SUBSCRIBERS) !== 0)
    }
    this.#sendPingresp(pings)
    this.#parts.fanOut.remove(weight)
  }

  #sendPingresp(count: number): void {
    if (this.#isClosed) return
    for (let i = 0; i < count; i++) this.#peer.output.append(PINGRESP)
    this.#peer.wantFlush()
  }

  #addPuback(packetId: number, noSubscribers: boolean): void {
    if (this.#isClosed) return
    if (!noSubscribers) this.#pubacks.push(packetId)
    else
      this.#pubacks.push(Buffer.of(0x40, 3, packetId >>> 8, packetId, REASON.noMatchingSubscribers))
  }

  /** PUBREC goes ahead of the turn's deliveries, as the message itself may be among them. */
  #stored(packetId: number): void {
    const id = this.#session.inbound.find(packetId)
    if (id !== undefined) id.state = 'stored'
    if (!this.#isClosed) this.#peer.output.appendAck(0x50, packetId)
    if (id === undefined) return
    for (; id.awaited > 0; id.awaited--) this.#session.holder?.stored(packetId)
  }

  /**
   * A client that sent it again on a later connection waits there for an answer, and has to send it
   * once more.
   * @returns how many more answers are owed
   */
  #forget(packetId: number, error: BrokerError): number {
    const awaited = this.#session.inbound.find(packetId)?.awaited ?? 0
    this.#session.inbound.remove(packetId)
    if (this.#isClosed && awaited > 0) this.#session.holder?.broken(error)
    return awaited
  }

  /**
   * MQTT 5 says why. 3.1.1 can only close, so that the client sends the message again, which is
   * right for what may be taken later; what never will be is acknowledged and dropped.
   */
  #refuse(packetId: number, qos: number, error: BrokerError, isFinal: boolean): void {
    const awaited = qos === 2 ? this.#forget(packetId, error) : 0
    if (this.#isClosed) return
    const { isV5, wantsReasons, packetBytesMax } = this.#peer
    // After a PUBREC with an error the client uses the id again, while the session as it is stored
    // has it as received: after a restart the next message would pass for a repetition.
    const mustRepeat = !isV5 || (qos === 2 && isUnconfirmed(error))
    if (mustRepeat && qos > 0 && !isFinal) {
      this.#peer.fail(new ProtocolError(reasonOf(error, PACKET.disconnect), error.message, true))
      return
    }
    if (!this.#hasRefused) {
      this.#hasRefused = true
      this.#peer.refused(error)
    }
    if (qos === 0) return
    if (!isV5) {
      if (qos === 1) this.#pubacks.push(packetId)
      for (let i = 0; qos === 2 && i <= awaited; i++) this.sendPubrec(packetId)
      return
    }
    const reason: ReasonCode = reasonOf(error, PACKET.puback)
    // The text could name topics: a client without the right is told the code alone.
    const isDenied = error.code === 'PERMISSION_DENIED'
    const text = wantsReasons && !isDenied ? error.message : undefined
    if (qos === 1) this.#pubacks.push(encodeAck(0x40, packetId, reason, text, packetBytesMax))
    else {
      const pubrec = encodeAck(0x50, packetId, reason, text, packetBytesMax)
      for (let i = 0; i <= awaited; i++) this.#peer.output.append(pubrec)
    }
  }
}

/** Names one QoS 2 message of one session for good. */
const uniqueKeyOf = (session: Session, id: InboundId): string => `${session.epoch}-${id.serial}`
