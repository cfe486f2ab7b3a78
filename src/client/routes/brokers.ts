// Brokers by name: where the routes say they are, reached as one client of RocketMQ.
import { BrokerError } from '../../errors.ts'
import type { RemotingConnection } from '../../remoting/connection.ts'
import type { CallOptions } from '../calls/calls.ts'
import type { BrokerPeers } from './presence.ts'
import type { Routes } from './routes.ts'

export class Brokers {
  readonly #presence: BrokerPeers
  readonly #routes: Routes

  constructor(presence: BrokerPeers, routes: Routes) {
    this.#presence = presence
    this.#routes = routes
  }

  /**
   * Rejects with NO_ROUTE, UNREACHABLE, TIMED_OUT, the broker's refusal, or the signal's reason.
   */
  async connection(brokerName: string, options: CallOptions = {}): Promise<RemotingConnection> {
    const address = this.#routes.addressOf(brokerName)
    const known = this.#presence.open(address) !== undefined
    try {
      return await this.#presence.connection(address, options)
    } catch (error) {
      if (known || !(error instanceof BrokerError) || error.code !== 'UNREACHABLE') throw error
      throw notThere(brokerName, error)
    }
  }

  /** The connection if there is one now; nothing is dialled. */
  open(brokerName: string): RemotingConnection | undefined {
    try {
      return this.#presence.open(this.#routes.addressOf(brokerName))
    } catch {
      return undefined
    }
  }
}

/** A broker is not where it says it is: it is away, or says the wrong address. */
export const notThere = (brokerName: string, error: BrokerError): BrokerError =>
  new BrokerError(
    'UNREACHABLE',
    `${error.message} (that is where the broker '${brokerName}' says it is; if it runs but cannot ` +
      "be reached there from here, set its remoting.advertisedHost, or brokerIP1 of Apache's " +
      "broker, or connect with 'broker')",
    { cause: error },
  )
