// Expiry of messages at brokers that do not know of it: the property alone says so there.
import type { Clock } from '../../clock.ts'
import { PROPERTY } from '../../model/properties.ts'
import type { RecordView } from '../../model/record.ts'

/** Is the message past its time? */
export function isGone(record: RecordView, clock: Clock): boolean {
  const text = record.property(PROPERTY.expiresMs)
  return text !== undefined && /^\d{1,15}$/.test(text) && Number(text) <= clock.now()
}
