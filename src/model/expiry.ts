// When a message is no longer to be delivered, whichever protocol it came by: a property of epoch
// ms, and a bit of sysFlag that says that there is one, so that a look at a record without an
// expiry costs no search. The senders' own words are seconds in MQTT, `ttl` in AMQP, and a property
// in RocketMQ, of either form. Pure.
import { BrokerError } from '../errors.ts'
import { getI32 } from './bytes.ts'
import { decodeProperties, editProperties, PROPERTY } from './properties.ts'
import { type RecordView, SYS_FLAG, SYS_FLAG_AT } from './record.ts'

const NUMBER = /^\d{1,15}$/
const RELATIVE = new Set([PROPERTY.timeToLiveMs])

/**
 * The properties with the time to live as a point in time, counted from now; it wins over a point
 * in time, which another clock chose. @throws MESSAGE_INVALID
 */
export function withExpiry(properties: Uint8Array, nowMs: number): Uint8Array {
  const all = decodeProperties(properties)
  const aliveMs = numberIn(all, PROPERTY.timeToLiveMs)
  if (aliveMs === undefined) {
    numberIn(all, PROPERTY.expiresMs)
    return properties
  }
  const expiresMs = String(nowMs + aliveMs)
  return editProperties(properties, [[PROPERTY.expiresMs, expiresMs]], RELATIVE)
}

function numberIn(all: ReadonlyMap<string, string>, name: string): number | undefined {
  const text = all.get(name)
  if (text === undefined || NUMBER.test(text)) return text === undefined ? undefined : Number(text)
  throw new BrokerError(
    'MESSAGE_INVALID',
    `the property ${name} is ${JSON.stringify(text.slice(0, 40))}; a whole number of ms is due`,
  )
}

/** Infinity for a message that does not expire. */
export function expiresMsOf(record: RecordView): number {
  if ((record.sysFlag & SYS_FLAG.expires) === 0) return Number.POSITIVE_INFINITY
  const text = record.property(PROPERTY.expiresMs) ?? ''
  return NUMBER.test(text) ? Number(text) : Number.POSITIVE_INFINITY
}

/** The clock is asked for a record that expires alone. */
export const isExpired = (record: RecordView, clock: { now(): number }): boolean =>
  (record.sysFlag & SYS_FLAG.expires) !== 0 && expiresMsOf(record) <= clock.now()

/** Does any of the back-to-back records expire, now or later? */
export function mayExpire(records: Buffer): boolean {
  for (let at = 0; at < records.length; at += getI32(records, at)) {
    if ((getI32(records, at + SYS_FLAG_AT) & SYS_FLAG.expires) !== 0) return true
  }
  return false
}
