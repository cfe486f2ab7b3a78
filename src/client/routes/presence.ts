// One RocketMQ client as brokers see it: a client id, its connections, and what it registers as on
// each of them, again after every reconnect and every 30 seconds. Without it a broker neither
// counts a consumer as a member of its group nor tells it of changes.
import type { Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Command } from '../../remoting/command.ts'
import type { PushAnswer, RemotingConnection } from '../../remoting/connection.ts'
import type { ConsumerEntry } from '../../remoting/requests/clients.ts'
import { within } from '../calls/abort.ts'
import { type CallOptions, heartbeat, unregister } from '../calls/calls.ts'
import { type PeerOptions, Peers } from './peers.ts'
import { uniqueClientId } from './unique-id.ts'

const HEARTBEAT_MS = 30_000
const HEARTBEAT_TIMEOUT_MS = 5000
/** Time limit of the calls made while closing. */
const FAREWELL_MS = 1000

export interface PresenceRole {
  readonly consumers: readonly ConsumerEntry[]
  readonly producerGroups: readonly string[]
}

export interface PresenceListener {
  push?(command: Command, address: string): void
  /** A request that wants an answer. */
  asked?(command: Command): PushAnswer | undefined
  /** A broker knows us now, perhaps again. */
  introduced?(address: string): void
}

interface Introduction {
  readonly connection: RemotingConnection
  readonly answered: Promise<void>
  isAnswered: boolean
}

/** Brokers by address, of one client. */
export type BrokerPeers = Pick<Presence, 'connection' | 'open'>

export class Presence {
  readonly clientId = uniqueClientId()
  readonly #options: PeerOptions
  readonly #role: PresenceRole
  readonly #listener: PresenceListener
  readonly #peers: Peers
  readonly #introductions = new Map<string, Introduction>()
  readonly #heartbeats: Timer

  constructor(options: PeerOptions, role: PresenceRole, listener: PresenceListener = {}) {
    this.#options = options
    this.#role = role
    this.#listener = listener
    this.#peers = new Peers(options, {
      push: (command, address) => {
        listener.push?.(command, address)
        return listener.asked?.(command)
      },
      connected: (address) => this.#introduce(address),
    })
    this.#heartbeats = options.clock.every(HEARTBEAT_MS, () => this.#beat())
  }

  /**
   * A connection to a broker that knows us. Rejects as Peers does, and with the broker's refusal.
   */
  async connection(address: string, options: CallOptions = {}): Promise<RemotingConnection> {
    const connection = this.#peers.open(address) ?? (await this.#peers.connection(address, options))
    const introduction = this.#introductions.get(address)
    if (introduction?.connection === connection && !introduction.isAnswered) {
      await within(introduction.answered, options, this.#options.clock, `registering at ${address}`)
    }
    return connection
  }

  /** The connection if there is one now; nothing is dialled. */
  open(address: string): RemotingConnection | undefined {
    return this.#peers.open(address)
  }

  /**
   * What this client registers as has changed: brokers that it is connected to are told, also of
   * the producer groups that it left. Never rejects.
   */
  async announce(left: readonly string[]): Promise<void> {
    const options = { timeoutMs: HEARTBEAT_TIMEOUT_MS }
    const open = [...this.#introductions.values()].filter(({ connection }) => connection.isOpen)
    const roles = left.map((producerGroup) => ({ producerGroup }))
    await Promise.allSettled(
      open.flatMap(({ connection }) => [
        ...roles.map((role) => unregister(connection, this.clientId, role, options)),
        this.#register(connection),
      ]),
    )
  }

  /** Says goodbye where there is a connection, then disconnects. Never rejects. */
  async close(): Promise<void> {
    this.#heartbeats.cancel()
    const connections = [...this.#introductions.values()].map(({ connection }) => connection)
    await Promise.all(connections.map((connection) => this.#signOff(connection)))
    this.#peers.close()
  }

  /** The first request on a new connection; the others wait for its answer. */
  #introduce(address: string): void {
    const connection = this.#peers.open(address)
    if (connection === undefined) return
    const answered = this.#register(connection)
    const introduction = { connection, answered, isAnswered: false }
    this.#introductions.set(address, introduction)
    answered.then(
      () => {
        introduction.isAnswered = true
        this.#listener.introduced?.(address)
      },
      // Calls that wait for the connection get the error; the next call dials a new one.
      () => connection.close(),
    )
  }

  async #register(connection: RemotingConnection): Promise<void> {
    if (this.#role.consumers.length + this.#role.producerGroups.length === 0) return
    const beat = { clientId: this.clientId, ...this.#role, withoutSub: false }
    await heartbeat(connection, beat, { timeoutMs: HEARTBEAT_TIMEOUT_MS })
  }

  /** A connection on which even this is not answered leads nowhere. */
  #beat(): void {
    for (const [address, { connection }] of this.#introductions) {
      if (!connection.isOpen) {
        this.#introductions.delete(address)
        continue
      }
      this.#register(connection).catch((error) => {
        this.#options.status.emit({ type: 'error', error: BrokerError.from(error) })
        if (error instanceof BrokerError && error.code === 'TIMED_OUT') connection.close()
      })
    }
  }

  async #signOff(connection: RemotingConnection): Promise<void> {
    if (!connection.isOpen) return
    const roles = [
      ...this.#role.consumers.map(({ groupName }) => ({ consumerGroup: groupName })),
      ...this.#role.producerGroups.map((producerGroup) => ({ producerGroup })),
    ]
    const options = { timeoutMs: FAREWELL_MS }
    const asked = roles.map((role) => unregister(connection, this.clientId, role, options))
    await Promise.allSettled(asked)
  }
}
