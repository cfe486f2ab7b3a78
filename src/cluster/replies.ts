// Replies to requests of native clients, which are connected to the brokers: the one that has the
// client pushes it.
import { sendReply } from '../client/calls/calls.ts'
import { BrokerError } from '../errors.ts'
import type { NewMessage } from '../model/message.ts'
import { replyTopic } from '../model/names.ts'
import type { Replies } from '../port/broker.ts'
import { type Links, PRODUCER_GROUP } from './links.ts'
import type { ClusterOptions } from './options.ts'

interface Parts {
  readonly links: Links
  readonly options: ClusterOptions
  readonly clusterName: string
}

export class ClusterReplies implements Replies {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  async push(clientId: string, reply: NewMessage): Promise<void> {
    const { links, options, clusterName } = this.#parts
    const limits = { timeoutMs: options.requestTimeoutMs }
    const { bornTimestamp, body, properties } = reply
    const topic = replyTopic(clusterName)
    for (const { name, address } of await links.masters.list(limits)) {
      const connection = await links.masters.connection(address, limits)
      const request = {
        producerGroup: PRODUCER_GROUP,
        queue: { topic, brokerName: name, queueId: 0 },
        bornTimestamp,
        messages: [{ body, properties: Buffer.from(properties) }],
      }
      try {
        return await sendReply(connection, request, limits)
      } catch (error) {
        if (!(error instanceof BrokerError) || error.code !== 'CLIENT_NOT_FOUND') throw error
      }
    }
    throw new BrokerError('CLIENT_NOT_FOUND', `no broker has the client '${clientId}' now`)
  }

  /** No native client is connected here. */
  serve(): Disposable {
    return { [Symbol.dispose]: () => {} }
  }
}
