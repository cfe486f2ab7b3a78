// Subscriptions to topics, as JMS names and keeps them: each is a consumer group. Of a durable one
// the broker keeps what it selects and whose it is, so that another topic or selector is another
// subscription (JMS 2.0, 8.3.3), and so that unsubscribing ends what was subscribed and no other
// group. A shared one that is not durable is gone with its last link.

import { type Authenticator, isOwn, ownerName, type Principal } from '../../../access/auth.ts'
import { Exclusive } from '../../../access/exclusive.ts'
import { BrokerError } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import type { Broker } from '../../../port/broker.ts'
import type { GatewayContext } from '../../../port/gateway.ts'
import { brokerName } from '../address.ts'
import type { GroupMembers } from './presence.ts'

const ID_PREFIX = 'amqp/subscription/'
/**
 * With a small letter in its escape, as `brokerName` writes none: no name of a durable one ends so.
 */
const VOLATILE = '%7cvolatile'

/** A subscription as a link names it. */
export interface SubscriptionName {
  readonly group: string
  readonly containerId: string
  /** Several links may have it. */
  readonly isShared: boolean
  /** Its name alone says which it is, whatever the container. */
  readonly isGlobal: boolean
  readonly isDurable: boolean
}

/** The messages that a durable subscription selects. */
export interface LinkSelection {
  readonly topic: string
  readonly filter: string
}

interface Kept extends LinkSelection {
  /** Its owner's name; none for a global one, and without users. */
  readonly user?: string | undefined
  readonly containerId: string
  readonly isShared: boolean
  readonly isGlobal: boolean
}

/**
 * qpid-jms names the links of one shared subscription `name`, `name|2`, `name|global3`,
 * `name|volatile4`.
 */
export function nameSubscription(
  linkName: string,
  containerId: string,
  kind: Pick<SubscriptionName, 'isShared' | 'isGlobal' | 'isDurable'>,
): SubscriptionName {
  const name = kind.isShared ? linkName.split('|', 1)[0]! : linkName
  const group = brokerName(kind.isGlobal ? name : `${containerId}.${name}`)
  return { ...kind, containerId, group: kind.isDurable ? group : group + VOLATILE }
}

export class Subscriptions {
  readonly #broker: Broker
  readonly #auth: Authenticator
  readonly #members: GroupMembers
  readonly #log: Logger
  readonly #exclusive = new Exclusive()
  /**
   * Groups of subscriptions that are not durable, from their first link to the end of their last.
   */
  readonly #volatile = new Set<string>()

  constructor({ broker, auth, log }: GatewayContext, members: GroupMembers) {
    this.#broker = broker
    this.#auth = auth
    this.#members = members
    this.#log = log
  }

  /**
   * From opening a subscription until its link is a member, it is not ended, and no other link
   * opens it.
   */
  exclusively<T>(group: string, work: () => Promise<T>): Promise<T> {
    return this.#exclusive.run(group, work)
  }

  /**
   * Before a link reads from it, and exclusively. What it selected before goes when it selects
   * something else now. `take` has the link from wherever it is attached: called when nothing but
   * other links can refuse it. Answers whether the group is a durable subscription's own, which
   * ends with its link; one that was there under the name is not. @throws BrokerError
   * PERMISSION_DENIED, SUBSCRIPTION_CONFLICT, READ_ONLY
   */
  async open(
    name: SubscriptionName,
    selection: LinkSelection,
    principal: Principal,
    take: () => void,
  ): Promise<boolean> {
    const { group, containerId, isShared, isGlobal } = name
    if (!name.isDurable) {
      take()
      // Left over from links that ended with their process.
      const isLeft = !this.#volatile.has(group) && !(await this.#members.isConsumed(group))
      if (isLeft) await this.#deleteGroup(group)
      this.#volatile.add(group)
      return false
    }
    const user = isGlobal ? undefined : ownerName(principal)
    const wanted: Kept = { ...selection, user, containerId, isShared, isGlobal }
    const kept = await this.#find(group)
    if (kept !== undefined) this.#check(group, kept, wanted, principal)
    const isSame = kept?.topic === wanted.topic && kept.filter === wanted.filter
    const isKept = isSame && kept.user === user
    const isOthers = kept === undefined && (await this.#broker.groups.get(group)) !== undefined
    if (!isKept && !isOthers) await this.#checkWritable()
    take()
    if (isKept || isOthers) return isKept
    if (kept !== undefined && !isSame) {
      if (await this.#members.isConsumed(group)) throw inUse(group, kept)
      await this.#deleteGroup(group)
    }
    await this.#keep(group, wanted)
    return true
  }

  async #keep(group: string, wanted: Kept): Promise<void> {
    // Before there is a group: one without a record would be taken for another's.
    await this.#broker.states.save(ID_PREFIX + group, Buffer.from(JSON.stringify(wanted)))
    try {
      await this.#broker.groups.ensure(group)
    } catch (error) {
      // Names from the wire must not fill the store.
      await this.#broker.states.delete(ID_PREFIX + group)
      throw error
    }
  }

  /**
   * The subscription that unsubscribing by this link name would end. @throws BrokerError
   * GROUP_NOT_FOUND, PERMISSION_DENIED, QUEUE_LOCKED while a link has it
   */
  async find(
    linkName: string,
    containerId: string,
    principal: Principal,
  ): Promise<{ group: string; topic: string; isShared: boolean }> {
    const isGlobal = linkName.endsWith('|global')
    const kind = { isShared: isGlobal, isGlobal, isDurable: true }
    const { group } = nameSubscription(linkName, containerId, kind)
    const kept = await this.#find(group)
    if (kept === undefined || kept.isGlobal !== isGlobal) {
      throw new BrokerError('GROUP_NOT_FOUND', `there is no subscription '${linkName}'`)
    }
    if (!isGlobal) this.#check(group, kept, { ...kept, containerId }, principal)
    if (await this.#members.isConsumed(group)) {
      throw new BrokerError('QUEUE_LOCKED', `the subscription '${linkName}' has consumers still`)
    }
    return { group, topic: kept.topic, isShared: kept.isShared }
  }

  /** With its place; not while links have it. */
  remove(group: string): Promise<void> {
    return this.#exclusive.run(group, async () => {
      if (await this.#members.isConsumed(group)) return
      // A record without its group counts for nothing, a group without its record could not be
      // ended.
      await this.#deleteGroup(group)
      await this.#broker.states.delete(ID_PREFIX + group)
    })
  }

  /** A link that had a subscription which is not durable is gone. */
  left(group: string): void {
    const end = async (): Promise<void> => {
      if (this.#members.hasLinks(group)) return
      this.#volatile.delete(group)
      if (!(await this.#members.isConsumed(group))) await this.#deleteGroup(group)
    }
    this.#exclusive.run(group, end).catch((error: unknown) => {
      const fields = { evt: 'amqp.subscription_left', group, error: String(error) }
      this.#log.warn(fields, 'the group of a subscription that ended could not be deleted')
    })
  }

  /** @throws BrokerError when it is another's, or of another kind */
  #check(group: string, kept: Kept, wanted: Kept, principal: Principal): void {
    if (!isOwn(this.#auth, principal, kept.user)) {
      throw new BrokerError(
        'PERMISSION_DENIED',
        `the subscription with the group '${group}' is another user's; an operator may delete the group`,
      )
    }
    const isSame =
      kept.isShared === wanted.isShared &&
      kept.isGlobal === wanted.isGlobal &&
      (kept.isGlobal || kept.containerId === wanted.containerId)
    if (isSame) return
    throw new BrokerError(
      'SUBSCRIPTION_CONFLICT',
      `the group '${group}' is another subscription's: ${kept.isShared ? '' : 'not '}shared, of container ` +
        `'${kept.containerId}'; unsubscribe that first`,
    )
  }

  /**
   * A record that is refused is kept in memory to be written later, and names from the wire must
   * not fill it.
   */
  async #checkWritable(): Promise<void> {
    const { writable, reason } = await this.#broker.status()
    if (!writable) throw new BrokerError('READ_ONLY', reason ?? 'the store is read-only')
  }

  /** undefined when an operator has deleted the group. */
  async #find(group: string): Promise<Kept | undefined> {
    const state = await this.#broker.states.load(ID_PREFIX + group)
    if (state === undefined || (await this.#broker.groups.get(group)) === undefined)
      return undefined
    return JSON.parse(state.value.toString()) as Kept
  }

  async #deleteGroup(group: string): Promise<void> {
    if ((await this.#broker.groups.get(group)) !== undefined)
      await this.#broker.groups.delete(group)
  }
}

const inUse = (group: string, kept: Kept): BrokerError =>
  new BrokerError(
    'SUBSCRIPTION_CONFLICT',
    `the subscription with the group '${group}' has consumers of topic '${kept.topic}' and filter ` +
      `'${kept.filter}'; close them before it selects something else`,
  )
