// The name servers as one: a question goes to the one that answered last, and on to the next when
// that does not answer. They hold the same, so the first answer counts.
import { BrokerError } from '../../errors.ts'
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import type { Command } from '../../remoting/command.ts'
import type { RequestOptions } from '../../remoting/connection.ts'
import { writeFields } from '../../remoting/layout.ts'
import {
  type BrokerAddresses,
  decodeClusterInfo,
  decodeRoute,
  GET_ROUTE,
  type TopicRoute,
} from '../../remoting/requests/route.ts'
import { DELETE_TOPIC_ROUTE } from '../../remoting/requests/topics.ts'
import { accepted, type CallOptions } from '../calls/calls.ts'
import type { Peers } from './peers.ts'

/** Where the queues and brokers of a cluster are looked up. */
export interface Directory {
  /** undefined when the topic does not exist. */
  route(topic: string, options: CallOptions): Promise<TopicRoute | undefined>
  brokers(options: CallOptions): Promise<readonly BrokerAddresses[]>
  /** A deleted topic must not be found any more. */
  forgetTopic(topic: string, options: CallOptions): Promise<void>
}

export class NameServers implements Directory {
  readonly #peers: Peers
  readonly #addresses: readonly string[]
  #current = 0

  constructor(peers: Peers, addresses: readonly string[]) {
    this.#peers = peers
    this.#addresses = addresses
  }

  async route(topic: string, options: CallOptions): Promise<TopicRoute | undefined> {
    const fields = writeFields(GET_ROUTE, { topic, acceptStandardJsonOnly: true })
    const response = await this.#ask(REQUEST.getRoute, { ...options, fields })
    if (response.code === RESPONSE.topicNotExist) return undefined
    return decodeRoute(accepted(response, `the route of '${topic}'`).body)
  }

  async brokers(options: CallOptions): Promise<readonly BrokerAddresses[]> {
    const response = await this.#ask(REQUEST.getClusterInfo, options)
    return decodeClusterInfo(accepted(response, 'the list of brokers').body).brokers
  }

  /**
   * One that is away hears of it from the brokers, which no longer name the topic when they
   * register.
   */
  async forgetTopic(topic: string, options: CallOptions): Promise<void> {
    const fields = writeFields(DELETE_TOPIC_ROUTE, { topic })
    const code = REQUEST.deleteTopicInNameServer
    await Promise.all(
      this.#addresses.map(async (address) => {
        try {
          const connection = await this.#peers.connection(address, options)
          const response = await connection.request(code, { ...options, fields })
          accepted(response, `deleting the route of '${topic}' at ${address}`)
        } catch (error) {
          if (!isConnectionFailure(error)) throw error
        }
      }),
    )
  }

  /** Rejects with UNREACHABLE naming every address tried. */
  async #ask(code: number, options: RequestOptions): Promise<Command> {
    const failures: string[] = []
    let last: unknown
    for (let i = 0; i < this.#addresses.length; i++) {
      const index = (this.#current + i) % this.#addresses.length
      const address = this.#addresses[index]!
      try {
        const connection = await this.#peers.connection(address, options)
        const response = await connection.request(code, options)
        if (response.code === RESPONSE.requestCodeNotSupported) throw notOne(address)
        this.#current = index
        return response
      } catch (error) {
        if (!isConnectionFailure(error)) throw error
        last = error
        failures.push(error.message)
      }
    }
    throw new BrokerError(
      'UNREACHABLE',
      `no name server answers (${failures.join('; ')}); start one with 'trivet start', ` +
        'or say where it is (--name-server on the command line, nameServers in code)',
      { cause: last },
    )
  }
}

const notOne = (address: string): BrokerError =>
  new BrokerError(
    'PROTOCOL_ERROR',
    `what listens at ${address} is no name server; if it is a broker, say so ` +
      "(--broker on the command line, 'broker' in code)",
  )

/** The peer or the way to it failed, not the request. */
export const isConnectionFailure = (error: unknown): error is BrokerError =>
  error instanceof BrokerError &&
  (error.code === 'UNREACHABLE' || error.code === 'TIMED_OUT' || error.code === 'PROTOCOL_ERROR')
