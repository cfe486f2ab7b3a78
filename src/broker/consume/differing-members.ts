// Members of one group that share its queues and choose by different tags: each is given whole
// queues, so what it does not want in them is lost to the others. RocketMQ allows it, and so do we,
// with one line of the log.
import type { Logger } from '../../log.ts'
import type { ClientRegistration, ConsumerRegistration } from '../../model/client.ts'
import { wantTheSame } from '../../model/message-filter.ts'

export class DifferingMembers {
  readonly #log: Logger
  /** Groups of which the log has a line; until their last member leaves. */
  readonly #told = new Set<string>()

  constructor(log: Logger) {
    this.#log = log
  }

  /** `member` came to the group of `other`, or changed its subscriptions. */
  compare(group: string, member: ClientRegistration, other: ClientRegistration): void {
    if (this.#told.has(group)) return
    const mine = sharing(member, group)
    const theirs = sharing(other, group)
    for (const { topic, filter } of mine?.subscriptions ?? []) {
      const subscribed = theirs?.subscriptions.find((entry) => entry.topic === topic)
      if (subscribed === undefined || wantTheSame(filter, subscribed.filter)) continue
      this.#told.add(group)
      const fields = { evt: 'group.tags_differ', group, topic, clientId: member.clientId }
      this.#log.warn(
        { ...fields, tags: filter.expression, others: subscribed.filter.expression },
        `members of the group '${group}' choose different tags of '${topic}', so each loses what stands in ` +
          "the other's queues; give all of them one expression, or use two groups",
      )
      return
    }
  }

  /** The last member left. */
  forget(group: string): void {
    this.#told.delete(group)
  }
}

function sharing(client: ClientRegistration, group: string): ConsumerRegistration | undefined {
  return client.consumers.find(
    (consumer) =>
      consumer.group === group &&
      consumer.model === 'clustering' &&
      consumer.mode === 'queue-assigned',
  )
}
