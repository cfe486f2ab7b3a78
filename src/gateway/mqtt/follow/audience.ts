// The filters of all connected sessions: each message is matched once, and only the sessions that
// want it are visited.
import { FilterTrie } from '../../../model/filter-trie.ts'
import type { OutgoingMessage } from '../outgoing/outgoing-message.ts'
import type { Subscription } from '../session/subscriptions.ts'

/** One subscription of a connected session. */
export interface Member<Queue> {
  /** The subscription, as the list that `matching` is while no other filter matches. */
  alone: readonly [Subscription]
  readonly recipient: Recipient<Queue>
}

export interface Recipient<Queue> {
  /** The queue has come to a message that the member's filter selects. */
  offer(queue: Queue, delivery: OutgoingMessage, member: Member<Queue>): void
}

export class Audience<Queue> {
  readonly #filters = new FilterTrie<Set<Member<Queue>>>()

  add(filter: string, member: Member<Queue>): void {
    const members = this.#filters.get(filter)
    if (members === undefined) this.#filters.add(filter, new Set([member]))
    else members.add(member)
  }

  remove(filter: string, member: Member<Queue>): void {
    const members = this.#filters.get(filter)
    if (members?.delete(member) && members.size === 0) this.#filters.delete(filter)
  }

  /** Answers how many there were. */
  offer(queue: Queue, delivery: OutgoingMessage): number {
    let count = 0
    this.#filters.match(delivery.topicName, (members) => {
      count += members.size
      for (const member of members) member.recipient.offer(queue, delivery, member)
    })
    return count
  }
}
