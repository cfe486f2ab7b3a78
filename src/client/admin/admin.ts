// Administration of a cluster through its brokers: topics, groups, brokers, and looking messages
// up.

import type { CallOptions } from '../calls/calls.ts'
import { checkKind, KIND } from '../calls/option-names.ts'
import type { Directory } from '../routes/name-servers.ts'
import type { Outages } from '../routes/outages.ts'
import type { Presence } from '../routes/presence.ts'
import type { Routes } from '../routes/routes.ts'
import { type BrokerState, readBrokerState } from './broker-state.ts'
import { GroupAdmin } from './group-admin.ts'
import { Masters } from './masters.ts'
import { MessageLookup } from './message-lookup.ts'
import { type PromoteOptions, promoteSlave } from './promotion.ts'
import { TopicAdmin } from './topic-admin.ts'

export interface BrokerEntry {
  readonly clusterName: string
  readonly brokerName: string
  /** By broker id; 0 is the master. */
  readonly addresses: ReadonlyMap<number, string>
}

export class Admin {
  readonly topics: TopicAdmin
  readonly groups: GroupAdmin
  readonly messages: MessageLookup
  readonly #directory: Directory
  readonly #masters: Masters

  constructor(directory: Directory, presence: Presence, routes: Routes, outages: Outages) {
    const masters = new Masters(directory, presence, outages)
    this.#directory = directory
    this.#masters = masters
    this.topics = new TopicAdmin(masters, directory, routes)
    this.groups = new GroupAdmin(masters)
    this.messages = new MessageLookup(masters)
  }

  async brokers(options: CallOptions = {}): Promise<readonly BrokerEntry[]> {
    const brokers = await this.#directory.brokers(options)
    return brokers.map(({ cluster, brokerName, addresses }) => ({
      clusterName: cluster,
      brokerName,
      addresses,
    }))
  }

  /** The state of the broker at an address. Rejects with UNREACHABLE. */
  async brokerState(address: string, options: CallOptions = {}): Promise<BrokerState> {
    checkKind('address', address, KIND.text)
    return readBrokerState(await this.#masters.connection(address, options), options)
  }

  /**
   * Makes the slave at an address the master, when its master is gone. Answers with the epoch that
   * begins. Rejects with ABORTED where it may lack acknowledged messages, unless `force` is true;
   * with NOT_SUPPORTED where the address is no slave's.
   */
  async promote(address: string, options: PromoteOptions = {}): Promise<number> {
    checkKind('address', address, KIND.text)
    const { force = false, ...rest } = options
    checkKind('force', force, KIND.flag)
    return promoteSlave(await this.#masters.connection(address, rest), force, rest)
  }
}
