// The definition of a consumer group, and the defaults of a new one.
import { RETRY_TIMES_DEFAULT } from './limits.ts'

/**
 * Fields of RocketMQ's SubscriptionGroupConfig that change nothing here, by its names and where
 * they differ from its defaults: operators' tools set them and read them back.
 */
export type KeptGroupFields = Readonly<Record<string, boolean | number>>

/**
 * A consumer group: RocketMQ's SubscriptionGroupConfig, as far as we honour it, and what is kept of
 * the rest.
 */
export interface GroupDefinition {
  readonly name: string
  readonly consumeEnabled: boolean
  readonly broadcastEnabled: boolean
  readonly retryQueues: number
  /** Deliveries after the first; then the dead-letter topic. */
  readonly retryTimesMax: number
  /** Members are not told when others come and go: they find out by looking. */
  readonly quiet?: true
  readonly kept?: KeptGroupFields
  /** RocketMQ 5's, by name: `priority.factor`, as it was set. */
  readonly attributes?: Readonly<Record<string, string>>
}

export const groupDefaults = (name: string): GroupDefinition => ({
  name,
  consumeEnabled: true,
  broadcastEnabled: true,
  retryQueues: 1,
  retryTimesMax: RETRY_TIMES_DEFAULT,
})
