// What a consumer group is, and how a new one starts.
import { RETRY_TIMES_DEFAULT } from './limits.ts'

/** A consumer group: RocketMQ's SubscriptionGroupConfig, as far as we honour it. */
export interface GroupDefinition {
  readonly name: string
  readonly consumeEnabled: boolean
  readonly broadcastEnabled: boolean
  readonly retryQueues: number
  /** Deliveries after the first; then the dead-letter topic. */
  readonly retryTimesMax: number
}

export const groupDefaults = (name: string): GroupDefinition => ({
  name,
  consumeEnabled: true,
  broadcastEnabled: true,
  retryQueues: 1,
  retryTimesMax: RETRY_TIMES_DEFAULT,
})
