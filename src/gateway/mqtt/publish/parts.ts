// The state that the connections of one gateway share for taking messages.
import type { GatewayContext } from '../../../port/gateway.ts'
import type { Traffic } from '../../../port/traffic.ts'
import type { Addresses } from '../address.ts'
import type { MqttOptions } from '../options.ts'
import type { FilterCounts } from '../session/filter-counts.ts'
import type { SessionTable } from '../session/session-table.ts'
import type { FanOut } from './fan-out.ts'
import type { MqttPublisher } from './publisher.ts'
import type { Retained } from './retained.ts'

export interface PublishParts {
  readonly context: GatewayContext
  readonly options: MqttOptions
  readonly addresses: Addresses
  readonly sessions: SessionTable
  readonly subscribers: FilterCounts
  readonly retained: Retained
  readonly publisher: MqttPublisher
  readonly fanOut: FanOut
  readonly traffic: Traffic
}
