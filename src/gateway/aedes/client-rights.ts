// What a client of aedes may do, by the users of the broker: aedes itself lets everyone do
// everything.
import { type Authenticator, isAllowed, type Principal } from '../../access/auth.ts'
import type { Packet } from '../../aedes/packet.ts'
import { placeOf, queueOf } from '../../aedes/queue-key.ts'
import { BrokerError } from '../../errors.ts'
import { authorizeFilter } from '../mqtt/filter-rights.ts'
import { parseFilter, topicExcess } from '../mqtt/packets/topic-name.ts'
import type { AedesParts } from './parts.ts'

type RightsParts = Pick<AedesParts, 'addresses' | 'options'> & {
  readonly context: { readonly auth: Authenticator }
}

export class ClientRights {
  readonly principal: Principal
  readonly #parts: RightsParts
  readonly #readable = new Map<string, boolean>()

  constructor(parts: RightsParts, principal: Principal) {
    this.#parts = parts
    this.principal = principal
  }

  /** @throws BrokerError PERMISSION_DENIED */
  checkPublish(topic: string): void {
    const { auth } = this.#parts.context
    auth.authorize(this.principal, 'publish', { kind: 'topic', name: topic })
  }

  /** Is the filter taken, and may the client have it? Shared subscriptions aedes has none of. */
  maySubscribe(text: string): boolean {
    const { options } = this.#parts
    if (topicExcess(text, options) !== undefined) return false
    const name = parseFilter(text)
    if (name === undefined || name.share !== undefined) return false
    try {
      authorizeFilter(this.#parts, this.principal, name.filter)
      return true
    } catch (error) {
      if (BrokerError.from(error).code === 'PERMISSION_DENIED') return false
      throw error
    }
  }

  /** One that a wildcard selects, or that came by another name, is looked at once more. */
  mayRead(packet: Packet): boolean {
    const place = placeOf(packet)
    // A retained message is read by its name alone.
    const topic =
      place === undefined
        ? this.#parts.addresses.route(packet.topic).topic
        : queueOf(place.key).topic
    const known = this.#readable.get(topic)
    if (known !== undefined) return known
    const { auth } = this.#parts.context
    const may = isAllowed(auth, this.principal, 'consume', { kind: 'topic', name: topic })
    this.#readable.set(topic, may)
    return may
  }
}
