// The properties of a message on its way to a cluster: what a broker of our own would add to them.
import { Buffer } from 'node:buffer'
import type { UniqueIds } from '../../client/routes/unique-id.ts'
import { withExpiry } from '../../model/expiry.ts'
import type { NewMessage } from '../../model/message.ts'
import { SCAN, scanProperties } from '../../model/message-scan.ts'
import {
  BROKER_PROPERTIES,
  encodeProperties,
  PROPERTY,
  VALUE_END,
  withoutProperties,
} from '../../model/properties.ts'

export interface Completed {
  readonly properties: Buffer
  /** Its delay, its priority or its being a half message would be lost in a batch. */
  readonly isAlone: boolean
  readonly isHalf: boolean
}

const ALONE = SCAN.delayed | SCAN.priority | SCAN.prepared

/** A copy. @throws MESSAGE_INVALID */
export function completed(message: NewMessage, ids: UniqueIds, nowMs: number): Completed {
  const found = scanProperties(message.properties)
  const isForeign = (found & SCAN.brokers) !== 0 && message.ownProperties !== true
  let properties: Uint8Array = isForeign
    ? withoutProperties(message.properties, BROKER_PROPERTIES)
    : message.properties
  if ((found & SCAN.expires) !== 0) properties = withExpiry(properties, nowMs)
  const added: Uint8Array[] = []
  if (properties.length > 0 && properties.at(-1) !== VALUE_END) added.push(CLOSING)
  if ((found & SCAN.uniqueKey) === 0)
    added.push(encodeProperties([[PROPERTY.uniqueKey, ids.next()]]))
  return {
    properties: Buffer.concat([properties, ...added]),
    isAlone: (found & ALONE) !== 0,
    isHalf: (found & SCAN.prepared) !== 0,
  }
}

const CLOSING = Buffer.from([VALUE_END])
