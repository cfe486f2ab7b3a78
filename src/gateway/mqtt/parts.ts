// What the connections of one gateway share.
import type { GatewayContext } from '../gateway.ts'
import type { Addresses } from './address.ts'
import type { ConnectBudget } from './connect-budget.ts'
import type { FilterCounts } from './filter-counts.ts'
import type { Feeds } from './light-feed.ts'
import type { MqttOptions } from './options.ts'
import type { BlockPool } from './output.ts'
import type { Publisher } from './publisher.ts'
import type { Retained } from './retained.ts'
import type { SessionTable } from './session-table.ts'
import type { ShareFilters } from './share-filters.ts'
import type { TurnEnd } from './turn.ts'

/** Counts since the start, for the admin's view and for tests. */
export interface MqttCounters {
  published: number
  /** PUBLISHes that could not be taken. */
  refused: number
  delivered: number
  /** Larger than the client's maximum packet size. */
  droppedTooLarge: number
  expired: number
  /** Taken by retention before a session read them. */
  missed: number
}

export interface Parts {
  readonly context: GatewayContext
  readonly options: MqttOptions
  readonly addresses: Addresses
  readonly feeds: Feeds
  readonly sessions: SessionTable
  readonly retained: Retained
  readonly subscribers: FilterCounts
  readonly shareFilters: ShareFilters
  readonly publisher: Publisher
  readonly turnEnd: TurnEnd
  readonly pool: BlockPool
  readonly connecting: ConnectBudget
  readonly counters: MqttCounters
}
