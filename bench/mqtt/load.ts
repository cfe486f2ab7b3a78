// An MQTT 3.1.1 load over raw sockets, TLS or WebSocket: publishers with a window each, subscribers
// that count.
// Frames are built once and patched, so that the server is the limit.
import type { Duplex } from 'node:stream'
import { dial, type Transport } from '../peers/dial.ts'

export interface Shape {
  /** None: the messages are there already. */
  readonly publishers: number
  readonly subscribers: number
  readonly qos: 0 | 1
  /** In flight per publisher; with QoS 0 and subscribers: not yet delivered per publisher. */
  readonly window: number
  readonly messages: number
  readonly payloadBytes: number
  /** Each publisher has a name of its own below this topic; by default all have one. */
  readonly topic?: string
  /** The subscribers share the topic as this group. */
  readonly group?: string
}

export interface Result {
  readonly seconds: number
  readonly published: number
  readonly delivered: number
}

const TOPIC = 'bench/load'
const DEADLINE_MS = 60_000
const PUBLISH = 3
const PUBACK = 4

/** One round; settles when every message is acknowledged and delivered. */
export async function load(
  port: number,
  shape: Shape,
  transport: Transport = 'tcp',
): Promise<Result> {
  const { subscribers, publishers, messages, qos } = shape
  const round = new Round(shape)
  const readers = await Promise.all(
    Array.from({ length: subscribers }, async (_, i) => {
      const peer = await openPeer(await dial(port, transport), `sub${i}`, round)
      peer.send(subscribeFrame(filterOf(shape), qos))
      await peer.packet(9)
      return peer
    }),
  )
  const writers = await Promise.all(
    Array.from({ length: publishers }, async (_, i) =>
      openPeer(await dial(port, transport), `pub${i}`, round),
    ),
  )
  const start = performance.now()
  const deadline = setTimeout(() => round.end(), DEADLINE_MS)
  writers.forEach((peer, i) => {
    const name = shape.topic === undefined ? TOPIC : `${shape.topic}/${i}`
    round.start(peer, name, Math.floor(messages / publishers) + (i < messages % publishers ? 1 : 0))
  })
  await round.done
  clearTimeout(deadline)
  const seconds = (performance.now() - start) / 1000
  for (const peer of [...readers, ...writers]) peer.close()
  return { seconds, published: round.published, delivered: round.delivered }
}

interface Writer {
  readonly peer: Peer
  readonly frame: Buffer
  readonly idAt: number
  left: number
  inFlight: number
  nextId: number
}

class Round {
  readonly done: Promise<void>
  published = 0
  delivered = 0
  readonly #shape: Shape
  end: () => void = () => {}
  readonly #writers: Writer[] = []

  constructor(shape: Shape) {
    this.#shape = shape
    this.done = new Promise((resolve) => {
      this.end = resolve
    })
  }

  start(peer: Peer, topic: string, messages: number): void {
    const writer = { ...this.#frameOf(topic), peer, left: messages, inFlight: 0, nextId: 1 }
    this.#writers.push(writer)
    peer.acked = (count) => {
      this.published += count
      writer.inFlight -= count
      this.#fill(writer)
      this.#check()
    }
    this.#fill(writer)
  }

  #frameOf(topic: string): Pick<Writer, 'frame' | 'idAt'> {
    const { qos, payloadBytes } = this.#shape
    const head = Buffer.of(topic.length >> 8, topic.length)
    const id = Buffer.alloc(qos === 0 ? 0 : 2)
    const body = Buffer.concat([head, Buffer.from(topic), id, Buffer.alloc(payloadBytes, 'x')])
    const length = varint(body.length)
    const frame = Buffer.concat([Buffer.of(0x30 | (qos << 1)), length, body])
    return { frame, idAt: 1 + length.length + 2 + topic.length }
  }

  /** Deliveries are what paces QoS 0, where there are subscribers. */
  received(count: number): void {
    this.delivered += count
    if (this.#shape.qos === 0) {
      const all = Math.floor(this.delivered / this.#shape.subscribers)
      const share = Math.floor(all / this.#writers.length)
      for (const writer of this.#writers) {
        writer.inFlight = Math.max(0, writer.nextId - 1 - share)
        this.#fill(writer)
      }
    }
    this.#check()
  }

  #fill(writer: Writer): void {
    const { window, qos } = this.#shape
    const count = Math.min(writer.left, window - writer.inFlight)
    if (count <= 0) return
    const { frame, idAt } = writer
    const { length } = frame
    const burst = Buffer.allocUnsafe(count * length)
    for (let i = 0; i < count; i++) {
      burst.set(frame, i * length)
      if (qos > 0) burst.writeUInt16BE(1 + ((writer.nextId - 1) % 65_535), i * length + idAt)
      writer.nextId++
    }
    writer.left -= count
    writer.inFlight += count
    if (qos === 0) this.published += count
    writer.peer.send(burst)
  }

  #check(): void {
    const { messages, publishers, subscribers, group } = this.#shape
    const copies = group === undefined ? subscribers : 1
    const isSent = publishers === 0 || this.published >= messages
    if (isSent && this.delivered >= messages * copies) this.end()
  }
}

class Peer {
  acked: (count: number) => void = () => {}
  readonly #socket: Duplex
  readonly #round: Round
  #rest: Buffer | undefined
  #wanted: { type: number; resolve: () => void } | undefined

  constructor(socket: Duplex, round: Round) {
    this.#socket = socket
    this.#round = round
    socket.on('data', (chunk) => this.#read(chunk))
    socket.on('error', (error) => {
      throw error
    })
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  packet(type: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = { type, resolve }
    })
  }

  close(): void {
    this.#socket.removeAllListeners('error')
    this.#socket.on('error', () => {})
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    let acks = 0
    let messages = 0
    const pubacks: number[] = []
    while (at + 2 <= bytes.length) {
      const second = bytes[at + 1]!
      const head = second < 128 ? 2 : 3
      if (at + head > bytes.length) break
      const length = second < 128 ? second : (second & 127) + (bytes[at + 2]! << 7)
      if (at + head + length > bytes.length) break
      const first = bytes[at]!
      const type = first >> 4
      if (type === PUBACK) acks++
      else if (type === PUBLISH) {
        messages++
        const topicBytes = bytes.readUInt16BE(at + head)
        if (first & 6) pubacks.push(bytes.readUInt16BE(at + head + 2 + topicBytes))
      } else if (type === this.#wanted?.type) this.#wanted.resolve()
      at += head + length
    }
    this.#rest = at < bytes.length ? Buffer.from(bytes.subarray(at)) : undefined
    if (pubacks.length > 0)
      this.send(Buffer.from(pubacks.flatMap((id) => [0x40, 2, id >> 8, id & 255])))
    if (acks > 0) this.acked(acks)
    if (messages > 0) this.#round.received(messages)
  }
}

async function openPeer(socket: Duplex, id: string, round: Round): Promise<Peer> {
  const peer = new Peer(socket, round)
  const body = Buffer.concat([
    Buffer.from([0, 4]),
    Buffer.from('MQTT'),
    Buffer.from([4, 2, 0, 0, 0, id.length]),
    Buffer.from(id),
  ])
  peer.send(Buffer.concat([Buffer.of(0x10, body.length), body]))
  await peer.packet(2)
  return peer
}

function filterOf({ topic, group }: Shape): string {
  const filter = topic === undefined ? TOPIC : `${topic}/#`
  return group === undefined ? filter : `$share/${group}/${filter}`
}

function subscribeFrame(filter: string, qos: number): Buffer {
  const body = Buffer.concat([
    Buffer.from([0, 1, 0, filter.length]),
    Buffer.from(filter),
    Buffer.of(qos),
  ])
  return Buffer.concat([Buffer.of(0x82, body.length), body])
}

function varint(value: number): Buffer {
  return value < 128 ? Buffer.of(value) : Buffer.of((value & 127) | 128, value >> 7)
}
