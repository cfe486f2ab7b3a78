// One broker at a known address, without a name server: the address that it advertises is ignored,
// so it is reached also where its own idea of its address is of no use (containers, tunnels).
import { BrokerError } from '../../errors.ts'
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import type { RemotingConnection } from '../../remoting/connection.ts'
import { writeFields } from '../../remoting/layout.ts'
import type { BrokerAddresses, TopicRoute } from '../../remoting/requests/route.ts'
import { decodeTopicConfig, TOPIC } from '../../remoting/requests/topics.ts'
import { accepted, type CallOptions } from '../calls/calls.ts'
import type { Directory } from './name-servers.ts'
import type { Peers } from './peers.ts'

export class SingleBroker implements Directory {
  readonly #peers: Peers
  readonly #address: string
  #identity: BrokerAddresses | undefined

  constructor(peers: Peers, address: string) {
    this.#peers = peers
    this.#address = address
  }

  async route(topic: string, options: CallOptions): Promise<TopicRoute | undefined> {
    const broker = await this.#broker(options)
    const fields = writeFields(TOPIC, { topic })
    const connection = await this.#connection(options)
    const response = await connection.request(REQUEST.getTopicConfig, { ...options, fields })
    if (response.code === RESPONSE.topicNotExist) return undefined
    const asked = `the topic '${topic}' at ${this.#address}`
    const { perm, readQueues, writeQueues, sysFlag } = decodeTopicConfig(
      accepted(response, asked).body,
    )
    const { brokerName } = broker
    return {
      brokers: [broker],
      queues: [{ brokerName, perm, readQueues, writeQueues, topicSysFlag: sysFlag }],
      orderTopicConf: undefined,
    }
  }

  async brokers(options: CallOptions): Promise<readonly BrokerAddresses[]> {
    return [await this.#broker(options)]
  }

  /** The broker itself forgets it. */
  async forgetTopic(): Promise<void> {}

  #connection(options: CallOptions): Promise<RemotingConnection> {
    return this.#peers.connection(this.#address, options)
  }

  /** Its name is part of every queue's name. */
  async #broker(options: CallOptions): Promise<BrokerAddresses> {
    if (this.#identity === undefined) {
      const connection = await this.#connection(options)
      const response = await connection.request(REQUEST.getBrokerConfig, options)
      if (response.code === RESPONSE.requestCodeNotSupported) throw notOne(this.#address)
      const text = accepted(response, `the configuration of ${this.#address}`).body.toString()
      this.#identity = {
        cluster: settingOf(text, 'brokerClusterName') ?? 'DefaultCluster',
        brokerName: settingOf(text, 'brokerName') ?? this.#address,
        addresses: new Map([[0, this.#address]]),
      }
    }
    return this.#identity
  }
}

const notOne = (address: string): BrokerError =>
  new BrokerError(
    'PROTOCOL_ERROR',
    `what listens at ${address} is no broker; if it is a name server, say so ` +
      "(--name-server on the command line, 'nameServers' in code)",
  )

const settingOf = (properties: string, name: string): string | undefined =>
  new RegExp(`^${name}=(.*)$`, 'm').exec(properties)?.[1]?.trim()
