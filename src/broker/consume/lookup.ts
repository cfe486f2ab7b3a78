// Finding one message: by its place in the log, or by key.
import { FACT_TOPIC } from '../../model/names.ts'
import type { LogPosition } from '../../model/positions.ts'
import { RecordView } from '../../model/record.ts'
import type { MessageStore } from '../../store/store.ts'

/** Of one answer. RocketMQ's own limit for a query is 64. */
const KEY_MATCHES_MAX = 1024

/**
 * The message that starts at the position; the broker's own facts are none, nor is what went with
 * its topic.
 */
export async function readMessage(
  store: MessageStore,
  position: LogPosition,
): Promise<Buffer | undefined> {
  if (!Number.isSafeInteger(position) || position < 0) return undefined
  const bytes = await store.readAt(position)
  if (bytes === undefined) return undefined
  const record = new RecordView(bytes)
  return record.topic === FACT_TOPIC || store.isDropped(record) ? undefined : bytes
}

export const findMessages = (
  store: MessageStore,
  topic: string,
  key: string,
  options: { max: number; maxBytes?: number; fromMs?: number; toMs?: number },
): Promise<readonly Buffer[]> =>
  store.findByKey(topic, key, { ...options, max: Math.min(options.max, KEY_MATCHES_MAX) })
