// The tag filter that a group's members here have on a topic. A group settles what its filter
// leaves out, so two filters at once would take each other's messages; the broker refuses that when
// it reads, this when a client subscribes, where it can still be told.
import { BrokerError } from '../../../errors.ts'
import { type TagFilter, wantSameTags } from '../../../model/tag-filter.ts'
import type { ShareSource } from '../session/subscriptions.ts'

interface Members {
  readonly filter: TagFilter
  count: number
}

export class ShareFilters {
  readonly #members = new Map<string, Members>()

  /** @throws SUBSCRIPTION_CONFLICT */
  check(source: ShareSource): void {
    const members = this.#members.get(keyOf(source))
    if (members === undefined || wantSameTags(members.filter, source.filter)) return
    throw new BrokerError(
      'SUBSCRIPTION_CONFLICT',
      `members of the group '${source.group}' read '${source.topic}' with the tags ` +
        `'${members.filter.expression}'; '${source.filter.expression}' needs another group`,
    )
  }

  join(source: ShareSource): void {
    const members = this.#members.get(keyOf(source))
    if (members !== undefined) members.count++
    else this.#members.set(keyOf(source), { filter: source.filter, count: 1 })
  }

  leave(source: ShareSource): void {
    const key = keyOf(source)
    const members = this.#members.get(key)
    if (members === undefined) return
    if (--members.count === 0) this.#members.delete(key)
  }
}

/** A line feed is in no group's name. */
const keyOf = ({ group, topic }: ShareSource): string => `${group}\n${topic}`
