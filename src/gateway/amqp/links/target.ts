// Where the messages of a sending peer go: one topic, or for the anonymous relay whatever each
// message's `to` names. Resolves an attach's target against the broker and the peer's rights.

import { type Authenticator, isAllowed, type Principal } from '../../../access/auth.ts'
import { BrokerError } from '../../../errors.ts'
import { ANY_QUEUE, type Destination } from '../../../model/message.ts'
import { isSendForbidden } from '../../../model/names.ts'
import type { Broker } from '../../../port/broker.ts'
import type { ReplyName } from '../../shared/reply-address.ts'
import { type Address, GRAMMAR, parseAddress } from '../address.ts'
import type { TargetTerminus } from '../codec/terminus.ts'
import { ensureTopic } from './node.ts'

export interface SendAddress extends Destination {
  /** For messages without a tag of their own. */
  readonly tag: string | undefined
  /** Not a topic: the requester that messages are replies to. */
  readonly replyTo: ReplyName | undefined
}

export interface SendAddresses {
  /** Set for a link to one node. */
  readonly fixed: SendAddress | undefined
  /** For the anonymous relay. @throws BrokerError for a `to` that is no target or not allowed */
  find(to: string | undefined): SendAddress
}

/** Addresses a relay link remembers. */
const REMEMBERED_MAX = 256

/** @throws BrokerError TOPIC_NOT_FOUND, QUEUE_NOT_FOUND, PERMISSION_DENIED, NAME_INVALID */
export async function resolveTarget(
  target: TargetTerminus,
  broker: Broker,
  auth: Authenticator,
  principal: Principal,
): Promise<SendAddresses> {
  const allowed = (address: string): SendAddress => {
    const route = placeOf(parseAddress(address))
    // A reply's right is that of where it goes.
    if (route.replyTo !== undefined) return { ...route, createTopic: false }
    const topic = { kind: 'topic', name: route.topic } as const
    auth.authorize(principal, 'publish', topic)
    return { ...route, createTopic: isAllowed(auth, principal, 'create', topic) }
  }
  if (target.address === undefined) return new RelayRoutes(allowed)
  const fixed = allowed(target.address)
  if (fixed.replyTo !== undefined) return { fixed, find: () => fixed }
  const { writeQueues } = await ensureTopic(fixed.topic, broker, auth, principal)
  if (fixed.queueId >= writeQueues) {
    throw new BrokerError(
      'QUEUE_NOT_FOUND',
      `topic '${fixed.topic}' has the queues 0 to ${writeQueues - 1}, not ${fixed.queueId}`,
    )
  }
  return { fixed, find: () => fixed }
}

function placeOf(address: Address): Omit<SendAddress, 'createTopic'> {
  const { topic, tag, queueId, group, broadcast, replyTo } = address
  if (group !== undefined || broadcast) {
    throw new BrokerError('TOPIC_NOT_FOUND', `a group is no target; write ${GRAMMAR}`)
  }
  if (isSendForbidden(topic)) {
    throw new BrokerError('PERMISSION_DENIED', `topic '${topic}' is the system's own`)
  }
  return { topic, queueId: queueId ?? ANY_QUEUE, tag, replyTo }
}

class RelayRoutes implements SendAddresses {
  readonly fixed: SendAddress | undefined = undefined
  readonly #resolve: (address: string) => SendAddress
  readonly #known = new Map<string, SendAddress>()

  constructor(resolve: (address: string) => SendAddress) {
    this.#resolve = resolve
  }

  find(to: string | undefined): SendAddress {
    if (to === undefined) {
      throw new BrokerError(
        'TOPIC_NOT_FOUND',
        'a message on a link without a target needs properties.to',
      )
    }
    const known = this.#known.get(to)
    if (known !== undefined) return known
    const route = this.#resolve(to)
    if (this.#known.size >= REMEMBERED_MAX) this.#known.clear()
    this.#known.set(to, route)
    return route
  }
}
