// What the connections of one gateway share.
import type { Principal } from '../../access/auth.ts'
import type { PortPersistence } from '../../aedes/persistence.ts'
import type { SharedSlice } from '../../clock.ts'
import type { GatewayContext } from '../../port/gateway.ts'
import type { Traffic } from '../../port/traffic.ts'
import type { Addresses } from '../mqtt/address.ts'
import type { ConnectBudget } from '../mqtt/connect-budget.ts'
import type { MqttOptions } from '../mqtt/options.ts'
import type { Retained } from '../mqtt/publish/retained.ts'
import type { KeptSessions } from './kept-sessions.ts'

export interface AedesGatewayOptions extends MqttOptions {
  readonly bodyBytesMax: number
}

/** A connection, as others see it. */
export interface IdHolder {
  readonly principal: Principal | undefined
  readonly isClean: boolean
  readonly filters: readonly { readonly filter: string; readonly qos: number }[]
}

export interface AedesParts {
  readonly context: GatewayContext
  readonly options: AedesGatewayOptions
  readonly addresses: Addresses
  readonly retained: Retained
  readonly kept: KeptSessions
  readonly persistence: Pick<PortPersistence, 'subscriptions' | 'broker'>
  readonly traffic: Traffic
  readonly connecting: ConnectBudget
  /** Of all work on filters. */
  readonly filterWork: SharedSlice
  /** The connection of each client id. */
  readonly holders: Map<string, IdHolder>
}
