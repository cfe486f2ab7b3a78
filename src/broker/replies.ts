// Replies that are pushed to clients: the front-ends that have native clients, asked one after the
// other.
import { BrokerError } from '../errors.ts'
import type { NewMessage } from '../model/message.ts'

type Deliver = (clientId: string, reply: NewMessage) => Promise<void>

export class ReplyTable {
  readonly #serving = new Set<Deliver>()

  serve(deliver: Deliver): Disposable {
    // Of its own: the same function may be given twice.
    const served: Deliver = (clientId, reply) => deliver(clientId, reply)
    this.#serving.add(served)
    return { [Symbol.dispose]: () => void this.#serving.delete(served) }
  }

  /** @throws CLIENT_NOT_FOUND, and as the front-end that has the client */
  async push(clientId: string, reply: NewMessage): Promise<void> {
    for (const deliver of this.#serving) {
      try {
        return await deliver(clientId, reply)
      } catch (error) {
        if (BrokerError.from(error).code !== 'CLIENT_NOT_FOUND') throw error
      }
    }
    throw new BrokerError('CLIENT_NOT_FOUND', `no client '${clientId}' is connected`)
  }
}
