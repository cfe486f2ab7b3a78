// One connection per address, dialled when it is needed and shared by all calls to it. A caller
// with several roles towards a broker (each member of a group is a client of its own to RocketMQ)
// has one Peers for each role.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { splitAddress } from '../../model/host.ts'
import type { Command } from '../../remoting/command.ts'
import {
  type DialOptions,
  dial,
  type PushAnswer,
  type RemotingConnection,
} from '../../remoting/connection.ts'
import type { Credentials } from '../../remoting/signature.ts'
import { abortController, within } from '../calls/abort.ts'
import type { CallOptions } from '../calls/calls.ts'
import type { StatusFeed } from '../calls/status.ts'
import type { Outages } from './outages.ts'

export interface PeerOptions {
  readonly clock: Clock
  readonly status: StatusFeed
  readonly credentials?: Credentials | undefined
  readonly tls?: DialOptions['tls']
  readonly connectTimeoutMs: number
  readonly outages: Outages
}

export interface PeerListener {
  /** A request of the peer. */
  push?(command: Command, address: string): PushAnswer | undefined
  /** A connection was made, again perhaps: what the peer must know of us is to be told anew. */
  connected?(address: string): void
}

export class Peers {
  readonly #options: PeerOptions
  readonly #listener: PeerListener
  readonly #connections = new Map<string, RemotingConnection>()
  readonly #dialling = new Map<string, Promise<RemotingConnection>>()
  readonly #stop = abortController()

  constructor(options: PeerOptions, listener: PeerListener = {}) {
    this.#options = options
    this.#listener = listener
  }

  /** Rejects with UNREACHABLE naming the address, TIMED_OUT, CLOSED, or the signal's reason. */
  async connection(address: string, options: CallOptions = {}): Promise<RemotingConnection> {
    const known = this.#connections.get(address)
    if (known?.isOpen) return known
    if (this.#stop.signal.aborted) throw closedError()
    options.signal?.throwIfAborted()
    let dialled = this.#dialling.get(address)
    if (dialled === undefined) {
      dialled = this.#dial(address).finally(() => this.#dialling.delete(address))
      this.#dialling.set(address, dialled)
    }
    return within(dialled, options, this.#options.clock, `connecting to ${address}`)
  }

  /** The connection if there is one now; nothing is dialled. */
  open(address: string): RemotingConnection | undefined {
    const known = this.#connections.get(address)
    return known?.isOpen ? known : undefined
  }

  /**
   * Written requests are still sent; requests that wait for an answer fail with CLOSED. Idempotent.
   */
  close(): void {
    this.#stop.abort(closedError())
    for (const connection of this.#connections.values()) connection.close()
    this.#connections.clear()
  }

  async #dial(address: string): Promise<RemotingConnection> {
    const { clock, credentials, tls, connectTimeoutMs, status, outages } = this.#options
    const connection = await dial({
      ...splitAddress(address),
      clock,
      credentials,
      tls,
      connectTimeoutMs,
      signal: this.#stop.signal,
      onPush: (command) => this.#listener.push?.(command, address),
    }).catch((error: BrokerError) => {
      if (!this.#stop.signal.aborted) outages.failed(address, error)
      throw error
    })
    if (this.#stop.signal.aborted) {
      connection.close()
      throw closedError()
    }
    this.#connections.set(address, connection)
    outages.connected(address)
    status.emit({ type: 'connected', address })
    void connection.closed.then((error) => {
      if (this.#connections.get(address) === connection) this.#connections.delete(address)
      if (error === undefined) return
      status.emit({ type: 'disconnected', address, error })
      outages.lost(address, error)
    })
    this.#listener.connected?.(address)
    return connection
  }
}

const closedError = (): BrokerError => new BrokerError('CLOSED', 'the client is closed')
