// The state that the connections of one gateway share.
import type { ConnectBudget } from './connect-budget.ts'
import type { DeliverParts } from './deliver/parts.ts'
import type { ShareFilters } from './deliver/share-filters.ts'
import type { PublishParts } from './publish/parts.ts'

export interface MqttParts extends PublishParts, DeliverParts {
  readonly shareFilters: ShareFilters
  readonly connecting: ConnectBudget
}
