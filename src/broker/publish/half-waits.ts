// How a half message waits, as the store writes it behind all other properties. Those of one topic
// differ in the digits of the time and of the queue alone, so the rest is known by comparison.
import type { DueRounds } from '../../model/due-rounds.ts'
import { PROPERTY, VALUE_END } from '../../model/properties.ts'

export const HALF = 'half'

/** The first of them that a new half message is parked with. */
const WAITING_FROM = Buffer.from(`\u0002${PROPERTY.dueMs}\u0001`)
const REAL_TOPIC = Buffer.from(`\u0002${PROPERTY.realTopic}\u0001`)
const REAL_QUEUE = Buffer.from(`\u0002${PROPERTY.realQueueId}\u0001`)
const ROUNDS = Buffer.from(
  `\u0002${PROPERTY.dueKind}\u0001${HALF}\u0002${PROPERTY.dueRounds}\u0001`,
)
const BLANK = Buffer.from(' ')
const NO_BYTES = Buffer.alloc(0)
const ZERO = 48
const NINE = 57
/** Of the time, from 2001 to 2286. */
const DIGITS = 13
/** Beyond them the oldest is forgotten. */
const KNOWN_MAX = 8

/** But for when it is due, and the queue. */
interface HalfWait {
  readonly topic: string
  readonly rounds: DueRounds
}

interface KnownWait extends HalfWait {
  /** From behind the time to the queue, and from behind that to the end. */
  readonly middle: Buffer
  readonly tail: Buffer
}

/** Reads one after the other. */
export class HalfWaits {
  /** Where the properties of the message itself end. */
  ownEnd = 0
  /** As its record says, before anything was put off. */
  dueMs = 0
  queueId = 0
  readonly #known: KnownWait[] = []
  readonly #reader = new WaitingReader()

  /** `bytes[start, end)` are all properties of a record. undefined: it is no new half message. */
  read(bytes: Buffer, start: number, end: number): HalfWait | undefined {
    for (const known of this.#known) if (this.#isLike(known, bytes, start, end)) return known
    return this.#readNew(bytes, start, end)
  }

  #isLike({ middle, tail }: KnownWait, bytes: Buffer, start: number, end: number): boolean {
    const tailAt = end - tail.length
    let queueAt = tailAt
    while (queueAt > start && isDigit(bytes[queueAt - 1]!)) queueAt--
    const middleAt = queueAt - middle.length
    const timeAt = middleAt - DIGITS
    const at = timeAt - WAITING_FROM.length
    if (at < start || queueAt === tailAt || tailAt - queueAt > DIGITS) return false
    if (!isThere(tail, bytes, tailAt) || !isThere(middle, bytes, middleAt)) return false
    for (let i = timeAt; i < middleAt; i++) if (!isDigit(bytes[i]!)) return false
    if (!isThere(WAITING_FROM, bytes, at)) return false
    this.ownEnd = at + 1
    this.dueMs = numberIn(bytes, timeAt, middleAt)
    this.queueId = numberIn(bytes, queueAt, tailAt)
    return true
  }

  #readNew(bytes: Buffer, start: number, end: number): HalfWait | undefined {
    const at = bytes.lastIndexOf(WAITING_FROM, end - WAITING_FROM.length)
    if (at < start) return undefined
    const reader = this.#reader
    reader.start(bytes, at)
    this.ownEnd = at + 1
    this.dueMs = reader.number(WAITING_FROM)
    const middleAt = reader.at
    const topic = reader.text(REAL_TOPIC)
    this.queueId = reader.number(REAL_QUEUE)
    const tailAt = reader.at
    const periodMs = reader.number(ROUNDS)
    const round = reader.number(BLANK)
    if (!reader.isAt(end)) return undefined
    const middle = Buffer.from(bytes.subarray(middleAt, middleAt + middleLength(topic)))
    const tail = Buffer.from(bytes.subarray(tailAt, end))
    const known = { topic, rounds: { periodMs, round }, middle, tail }
    if (middleAt - at - WAITING_FROM.length !== DIGITS) return known
    if (this.#known.length === KNOWN_MAX) this.#known.pop()
    this.#known.unshift(known)
    return known
  }
}

const middleLength = (topic: string): number => REAL_TOPIC.length + topic.length + REAL_QUEUE.length

function isThere(known: Buffer, bytes: Buffer, at: number): boolean {
  for (let i = known.length - 1; i >= 0; i--) if (known[i] !== bytes[at + i]) return false
  return true
}

const isDigit = (c: number): boolean => c >= ZERO && c <= NINE

/** The range has digits alone. */
function numberIn(bytes: Buffer, start: number, end: number): number {
  let value = 0
  for (let at = start; at < end; at++) value = value * 10 + bytes[at]! - ZERO
  return value
}

/** Values between constants. */
class WaitingReader {
  #bytes: Buffer = NO_BYTES
  /** -1: something else stood where a constant was expected. */
  #at = 0

  /** Where the last value ended; -1: there was none. */
  get at(): number {
    return this.#at
  }

  start(bytes: Buffer, at: number): void {
    this.#bytes = bytes
    this.#at = at
  }

  /** Behind the constant, to the next separator or blank. */
  text(constant: Buffer): string {
    const from = this.#skip(constant)
    return from === -1 ? '' : this.#bytes.latin1Slice(from, this.#at)
  }

  number(constant: Buffer): number {
    const from = this.#skip(constant)
    return from === -1 ? 0 : numberIn(this.#bytes, from, this.#at)
  }

  /** All that was expected was there, and the last separator ends here. */
  isAt(end: number): boolean {
    return this.#at === end - 1 && this.#bytes[this.#at] === VALUE_END
  }

  #skip(constant: Buffer): number {
    const bytes = this.#bytes
    const from = this.#at
    if (from === -1) return -1
    for (let i = 0; i < constant.length; i++) {
      if (bytes[from + i] === constant[i]) continue
      this.#at = -1
      return -1
    }
    let at = from + constant.length
    while (at < bytes.length && bytes[at] !== VALUE_END && bytes[at] !== BLANK[0]) at++
    this.#at = at
    return from + constant.length
  }
}
