// An MQTT 5 client that keeps its half of a session itself, and leaves a connection for the next
// one in the middle of whatever is under way.

import { RawPeer } from '../peers/raw-peer.ts'
import { ack, connect, publish, subscribe, u32 } from './mqtt-packets.ts'

const SESSION_EXPIRY = Buffer.of(0x11, ...u32(3600))
const DUP = 8

type Outgoing = { readonly topic: string; readonly text: string; qos: 1 | 2; isReleased: boolean }

export class RoamingClient {
  /** Texts of the messages that came: of QoS 2 once for each packet id until it is released. */
  readonly received: string[] = []
  readonly #clientId: string
  readonly #outgoing = new Map<number, Outgoing>()
  readonly #incoming = new Set<number>()
  #peer: RawPeer | undefined
  #nextId = 1

  constructor(clientId: string) {
    this.#clientId = clientId
  }

  /** Is everything that it sent and took acknowledged? */
  get isIdle(): boolean {
    return this.#outgoing.size === 0 && this.#incoming.size === 0
  }

  /** The connection before ends when this one is accepted. @returns was the session present? */
  async connect(port: number): Promise<boolean> {
    const peer = await RawPeer.connect(port)
    peer.send(
      connect(this.#clientId, {
        version: 5,
        clean: false,
        properties: SESSION_EXPIRY,
        keepAlive: 0,
      }),
    )
    const { first, body } = await peer.readPacket()
    if (first !== 0x20 || body[1] !== 0) throw new Error(`CONNECT was answered ${first} ${body[1]}`)
    this.#peer?.end()
    this.#peer = peer
    for (const [id, { topic, text, qos, isReleased }] of this.#outgoing) {
      if (isReleased) peer.send(ack('pubrel', id))
      else peer.send(publish(topic, text, { qos, id, flags: DUP, version: 5 }))
    }
    void this.#listen(peer)
    return body[0] === 1
  }

  subscribe(filter: string): void {
    this.#peer!.send(subscribe(60_000, [[filter, 2]], 5))
  }

  publish(topic: string, text: string, qos: 1 | 2): void {
    const id = this.#nextId++
    this.#outgoing.set(id, { topic, text, qos, isReleased: false })
    this.#peer!.send(publish(topic, text, { qos, id, version: 5 }))
  }

  end(): void {
    this.#peer?.end()
  }

  async #listen(peer: RawPeer): Promise<void> {
    try {
      while (this.#peer === peer) {
        const { first, body } = await peer.readPacket()
        if (this.#peer === peer) this.#take(peer, first, body)
      }
    } catch {
      // The connection ended.
    }
  }

  #take(peer: RawPeer, first: number, body: Buffer): void {
    const type = first >>> 4
    if (type === 3) {
      this.#message(peer, (first >>> 1) & 3, body)
      return
    }
    const id = body.readUInt16BE(0)
    if (type === 4 || type === 7) this.#outgoing.delete(id)
    if (type === 5) {
      const sent = this.#outgoing.get(id)
      if (sent !== undefined) sent.isReleased = true
      peer.send(ack('pubrel', id))
    }
    if (type === 6) {
      this.#incoming.delete(id)
      peer.send(ack('pubcomp', id))
    }
  }

  #message(peer: RawPeer, qos: number, body: Buffer): void {
    const topicEnd = 2 + body.readUInt16BE(0)
    const id = body.readUInt16BE(topicEnd)
    const payloadAt = topicEnd + 3 + body[topicEnd + 2]!
    if (qos === 1 || !this.#incoming.has(id)) this.received.push(`${body.subarray(payloadAt)}`)
    if (qos === 2) this.#incoming.add(id)
    peer.send(ack(qos === 2 ? 'pubrec' : 'puback', id))
  }
}
