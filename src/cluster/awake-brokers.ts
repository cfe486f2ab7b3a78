// Brokers that answer. A frozen one stays in the routes for two minutes, keeps its connections,
// and takes what is sent to it in silence: once a request ran out of its time there, it is given
// nothing but a heartbeat a second, until it answers again.

import type { CallOptions } from '../client/calls/calls.ts'
import { heartbeat } from '../client/calls/calls.ts'
import type { BrokerPeers, Presence } from '../client/routes/presence.ts'
import { type Clock, sleep } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { RemotingConnection } from '../remoting/connection.ts'

/** A heartbeat that is answered by then is waited for. */
const WAITED_MS = 100
const PROBE_MS = 1_000

export class AwakeBrokers implements BrokerPeers {
  readonly #presence: Presence
  readonly #clock: Clock
  readonly #probes = new WeakMap<RemotingConnection, Promise<unknown>>()

  constructor(presence: Presence, clock: Clock) {
    this.#presence = presence
    this.#clock = clock
  }

  /** Rejects as Presence does, and with UNREACHABLE for one that does not answer. */
  async connection(address: string, options: CallOptions = {}): Promise<RemotingConnection> {
    const connection = await this.#presence.connection(address, options)
    if (!connection.isSilent) return connection
    if (!this.#probes.has(connection)) {
      await Promise.race([this.#probe(connection), sleep(this.#clock, WAITED_MS)])
    }
    if (!connection.isSilent) return connection
    throw new BrokerError('UNREACHABLE', `the broker at ${address} does not answer`)
  }

  open(address: string): RemotingConnection | undefined {
    return this.#presence.open(address)
  }

  /** Settles with any answer, or when its time is over. Never rejects. */
  #probe(connection: RemotingConnection): Promise<unknown> {
    const { clientId } = this.#presence
    const beat = { clientId, consumers: [], producerGroups: [], withoutSub: false }
    const probe = heartbeat(connection, beat, { timeoutMs: PROBE_MS })
      .catch(() => {})
      .finally(() => this.#probes.delete(connection))
    this.#probes.set(connection, probe)
    return probe
  }
}
