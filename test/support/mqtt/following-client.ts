// An MQTT 5 subscriber of QoS 1 with a session, which may stop acknowledging, and knows which
// messages it is to get.
import type { ExecutionContext } from 'ava'
import { filterMatches } from '../../../src/model/topic-filter.ts'
import { RawPeer } from '../peers/raw-peer.ts'
import {
  ack,
  connect,
  DISCONNECT,
  publish,
  subscribe,
  u16,
  u32,
  unsubscribe,
} from './mqtt-packets.ts'

const RECEIVE_MAXIMUM = 4
const PROPERTIES = Buffer.of(0x11, ...u32(3600), 0x21, ...u16(RECEIVE_MAXIMUM))

interface Taken {
  readonly name: string
  readonly text: string
  readonly isDup: boolean
}

export class FollowingClient {
  readonly clientId: string
  readonly filters = new Set<string>()
  readonly taken: Taken[] = []
  /** Texts to their names, and the filters that they are for. */
  readonly expected = new Map<string, { readonly name: string; readonly for: Set<string> }>()
  /** Texts that may come, or not. */
  readonly optional = new Set<string>()
  readonly #texts = new Set<string>()
  #peer: RawPeer | undefined
  #unacked: number[] = []
  #answers: ((body: Buffer) => void)[] = []
  isSlow = false

  constructor(clientId: string) {
    this.clientId = clientId
  }

  get isConnected(): boolean {
    return this.#peer !== undefined
  }

  /** Texts that are to come still. */
  get missing(): string[] {
    return [...this.expected.keys()].filter(
      (text) => !this.#texts.has(text) && !this.optional.has(text),
    )
  }

  async connect(port: number): Promise<void> {
    const peer = await RawPeer.connect(port)
    const shape = { clean: false, keepAlive: 0, properties: PROPERTIES }
    peer.send(connect(this.clientId, { version: 5, ...shape }))
    const { first, body } = await peer.readPacket()
    if (first !== 0x20 || body[1] !== 0) throw new Error(`CONNECT was answered ${first} ${body[1]}`)
    this.#peer?.end()
    this.#peer = peer
    this.#unacked = []
    void this.#listen(peer)
  }

  /** A message was published, and is durable. */
  published(name: string, text: string): void {
    const selecting = [...this.filters].filter((filter) => filterMatches(filter, name))
    if (selecting.length > 0) this.expected.set(text, { name, for: new Set(selecting) })
  }

  /** What has not come of these names may be lost. */
  giveUp(isGone: (name: string) => boolean): void {
    for (const text of this.missing) {
      if (isGone(this.expected.get(text)!.name)) this.optional.add(text)
    }
  }

  async subscribe(filter: string): Promise<void> {
    const answered = this.#answer()
    this.#peer!.send(subscribe(1, [[filter, 1]], 5))
    const code = (await answered).at(-1)
    if (code !== 1) throw new Error(`SUBACK ${code}`)
    this.filters.add(filter)
  }

  /** What the client could not take till then may not come. */
  async unsubscribe(filter: string): Promise<void> {
    const answered = this.#answer()
    this.#peer!.send(unsubscribe(2, [filter], 5))
    await answered
    this.filters.delete(filter)
    for (const text of this.missing) {
      const filters = this.expected.get(text)!.for
      if (filters.delete(filter) && filters.size === 0) this.optional.add(text)
    }
  }

  goOn(): void {
    this.isSlow = false
    for (const id of this.#unacked.splice(0)) this.#peer!.send(ack('puback', id))
  }

  cut(): void {
    this.#peer?.end()
    this.#peer = undefined
  }

  leave(): void {
    this.#peer?.send(DISCONNECT)
    this.cut()
  }

  #answer(): Promise<Buffer> {
    return new Promise((resolve) => {
      this.#answers.push(resolve)
    })
  }

  async #listen(peer: RawPeer): Promise<void> {
    try {
      while (this.#peer === peer) {
        const { first, body } = await peer.readPacket()
        if (this.#peer !== peer) return
        if (first >>> 4 === 3) this.#onPublish(peer, first, body)
        else this.#answers.shift()?.(body)
      }
    } catch {
      // The connection ended.
    }
  }

  #onPublish(peer: RawPeer, first: number, body: Buffer): void {
    const nameEnd = 2 + body.readUInt16BE(0)
    const id = body.readUInt16BE(nameEnd)
    const text = `${body.subarray(nameEnd + 3 + body[nameEnd + 2]!)}`
    this.taken.push({ name: `${body.subarray(2, nameEnd)}`, text, isDup: (first & 8) !== 0 })
    this.#texts.add(text)
    if (this.isSlow) this.#unacked.push(id)
    else peer.send(ack('puback', id))
  }
}

/** Publishes at QoS 1, one after the other. */
export class FollowedPublisher {
  readonly #peer: RawPeer

  static async connect(port: number, clientId: string): Promise<FollowedPublisher> {
    const peer = await RawPeer.connect(port)
    peer.send(connect(clientId, { version: 5, keepAlive: 0 }))
    await peer.readPacket()
    return new FollowedPublisher(peer)
  }

  constructor(peer: RawPeer) {
    this.#peer = peer
  }

  /** Settles when all are acknowledged. */
  async publish(messages: readonly (readonly [name: string, text: string])[]): Promise<void> {
    this.#peer.send(
      ...messages.map(([name, text], i) => publish(name, text, { qos: 1, id: i + 1, version: 5 })),
    )
    for (const [name] of messages) {
      const { first, body } = await this.#peer.readPacket()
      const isAccepted = first === 0x40 && (body[2] ?? 0) < 0x80
      if (!isAccepted) throw new Error(`'${name}' was answered ${first} ${body.toString('hex')}`)
    }
  }

  end(): void {
    this.#peer.end()
  }
}

/**
 * A client that may follow 'rooms', and a publisher at the port that sends to it there; both go
 * with the test.
 */
export async function inRooms(t: ExecutionContext, port: number) {
  const client = new FollowingClient('client')
  const publisher = await FollowedPublisher.connect(port, 'publisher')
  t.teardown(() => {
    client.cut()
    publisher.end()
  })
  const publish = async (...texts: string[]): Promise<void> => {
    await publisher.publish(texts.map((text) => ['rooms/a', text]))
    for (const text of texts) client.published('rooms/a', text)
  }
  return { client, publisher, publish }
}
