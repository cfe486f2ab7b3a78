// What aedes asks for each client, packet and filter, answered by the connection's rights.
import type { AedesOptions, AedesPublishPacket, Client } from 'aedes'
import { ownerName } from '../../access/auth.ts'
import type { LogEmitter } from '../../aedes/emitter.ts'
import { bytesOf, type Packet } from '../../aedes/packet.ts'
import { BrokerError } from '../../errors.ts'
import { ClientRights } from './client-rights.ts'
import type { AedesConnection } from './connection.ts'
import type { AedesParts } from './parts.ts'
import type { PacketStream } from './stream.ts'

/** A will as it is kept, with its user: it may go out when its client and its process are gone. */
interface Will {
  user?: string | undefined
}

export class Hooks {
  readonly options: AedesOptions
  readonly #parts: AedesParts
  readonly #mq: LogEmitter
  /** When a message came, by its payload: aedes copies packets. */
  readonly #since = new WeakMap<object, number>()

  constructor(parts: AedesParts, mq: LogEmitter) {
    this.#parts = parts
    this.#mq = mq
    const storeFirst = mq.storeFirst<Client | null>((client, packet, done) =>
      done(this.refusalOf(client, packet)),
    )
    this.options = {
      preConnect: (client, packet, done) => {
        const { terms, rights } = Hooks.connectionOf(client).admitted!
        // Of ours where the client left the choice, or the configuration makes it.
        packet.clientId = terms.clientId
        if (packet.will !== undefined) {
          const will = packet.will as Will
          will.user = ownerName(rights.principal)
        }
        done(null, true)
      },
      authorizePublish: (client, packet, done) => storeFirst(client, packet as Packet, done),
      authorizeSubscribe: (client, subscription, done) => {
        const { topic, qos } = subscription
        const may = Hooks.connectionOf(client).maySubscribe(topic, qos)
        done(null, may ? subscription : null)
      },
      authorizeForward: (client, packet) => this.#forward(client, packet),
      published: (packet, client, done) => {
        if (client) this.#published(client, packet as Packet)
        done(null)
      },
    }
  }

  static connectionOf({ conn }: Client): AedesConnection {
    return (conn as PacketStream<AedesConnection>).owner
  }

  static bytesOf({ payload }: Packet): number {
    return bytesOf(payload).length
  }

  /** Asked before the message is stored, which then goes where it was allowed to go. */
  refusalOf(client: Client | null, packet: Packet): BrokerError | null {
    const { payload, topic, retain } = packet
    try {
      // A client of the same id may be here: the will was not its own.
      const rights =
        client?.conn && !this.#isLeftBehind(packet)
          ? Hooks.connectionOf(client).admitted!.rights
          : this.#rightsOf((packet as Will).user)
      rights.checkPublish(this.#mq.shared.place(packet))
      if (retain) this.#parts.retained.check(topic, Hooks.bytesOf(packet))
      if (payload instanceof Uint8Array) {
        this.#since.set(payload, this.#parts.context.clock.monotonic())
      }
      return null
    } catch (error) {
      return BrokerError.from(error)
    }
  }

  #isLeftBehind({ brokerId }: Packet): boolean {
    return brokerId !== undefined && brokerId !== this.#parts.persistence.broker?.id
  }

  /** Of a will that was left behind. @throws BrokerError */
  #rightsOf(user: string | undefined): ClientRights {
    const { auth } = this.#parts.context
    const principal = user === undefined ? auth.anonymous() : auth.ownerOf(user)
    if (principal !== undefined) return new ClientRights(this.#parts, principal)
    throw new BrokerError('PERMISSION_DENIED', `there is no user '${user}' any more`)
  }

  #forward(client: Client, packet: AedesPublishPacket): AedesPublishPacket | null {
    const { admitted } = Hooks.connectionOf(client)
    if (!admitted!.rights.mayRead(packet as Packet)) return null
    this.#parts.traffic.delivered(1, Hooks.bytesOf(packet as Packet), undefined)
    return packet
  }

  #published(client: Client, packet: Packet): void {
    const bytes = Hooks.bytesOf(packet)
    const { payload } = packet
    const since = payload instanceof Uint8Array ? this.#since.get(payload) : undefined
    const nowMs = this.#parts.context.clock.monotonic()
    this.#parts.traffic.stored(1, bytes, nowMs - (since ?? nowMs))
    Hooks.connectionOf(client).stored(bytes)
  }
}
