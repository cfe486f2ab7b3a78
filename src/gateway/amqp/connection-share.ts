// What the connections of one gateway share.
import type { TurnBudget } from '../../net/turn-budget.ts'
import type { GatewayContext } from '../../port/gateway.ts'
import type { Traffic } from '../../port/traffic.ts'
import type { Containers } from './control/containers.ts'
import type { createControlContainer } from './control/control-plane.ts'
import type { IngestBudget } from './links/ingest.ts'
import type { LinkClaims } from './links/link-claims.ts'
import type { GroupMembers } from './links/presence.ts'
import type { Subscriptions } from './links/subscriptions.ts'
import type { TransactionBytes } from './links/transaction.ts'
import type { AmqpOptions } from './options.ts'

export interface ConnectionShare {
  readonly context: GatewayContext
  readonly traffic: Traffic
  readonly limits: AmqpOptions
  readonly containerId: string
  readonly product: { readonly name: string; readonly version: string }
  readonly container: ReturnType<typeof createControlContainer>
  /**
   * Attaches and reads of the links of all connections get some milliseconds of each turn of the
   * event loop.
   */
  readonly line: TurnBudget
  readonly budget: IngestBudget
  readonly transactionBytes: TransactionBytes
  readonly members: GroupMembers
  readonly links: LinkClaims
  readonly subscriptions: Subscriptions
  readonly containers: Containers
}
