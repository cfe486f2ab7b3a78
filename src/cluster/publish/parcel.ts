// What a lane carries: a message, or several that stay together, with what they wait for.
import { BrokerError } from '../../errors.ts'
import { PROPERTIES_BYTES_MAX } from '../../model/limits.ts'
import type { NewMessage, PublishResult } from '../../model/message.ts'
import { encodeProperties, findProperty, PROPERTY } from '../../model/properties.ts'

export interface ParcelItem {
  /** But for its body and properties, which may be views on a buffer that is reused. */
  readonly message: NewMessage
  /** The parcel's own. */
  readonly body: Buffer
  /** Its properties, completed. */
  readonly properties: Buffer
  readonly isAlone: boolean
  /** It waits for the end of its transaction. */
  readonly isHalf: boolean
}

export interface Parcel {
  readonly items: readonly ParcelItem[]
  /** As a batch has them on the wire. */
  readonly bytes: number
  /** What a batch would lose of it: a delay, a priority; or the items are one batch already. */
  readonly isAlone: boolean
  /** Monotonic: from then on it is refused. */
  readonly deadlineMs: number
  /** One result an item. */
  readonly settle: (results: readonly PublishResult[]) => void
}

export const refuse = (parcel: Parcel, thrown: unknown): void => {
  const error = BrokerError.from(thrown)
  parcel.settle(parcel.items.map(() => error))
}

/**
 * As it is sent again after an attempt that may have stored it: a reader that gives each message
 * once looks for the first one. Of several in one batch nothing is said, as there may be no room.
 */
export function resent(parcel: Parcel): Parcel {
  const [item] = parcel.items
  if (item === undefined || parcel.items.length > 1) return parcel
  const { properties } = item
  const isTooLong = properties.length + RESENT.length > PROPERTIES_BYTES_MAX
  if (isTooLong || findProperty(properties, PROPERTY.resent) !== undefined) return parcel
  const marked = { ...item, properties: Buffer.concat([properties, RESENT]) }
  return { ...parcel, items: [marked], bytes: parcel.bytes + RESENT.length }
}

const RESENT = encodeProperties([[PROPERTY.resent, '1']])
