// The way to the cluster's brokers: its name servers, the routes that they tell, and one connection
// to each master, on which the gateway is known as one client of RocketMQ.

import { Masters } from '../client/admin/masters.ts'
import { StatusFeed } from '../client/calls/status.ts'
import { Brokers } from '../client/routes/brokers.ts'
import { type Directory, NameServers } from '../client/routes/name-servers.ts'
import { Outages } from '../client/routes/outages.ts'
import { type PeerOptions, Peers } from '../client/routes/peers.ts'
import { Presence } from '../client/routes/presence.ts'
import { Routes } from '../client/routes/routes.ts'
import type { Clock } from '../clock.ts'
import { REQUEST } from '../remoting/codes.ts'
import type { Command } from '../remoting/command.ts'
import { AwakeBrokers } from './awake-brokers.ts'
import { LastKnown } from './last-known.ts'
import type { ClusterOptions } from './options.ts'

/** The producer group of all gateways. */
export const PRODUCER_GROUP = 'TRIVET_GATEWAY'

/** A master that is away hears of it when it is back. */
const ANNOUNCED_MS = 3_000

export class Links {
  readonly status = new StatusFeed()
  readonly directory: Directory
  readonly routes: Routes
  readonly brokers: Brokers
  readonly masters: Masters
  readonly #outages: Outages
  readonly #directoryPeers: Peers
  readonly #presence: Presence
  #producerGroups: readonly string[] = []
  /** A broker asks what became of a half message. */
  onCheck: (command: Command) => void = () => {}

  constructor(options: ClusterOptions, clock: Clock) {
    const { credentials, tls, connectTimeoutMs, nameServers } = options
    const dialling = { clock, status: this.status, tls, connectTimeoutMs }
    this.#outages = new Outages(dialling)
    const peers: PeerOptions = { ...dialling, credentials, outages: this.#outages }
    this.#directoryPeers = new Peers(peers)
    this.directory = new LastKnown(new NameServers(this.#directoryPeers, nameServers))
    this.routes = new Routes(this.directory, clock, this.#outages)
    const groups = (): readonly string[] => [PRODUCER_GROUP, ...this.#producerGroups]
    const role = {
      consumers: [],
      get producerGroups() {
        return groups()
      },
    }
    this.#presence = new Presence(peers, role, {
      push: (command) => {
        if (command.code === REQUEST.checkTransactionState) this.onCheck(command)
      },
    })
    const awake = new AwakeBrokers(this.#presence, clock)
    this.brokers = new Brokers(awake, this.routes)
    this.masters = new Masters(this.directory, awake, this.#outages)
  }

  /**
   * Every master knows this gateway as a producer of these groups from now on, and asks it about
   * their half messages. Never rejects.
   */
  async produceFor(groups: readonly string[]): Promise<void> {
    const left = this.#producerGroups.filter((group) => !groups.includes(group))
    this.#producerGroups = groups
    await this.#presence.announce(left)
    const limits = { timeoutMs: ANNOUNCED_MS }
    const masters = await this.masters.list(limits).catch(() => [])
    await Promise.allSettled(masters.map(({ address }) => this.masters.connection(address, limits)))
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.#outages.close()
    await this.#presence.close()
    this.#directoryPeers.close()
    this.status.close()
  }
}
