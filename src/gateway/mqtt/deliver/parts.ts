// The state that the connections of one gateway share for delivering messages.
import type { SharedSlice } from '../../../clock.ts'
import type { GatewayContext } from '../../../port/gateway.ts'
import type { Traffic } from '../../../port/traffic.ts'
import type { MqttCounters } from '../numbers.ts'
import type { MqttOptions } from '../options.ts'
import type { Retained } from '../publish/retained.ts'
import type { SessionTable } from '../session/session-table.ts'
import type { StreamSource } from './stream.ts'

export interface DeliverParts {
  readonly context: GatewayContext
  readonly options: MqttOptions
  readonly streams: StreamSource
  readonly sessions: SessionTable
  readonly retained: Retained
  readonly counters: MqttCounters
  /**
   * A packet may have a thousand filters, and hundreds of clients may come, or go, at once: reading
   * their filters, binding them and letting them go has one slice of each turn.
   */
  readonly filterWork: SharedSlice
  readonly traffic: Traffic
}
