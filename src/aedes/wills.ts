// Wills of connected clients, for the process that finds that another one has died.
import type { States } from '../port/states.ts'
import { decodeFields, encodeFields, type Packet, type PacketFields } from './packet.ts'

const PREFIX = 'aedes/will/'

/** By the id of an aedes: when it was last heard of. */
export type KnownBrokers = Readonly<Record<string, unknown>>

export class Wills {
  readonly #states: States

  constructor(states: States) {
    this.#states = states
  }

  async put(clientId: string, will: Packet, brokerId: string): Promise<void> {
    // As upstream: the packet is the caller's, and says from then on whose it is.
    Object.assign(will, { brokerId, clientId })
    await this.#states.save(idOf(clientId), encodeFields(will as unknown as PacketFields))
  }

  async get(clientId: string): Promise<Packet | undefined> {
    const state = await this.#states.load(idOf(clientId))
    return state && (decodeFields(state.value) as Packet | undefined)
  }

  async delete(clientId: string): Promise<Packet | undefined> {
    const will = await this.get(clientId)
    if (will !== undefined) await this.#states.delete(idOf(clientId))
    return will
  }

  async *ofOthers(known: KnownBrokers): AsyncGenerator<Packet> {
    for await (const page of this.#states.list(PREFIX)) {
      for (const { value } of page) {
        const will = decodeFields(value) as Packet | undefined
        if (will !== undefined && known[will.brokerId ?? ''] === undefined) yield will
      }
    }
  }
}

const idOf = (clientId: string): string => PREFIX + encodeURIComponent(clientId)
