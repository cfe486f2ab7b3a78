// How one member of a group consumes, checked and with every default filled in.
import type { MessageFilter } from '../../model/message-filter.ts'
import type { StartAt } from './start-offset.ts'

export interface MemberOptions {
  readonly group: string
  readonly topics: ReadonlyMap<string, MessageFilter>
  readonly broadcasting: boolean
  readonly ordered: boolean
  /** Whether brokers are told of it: a reader without a group is no member of one. */
  readonly isRegistered: boolean
  readonly from: StartAt
  /** Unsettled messages that the member may hold: an even share for each queue, at least one. */
  readonly prefetch: number
  /** Deliveries after the first; undefined: as the group is defined (in order: without end). */
  readonly retriesMax: number | undefined
}
