// MQTT for the suite over the front-ends: QoS 1, and shared subscriptions as consumer groups.

import { BrokerError } from '../../../../src/errors.ts'
import { isFinalRefusal } from '../../../../src/gateway/mqtt/errors.ts'
import { PacketReader } from '../../../../src/gateway/mqtt/packets/packet-reader.ts'
import { readProperties } from '../../../../src/gateway/mqtt/packets/properties.ts'
import { PACKET } from '../../../../src/gateway/mqtt/packets/protocol.ts'
import { MqttGateway } from '../../../../src/gateway/mqtt/server.ts'
import {
  ack,
  connect,
  DISCONNECT,
  frame,
  PINGREQ,
  publish,
  str,
  subscribe,
  u16,
  unsubscribe,
  varint,
} from '../../../support/mqtt/mqtt-packets.ts'
import { withoutLightQueues } from '../../../support/mqtt/without-light-queues.ts'
import { RawPeer } from '../../../support/peers/raw-peer.ts'
import type { Client, Delivery, Driver, Labels, Login, Reader, Verdict } from '../driver.ts'

type Version = 4 | 5

let clients = 0

const kept = (version: Version) => ({
  ...{ version, clean: false },
  properties: Buffer.of(0x11, 0, 0, 0, 60),
})

/** Over topics that it follows, as before a cluster. */
export const followingMqtt = (version: Version): Driver => {
  const driver = mqtt(version)
  return {
    ...driver,
    name: `${driver.name} over followed topics`,
    gateway: ({ broker, ...context }) =>
      driver.gateway({ ...context, broker: withoutLightQueues(broker) }),
  }
}

export const mqtt = (version: Version): Driver => ({
  name: version === 4 ? 'MQTT 3.1.1' : 'MQTT 5',
  gateway: (context) => new MqttGateway(context, { unstoredBytesMax: 200_000 }),
  connect: async (t, port, login) => {
    const peer = await RawPeer.connect(port)
    t.teardown(() => peer.end())
    const client = new MqttClient(peer, version)
    await client.open(login)
    return client
  },
  // The topic name says the tag of a message of another protocol, and not its key.
  says: version === 4 ? ['tag'] : ['tag', 'properties'],
  outcomes: version === 4 ? [] : ['reject'],
  goodbye: version === 4 ? 'no word' : 'DISCONNECT 0x8b',
  hellos: [
    connect('peer', { version }),
    connect('kept', {
      ...kept(version),
      will: { topic: 'fuzzed/will', payload: 'x', flags: 0x28 },
    }),
  ],
  frames: [
    publish('fuzzed/a', 'x', { version, qos: 1, id: 1 }),
    publish('fuzzed/b', 'x', { version, qos: 2, id: 2, flags: 1 }),
    ack('pubrel', 2),
    subscribe(3, [['fuzzed/#', 1]], version),
    subscribe(4, [['$share/g/fuzzed/+', 2]], version),
    ack('puback', 1),
    ack('pubrec', 1),
    ack('pubcomp', 1),
    unsubscribe(5, ['fuzzed/#'], version),
    PINGREQ,
    DISCONNECT,
  ],
  randomFrame: (random) => frame(random.int(256), random.bytes(random.int(40))),
  overLimit: [
    ['a SUBSCRIBE of 256 MB', 0x82, 0xfffffff] as const,
    ['a SUBSCRIBE over the limit', 0x82, 4_400_000] as const,
    // 3.1.1 has no word for one that is too large: it is passed over.
    ...(version === 4 ? [] : [['a PUBLISH over the limit', 0x30, 4_400_000] as const]),
  ].map(([what, type, length]) => ({
    what,
    bytes: Buffer.concat([Buffer.of(type), varint(length)]),
    says: version === 4 ? '' : Buffer.of(0xe0, 1, 0x95),
  })),
  greedy: (topic) =>
    Buffer.concat([
      connect('greedy', { version, keepAlive: 0 }),
      subscribe(1, [[`$share/G/${topic}/#`, 0]], version),
    ]),
  acknowledges: (code) => version === 4 && isFinalRefusal(new BrokerError(code, '')),
})

interface Packet {
  readonly first: number
  readonly body: Buffer
}

class MqttClient implements Client {
  readonly ended: Promise<string>
  readonly #peer: RawPeer
  readonly #version: Version
  #packetId = 0
  #goodbye = 'no word'
  #isOver = false
  #end: () => void = () => {}
  /** What waits for a packet, by its type and packet id. */
  readonly #waiting = new Map<string, (packet: Packet | undefined) => void>()
  readonly #deliveries: Delivery[] = []
  #wake: () => void = () => {}

  constructor(peer: RawPeer, version: Version) {
    this.#peer = peer
    this.#version = version
    this.ended = new Promise((resolve) => {
      this.#end = () => resolve(this.#goodbye)
    })
  }

  async open(login: Login | undefined): Promise<void> {
    const shape = login && { username: login.user, password: login.password }
    this.#peer.send(
      connect(`client-${clients++}`, { version: this.#version, keepAlive: 0, ...shape }),
    )
    const { first, body } = await this.#peer.readPacket()
    if (first !== 0x20 || body[1] !== 0) {
      throw new Error(`CONNACK ${body.toString('hex')}`)
    }
    void this.#read()
  }

  async send(topic: string, body: Buffer | string, labels: Labels = {}): Promise<Verdict> {
    const { tag, key, properties = {} } = labels
    const name =
      key !== undefined ? `${topic}/${tag ?? ''}/${key}` : tag ? `${topic}/${tag}` : topic
    const section = Object.entries(properties).flatMap(([name, value]) => [
      Buffer.of(0x26),
      str(name),
      str(value),
    ])
    const id = this.#nextId()
    const version = this.#version
    const shape = { qos: 1, id, version, properties: Buffer.concat(section) }
    const answer = this.#answer(`4 ${id}`)
    this.#peer.send(publish(name, Buffer.from(body), shape))
    const puback = await answer
    if (puback === undefined) return 'unanswered'
    return (puback.body[2] ?? 0) >= 0x80 ? 'refused' : 'accepted'
  }

  async reader(topic: string, group: string): Promise<Reader> {
    const id = this.#nextId()
    const answer = this.#answer(`9 ${id}`)
    this.#peer.send(subscribe(id, [[`$share/${group}/${topic}/#`, 1]], this.#version))
    const suback = await answer
    const code = suback?.body.at(-1) ?? 0x80
    if (code >= 0x80) throw new Error(`SUBACK 0x${code.toString(16)}`)
    return { take: () => this.#take() }
  }

  async ping(): Promise<void> {
    const answer = this.#answer('13')
    this.#peer.send(PINGREQ)
    if ((await answer) === undefined) throw new Error('the connection ended')
  }

  async leave(): Promise<void> {
    this.#peer.send(DISCONNECT)
    await this.ended
  }

  cut(): void {
    this.#peer.end()
  }

  async #take(): Promise<Delivery> {
    for (;;) {
      const delivery = this.#deliveries.shift()
      if (delivery !== undefined) return delivery
      if (this.#isOver) throw new Error('the connection ended')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  #nextId(): number {
    this.#packetId = (this.#packetId % 65_535) + 1
    return this.#packetId
  }

  /** undefined when the connection ends first. */
  #answer(key: string): Promise<Packet | undefined> {
    if (this.#isOver) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      const before = this.#waiting.get(key)
      this.#waiting.set(key, (packet) => {
        before?.(packet)
        resolve(packet)
      })
    })
  }

  async #read(): Promise<void> {
    try {
      for (;;) this.#onPacket(await this.#peer.readPacket())
    } catch {
      this.#isOver = true
      for (const answer of this.#waiting.values()) answer(undefined)
      this.#wake()
      this.#end()
    }
  }

  #onPacket(packet: Packet): void {
    const { first, body } = packet
    const type = first >>> 4
    if (type === PACKET.publish) {
      this.#deliveries.push(this.#delivery(first, body))
      this.#wake()
      return
    }
    if (type === PACKET.disconnect) this.#goodbye = `DISCONNECT 0x${(body[0] ?? 0).toString(16)}`
    const key = body.length >= 2 ? `${type} ${body.readUInt16BE()}` : String(type)
    this.#waiting.get(key)?.(packet)
    this.#waiting.delete(key)
  }

  #delivery(first: number, body: Buffer): Delivery {
    const topicEnd = 2 + body.readUInt16BE()
    const [, tag, key] = body.toString('utf8', 2, topicEnd).split('/')
    const id = (first & 6) === 0 ? 0 : body.readUInt16BE(topicEnd)
    const reader = new PacketReader(body, topicEnd + (id === 0 ? 0 : 2), body.length)
    const properties = this.#version === 5 ? readProperties(reader, PACKET.publish) : {}
    const settle = async (packet: Buffer): Promise<void> => {
      this.#peer.send(packet)
      await this.ping()
    }
    const reject = (): Promise<void> => settle(frame(0x40, u16(id), Buffer.of(0x83)))
    return {
      body: body.subarray(reader.at),
      labels: {
        ...(tag && { tag }),
        ...(key && { key }),
        properties: Object.fromEntries(properties.user ?? []),
      },
      accept: () => settle(ack('puback', id)),
      ...(this.#version === 5 && { reject }),
    }
  }
}
