// Retained messages. With this package's emitter they are the MQTT front-end's, stored with their
// messages; beside another emitter they are packets in states of their own.
import { expiresMsOf } from '../model/expiry.ts'
import { checkRecord, RecordView } from '../model/record.ts'
import { filterMatches } from '../model/topic-filter.ts'
import type { States } from '../port/states.ts'
import { RETAINED_PREFIX, toPacket } from './message.ts'
import { bytesOf, decodeFields, encodeFields, type Packet, type PacketFields } from './packet.ts'

const OWN_PREFIX = 'aedes/retained/'

export class RetainedPackets {
  readonly #states: States
  readonly #now: () => number
  readonly #prefix: string

  /** `areShared`: those that the emitter stores with their messages. */
  constructor(states: States, now: () => number, areShared: boolean) {
    this.#states = states
    this.#now = now
    this.#prefix = areShared ? RETAINED_PREFIX : OWN_PREFIX
  }

  async store(packet: Packet): Promise<void> {
    const id = this.#prefix + packet.topic
    if (bytesOf(packet.payload).length === 0) await this.#states.delete(id)
    else await this.#states.save(id, encodeFields(packet as unknown as PacketFields))
  }

  /** Of each filter's, one message once. */
  async *matching(filters: readonly string[]): AsyncGenerator<Packet> {
    const told = new Set<string>()
    for (const filter of filters) {
      for await (const packet of this.#select(filter)) {
        if (told.has(packet.topic)) continue
        told.add(packet.topic)
        yield packet
      }
    }
  }

  async *#select(filter: string): AsyncGenerator<Packet> {
    const wildcard = filter.search(/[+#]/)
    if (wildcard === -1) {
      const state = await this.#states.load(this.#prefix + filter)
      const packet = state && this.#packetOf(state.value)
      if (packet !== undefined) yield packet
      return
    }
    // 'a/#' selects 'a' too.
    const start = filter.slice(0, wildcard).replace(/\/$/, '')
    for await (const page of this.#states.list(this.#prefix + start)) {
      for (const { id, value } of page) {
        if (!filterMatches(filter, id.slice(this.#prefix.length))) continue
        const packet = this.#packetOf(value)
        if (packet !== undefined) yield packet
      }
    }
  }

  #packetOf(value: Buffer): Packet | undefined {
    if (this.#prefix === OWN_PREFIX) return decodeFields(value) as unknown as Packet | undefined
    if (checkRecord(value, 0, value.length, false) === 0) return undefined
    const record = new RecordView(value)
    return expiresMsOf(record) > this.#now() ? { ...toPacket(record), retain: true } : undefined
  }
}
