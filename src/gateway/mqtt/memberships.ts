// The groups that a client receives from by its shared subscriptions: entering one, its member
// here, and what the broker's registry of clients has of it.
import type { Outbound } from './deliver/outbound.ts'
import { ShareMember } from './deliver/share-member.ts'
import type { MqttParts } from './parts.ts'
import type { Peer } from './session/peer.ts'
import type { Place, ShareSource, Subscription } from './session/subscriptions.ts'

interface Rights {
  /** Subscriptions, by text, that bring nothing now. */
  readonly withheld: ReadonlySet<string>
  /** The member met a message that the client may not see. */
  readonly denied: (subscription: Subscription, topic: string) => void
}

export class Memberships {
  readonly #parts: MqttParts
  readonly #peer: Peer
  readonly #outbound: Outbound
  readonly #rights: Rights
  readonly #members = new Map<string, ShareMember>()
  /** The group that the SUBSCRIBE under way joins, and that may refuse it. */
  #entering: ShareSource | undefined

  constructor(parts: MqttParts, peer: Peer, outbound: Outbound, rights: Rights) {
    this.#parts = parts
    this.#peer = peer
    this.#outbound = outbound
    this.#rights = rights
  }

  /** A live view. */
  get members(): Iterable<ShareMember> {
    return { [Symbol.iterator]: () => this.#members.values() }
  }

  /**
   * A group that cannot take the client now ends nothing and is left out: the client's part in it
   * begins when it can, and till then its member says why.
   */
  async refresh(): Promise<void> {
    const refusing = new Set<string>()
    const slice = this.#parts.filterWork
    for (const share of this.#shares()) {
      if (slice.isOver) await slice.rest()
      if (!(await this.#isOpen(share))) refusing.add(share.group)
    }
    // Read again: subscriptions made since must not be undone.
    const sources = this.#shares().filter(({ group }) => !refusing.has(group))
    if (this.#entering !== undefined) sources.push(this.#entering)
    await this.#peer.register(sources)
  }

  /** Joins the group; one that never consumed here starts with the messages from now on. */
  async enter(source: ShareSource, places: readonly Place[]): Promise<void> {
    const { cursors, groups, topics } = this.#parts.context.broker
    const { group, topic } = source
    try {
      this.#parts.shareFilters.check(source)
      await groups.ensure(group)
      await groups.checkReceiving(group, topic, source.filter)
      this.#entering = source
      await this.#registerEntering(source)
      const ranges = places.length === 0 ? await topics.ranges(topic) : []
      const ends = ranges.map((range) => ({ ...range, from: range.maxOffset }))
      for (const queue of [...places, ...ends]) {
        if ((await cursors.committed(group, queue)) === undefined) {
          await cursors.commit(group, queue, queue.from)
        }
      }
    } catch (error) {
      this.#entering = undefined
      throw error
    }
  }

  /** The session has the subscription now. */
  entered(): void {
    this.#entering = undefined
  }

  join(subscription: Subscription): void {
    this.leave(subscription.text)
    const { memberId } = this.#peer
    const denied = (topic: string): void => this.#rights.denied(subscription, topic)
    const member = new ShareMember(this.#parts, this.#outbound, memberId, subscription, denied)
    this.#parts.shareFilters.join(subscription.share!)
    this.#members.set(subscription.text, member)
    this.#outbound.roomWatchers.push(member.poke)
  }

  leave(text: string): void {
    const member = this.#members.get(text)
    if (member === undefined) return
    this.#members.delete(text)
    const { roomWatchers } = this.#outbound
    roomWatchers.splice(roomWatchers.indexOf(member.poke), 1)
    this.#parts.shareFilters.leave(member.source)
    member.close()
  }

  close(): void {
    for (const text of [...this.#members.keys()]) this.leave(text)
  }

  #shares(): ShareSource[] {
    const shares: ShareSource[] = []
    for (const { share, text } of this.#peer.session.subscriptions.values()) {
      if (share !== undefined && !this.#rights.withheld.has(text)) shares.push(share)
    }
    return shares
  }

  /** False: it was deleted and cannot be made again, or native members subscribe otherwise now. */
  async #isOpen({ group, topic, filter }: ShareSource): Promise<boolean> {
    const { groups } = this.#parts.context.broker
    try {
      await groups.ensure(group)
      await groups.checkReceiving(group, topic, filter)
      return true
    } catch {
      return false
    }
  }

  /** The groups that are entered already are not looked at again for each further one. */
  async #registerEntering(source: ShareSource): Promise<void> {
    try {
      await this.#peer.register([...this.#shares(), source])
    } catch {
      // Whose fault it is shows when those that refuse are left out.
      await this.refresh()
    }
  }
}
