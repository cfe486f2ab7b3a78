// The connected clients, as the client registry knows them.
import type { MessageFilter } from './message-filter.ts'

export type Protocol = 'remoting' | 'mqtt' | 'amqp'
export type MessageModel = 'clustering' | 'broadcasting'

/** How a group's members share its messages; one at a time. */
export type GroupMode =
  /** Members rebalance by queue among themselves (native push and pull consumers). */
  | 'queue-assigned'
  /** The broker hands out message by message (`receive`). */
  | 'per-message'

export interface TopicSubscription {
  readonly topic: string
  readonly filter: MessageFilter
  /** RocketMQ's subVersion: a newer one replaces. */
  readonly version: number
}

export interface ConsumerRegistration {
  readonly group: string
  readonly model: MessageModel
  readonly mode: GroupMode
  readonly subscriptions: readonly TopicSubscription[]
  /** RocketMQ's consumeType and consumeFromWhere as sent, for the admin answers. */
  readonly consumeType: string
  readonly consumeFrom: string
}

/** One client's presence; sent again at least every two minutes, or it is forgotten. */
export interface ClientRegistration {
  readonly clientId: string
  /** Two connections with one clientId are two registrations; unique per connection. */
  readonly connectionId: string
  readonly protocol: Protocol
  readonly address: string
  readonly language: string
  readonly version: number
  readonly consumers: readonly ConsumerRegistration[]
  readonly producerGroups: readonly string[]
}
