// The name servers, and what they said of the brokers last: while none of them answers the cluster
// goes on. Routes of topics are remembered by Routes itself.
import type { CallOptions } from '../client/calls/calls.ts'
import { type Directory, isConnectionFailure } from '../client/routes/name-servers.ts'
import type { BrokerAddresses, TopicRoute } from '../remoting/requests/route.ts'

export class LastKnown implements Directory {
  readonly #directory: Directory
  #brokers: readonly BrokerAddresses[] | undefined

  constructor(directory: Directory) {
    this.#directory = directory
  }

  route(topic: string, options: CallOptions): Promise<TopicRoute | undefined> {
    return this.#directory.route(topic, options)
  }

  async brokers(options: CallOptions): Promise<readonly BrokerAddresses[]> {
    try {
      this.#brokers = await this.#directory.brokers(options)
    } catch (error) {
      if (this.#brokers === undefined || !isConnectionFailure(error)) throw error
    }
    return this.#brokers
  }

  forgetTopic(topic: string, options: CallOptions): Promise<void> {
    return this.#directory.forgetTopic(topic, options)
  }
}
