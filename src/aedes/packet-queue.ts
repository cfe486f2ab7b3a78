// Packets that aedes queues for one client by itself, each in a state of its own: those of
// `client.publish`, and all where the emitter is another one.
import type { States } from '../port/states.ts'
import {
  decodeFields,
  encodeFields,
  type Packet,
  type PacketFields,
  queuedPacket,
} from './packet.ts'

const PREFIX = 'aedes/out/'

interface Queued {
  /** When it was queued: [epoch ms, count]. */
  readonly at: readonly [number, number]
  readonly fields: PacketFields
}

export class PacketQueue {
  readonly #states: States
  readonly #now: () => number
  /** By client: what it was sent and has not acknowledged, by message id. */
  readonly #sent = new Map<string, Map<number, string>>()
  /** Clients that may have packets queued, by any process: others are not looked for. */
  readonly #queuedFor = new Set<string>()
  #watch: Disposable | undefined
  #count = 0

  constructor(states: States, now: () => number) {
    this.#states = states
    this.#now = now
  }

  async open(): Promise<void> {
    this.#watch = this.#states.watch(PREFIX, ({ id, value }) => {
      if (value !== undefined) this.#queuedFor.add(clientOf(id))
    })
    for await (const page of this.#states.list(PREFIX)) {
      for (const { id } of page) this.#queuedFor.add(clientOf(id))
    }
  }

  close(): void {
    this.#watch?.[Symbol.dispose]()
  }

  /** Once for each client, however many of its filters select the packet. */
  async add(clientIds: ReadonlySet<string>, packet: Packet): Promise<void> {
    const fields = { ...queuedPacket(packet as unknown as PacketFields), messageId: undefined }
    const value = encode({ at: [this.#now(), this.#count++], fields })
    for (const clientId of clientIds) this.#queuedFor.add(clientId)
    await Promise.all(
      [...clientIds].map((clientId) => this.#states.save(idOf(clientId, packet), value)),
    )
  }

  /** It is being sent under its message id; what was not queued is from now on. */
  async sent(clientId: string, packet: Packet): Promise<void> {
    const id = idOf(clientId, packet)
    const { messageId } = packet
    const queued = await this.#load(id)
    const at = queued?.at ?? [this.#now(), this.#count++]
    const fields = { ...queuedPacket(packet as unknown as PacketFields), messageId }
    this.#queuedFor.add(clientId)
    await this.#states.save(id, encode({ at, fields }))
    if (messageId !== undefined) this.#sentOf(clientId).set(messageId, id)
  }

  /** Answers whether there is such a packet. */
  async released(clientId: string, messageId: number): Promise<boolean> {
    const id = this.#sent.get(clientId)?.get(messageId)
    const queued = id === undefined ? undefined : await this.#load(id)
    if (id === undefined || queued === undefined) return false
    await this.#states.save(id, encode({ at: queued.at, fields: { cmd: 'pubrel', messageId } }))
    return true
  }

  /** Answers what is not queued any more. */
  async acknowledged(clientId: string, messageId: number): Promise<Packet | undefined> {
    const id = this.#sent.get(clientId)?.get(messageId)
    if (id === undefined) return undefined
    this.#sent.get(clientId)?.delete(messageId)
    const queued = await this.#load(id)
    await this.#states.delete(id)
    return queued && packetOf(queued)
  }

  /** In the order in which they were queued. */
  async *all(clientId: string): AsyncGenerator<Packet> {
    const found: { readonly id: string; readonly at: Queued['at'] }[] = []
    const sent = this.#sentOf(clientId)
    sent.clear()
    if (!this.#queuedFor.delete(clientId)) return
    for await (const page of this.#states.list(prefixOf(clientId))) {
      for (const { id, value } of page) {
        const queued = decode(value)
        if (queued === undefined) continue
        found.push({ id, at: queued.at })
        const { messageId } = queued.fields
        if (typeof messageId === 'number') sent.set(messageId, id)
      }
    }
    if (found.length > 0) this.#queuedFor.add(clientId)
    found.sort((one, other) => one.at[0] - other.at[0] || one.at[1] - other.at[1])
    for (const { id } of found) {
      const queued = await this.#load(id)
      if (queued !== undefined) yield packetOf(queued)
    }
  }

  letGo(clientId: string): void {
    this.#sent.delete(clientId)
  }

  #sentOf(clientId: string): Map<number, string> {
    let sent = this.#sent.get(clientId)
    if (sent === undefined) {
      sent = new Map()
      this.#sent.set(clientId, sent)
    }
    return sent
  }

  async #load(id: string): Promise<Queued | undefined> {
    const state = await this.#states.load(id)
    return state && decode(state.value)
  }
}

const prefixOf = (clientId: string): string => `${PREFIX}${encodeURIComponent(clientId)}/`

const idOf = (clientId: string, { brokerId = '', brokerCounter = 0 }: Packet): string =>
  `${prefixOf(clientId)}${encodeURIComponent(brokerId)}/${brokerCounter}`

const clientOf = (id: string): string =>
  decodeURIComponent(id.slice(PREFIX.length, id.indexOf('/', PREFIX.length)))

const encode = ({ at, fields }: Queued): Buffer => encodeFields({ ...fields, queuedAt: at })

function decode(value: Buffer): Queued | undefined {
  const decoded = decodeFields(value)
  if (decoded === undefined) return undefined
  const { queuedAt, ...fields } = decoded
  return { at: queuedAt as Queued['at'], fields }
}

const packetOf = ({ fields }: Queued): Packet =>
  fields['cmd'] === 'pubrel' ? (fields as unknown as Packet) : queuedPacket(fields)
