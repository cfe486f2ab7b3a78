// QoS 2 packets of clients that aedes has taken and the client has not released.
import type { StateChange } from '../model/state.ts'
import type { States } from '../port/states.ts'
import {
  decodeFields,
  encodeFields,
  type Packet,
  type PacketFields,
  queuedPacket,
} from './packet.ts'

const PREFIX = 'aedes/in/'

export class Incoming {
  readonly #states: States
  /** Of all processes, so that a session is cleaned without a search. */
  readonly #ids = new Map<string, Set<string>>()
  #watch: Disposable | undefined

  constructor(states: States) {
    this.#states = states
  }

  async open(): Promise<void> {
    this.#watch = this.#states.watch(PREFIX, ({ id, value }) => this.#note(id, value !== undefined))
    for await (const page of this.#states.list(PREFIX)) for (const { id } of page) this.#note(id)
  }

  close(): void {
    this.#watch?.[Symbol.dispose]()
  }

  /** To be stored with the packet's message. */
  change(clientId: string, { messageId }: Packet): StateChange {
    const id = idOf(clientId, messageId)
    this.#note(id)
    return { id, state: encodeFields({ cmd: 'publish', messageId }), message: 0 }
  }

  async store(clientId: string, packet: Packet): Promise<void> {
    const id = idOf(clientId, packet.messageId)
    this.#note(id)
    const fields = queuedPacket(packet as unknown as PacketFields)
    await this.#states.save(id, encodeFields({ ...fields }))
  }

  /** @throws Error when there is none */
  async get(clientId: string, messageId: number | undefined): Promise<Packet> {
    const state = await this.#states.load(idOf(clientId, messageId))
    const fields = state && decodeFields(state.value)
    if (fields === undefined) throw new Error('no such packet')
    return queuedPacket(fields)
  }

  /** @throws Error when there is none */
  async delete(clientId: string, messageId: number | undefined): Promise<void> {
    await this.get(clientId, messageId)
    const id = idOf(clientId, messageId)
    await this.#states.delete(id)
    this.#note(id, false)
  }

  async clean(clientId: string): Promise<void> {
    const ids = [...(this.#ids.get(clientId) ?? [])]
    await Promise.all(ids.map((id) => this.#states.delete(id)))
    for (const id of ids) this.#note(id, false)
  }

  #note(id: string, isThere = true): void {
    const clientId = decodeURIComponent(id.slice(PREFIX.length, id.indexOf('/', PREFIX.length)))
    const ids = this.#ids.get(clientId) ?? new Set()
    if (isThere) ids.add(id)
    else ids.delete(id)
    if (ids.size === 0) this.#ids.delete(clientId)
    else this.#ids.set(clientId, ids)
  }
}

const idOf = (clientId: string, messageId: number | undefined): string =>
  `${PREFIX}${encodeURIComponent(clientId)}/${messageId}`
