// The name by which topic filters select a message, whatever protocol it came by.
import { PROPERTY } from './properties.ts'
import type { RecordView } from './record.ts'

/** MQTT topic if published by MQTT, else `topic/tag` when tagged, else `topic`. */
export function routingName(
  topic: string,
  tag: string | undefined,
  mqttTopic: string | undefined,
): string {
  return mqttTopic ?? (tag === undefined ? topic : `${topic}/${tag}`)
}

/** A retried or dead-lettered record says where it was first published. */
export const originalTopic = (record: RecordView): string =>
  record.property(PROPERTY.retryTopic) ?? record.topic
