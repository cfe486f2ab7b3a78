// UNIQ_KEY for messages whose sender gave none, in RocketMQ's form (2.6), so that its tools read
// the time out of it: 32 hex digits = ip 8 . pid 4 . random per process 8 . ms since the month
// began 8 . counter 4.
import { randomBytes } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import type { Host } from '../../model/host.ts'
import { NAME_END, PROPERTY, VALUE_END } from '../../model/properties.ts'
import type { WrittenProperty } from '../../model/record.ts'

const HEX = Buffer.from('0123456789ABCDEF')
const FIXED_DIGITS = 20
const ID_DIGITS = 32
const NAME = PROPERTY.uniqueKey
/** Where in the digits the random part stands. */
const RANDOM_DIGIT = 12
/** A clock that is set back by less is waited for. */
const SETBACK_MS = 1000

/**
 * Each `write` is another id, as an encoded property, where the record is: an id needs no object of
 * its own until then.
 */
export class UniqueIds implements WrittenProperty {
  readonly #clock: Clock
  /** A whole encoded property; the last 12 digits are each id's own. */
  readonly #property: Buffer
  readonly length: number
  #monthStartMs = 0
  #monthEndMs = 0
  #counter = 0
  #lastMs = 0

  constructor(clock: Clock, host: Host) {
    this.#clock = clock
    const fixed = Buffer.alloc(6)
    fixed.writeUInt32BE(host.ip >>> 0, 0)
    fixed.writeUInt16BE(process.pid & 0xffff, 4)
    const head = Buffer.from(`${NAME}${String.fromCharCode(NAME_END)}`)
    const digits = Buffer.alloc(ID_DIGITS, '0')
    digits.write(fixed.toString('hex').toUpperCase(), 0, 'latin1')
    this.#property = Buffer.concat([head, digits, Buffer.from([VALUE_END])])
    this.length = this.#property.length
    this.#renew()
  }

  /** Reads the clock once for all ids until the next call. */
  startBatch(): void {
    const now = this.#clock.now()
    if (now > this.#lastMs) this.#lastMs = now
    else if (this.#lastMs - now >= SETBACK_MS) {
      // The clock was set back: its times come again, so the rest of the id must be another one.
      this.#renew()
      this.#lastMs = now
      this.#monthEndMs = 0
    }
    if (this.#lastMs < this.#monthEndMs) return
    const date = new Date(this.#lastMs)
    this.#monthStartMs = new Date(date.getFullYear(), date.getMonth(), 1).getTime()
    this.#monthEndMs = new Date(date.getFullYear(), date.getMonth() + 1, 1).getTime()
  }

  /** A fresh id. */
  write(target: Uint8Array, start: number): void {
    const counter = (this.#counter + 1) & 0xffff
    this.#counter = counter
    // While the clock stands behind `#lastMs`, the count alone would come round.
    if (counter === 0) this.#lastMs++
    const ms = this.#lastMs - this.#monthStartMs
    target.set(this.#property, start)
    let at = start + NAME.length + 1 + FIXED_DIGITS
    for (let shift = 28; shift >= 0; shift -= 4) target[at++] = HEX[(ms >>> shift) & 15]!
    for (let shift = 12; shift >= 0; shift -= 4) target[at++] = HEX[(counter >>> shift) & 15]!
  }

  /** The properties with a fresh id behind them. */
  append(properties: Uint8Array, isUnclosed: boolean): Buffer {
    const { length } = properties
    const closed = isUnclosed ? length + 1 : length
    const target = Buffer.allocUnsafe(closed + this.length)
    target.set(properties, 0)
    if (isUnclosed) target[length] = VALUE_END
    this.write(target, closed)
    return target
  }

  /** Two processes never share this, so ids stay unique across restarts within a millisecond. */
  #renew(): void {
    const random = randomBytes(4).toString('hex').toUpperCase()
    this.#property.write(random, NAME.length + 1 + RANDOM_DIGIT, 'latin1')
  }
}
