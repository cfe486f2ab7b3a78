// The properties by which a parked record says where it goes and when, so that replay finds out.
// Those of many records differ in the digits of the time alone, so the rest is kept.
import { type DueRounds, roundsText } from '../model/due-rounds.ts'
import { SCHEDULE_TOPIC } from '../model/names.ts'
import { PROPERTY, VALUE_END } from '../model/properties.ts'
import type { WrittenProperty } from '../model/record.ts'
import type { StoreDraft } from './store.ts'

const SEPARATOR = String.fromCharCode(VALUE_END)
const ZERO = 48
/** Times that have so many digits: from 2001 to 2286. */
const DIGITS = 13
const DIGITS_MIN = 10 ** (DIGITS - 1)
const DIGITS_MAX = 10 ** DIGITS - 1
/** The last digits and those before them are small integers each. */
const LAST_DIGITS = 6
const LAST = 10 ** LAST_DIGITS
/** Beyond them all are forgotten: 200 bytes each. */
const TEXTS_MAX = 1024

/** All but the time, of the parked records of one queue, kind and period. */
interface Text {
  readonly dueKind: string | undefined
  readonly periodMs: number
  readonly round: number
  readonly isBehindOpen: boolean
  readonly bytes: Buffer
  readonly digitsAt: number
}

class Waiting implements WrittenProperty {
  readonly #text: Text
  readonly #dueMs: number

  constructor(text: Text, dueMs: number) {
    this.#text = text
    this.#dueMs = dueMs
  }

  get length(): number {
    return this.#text.bytes.length
  }

  write(target: Uint8Array, at: number): void {
    const { bytes, digitsAt } = this.#text
    target.set(bytes, at)
    const last = this.#dueMs % LAST
    const end = at + digitsAt + DIGITS
    putDigits(target, end, last)
    putDigits(target, end - LAST_DIGITS, (this.#dueMs - last) / LAST)
  }
}

/** Up to the position, over the zeros that are there. */
function putDigits(target: Uint8Array, end: number, value: number): void {
  let left = value
  for (let at = end - 1; left > 0; at--) {
    const rest = (left / 10) | 0
    target[at] = ZERO + left - rest * 10
    left = rest
  }
}

export class WaitingTexts {
  /** By topic; of each queue one for delayed messages and one for another kind. */
  readonly #topics = new Map<string, (Text | undefined)[]>()
  #count = 0

  /** Of a draft that is to wait until then, and is not for the topic of those that wait. */
  of(draft: StoreDraft, dueMs: number): WrittenProperty {
    const { topic, queueId, dueKind, rounds = ONCE } = draft
    const isBehindOpen = isOpen(draft)
    const isUsual = dueMs >= DIGITS_MIN && dueMs <= DIGITS_MAX && rounds.firstPlace === undefined
    if (!isUsual) return new Waiting(textOf(draft, String(dueMs), isBehindOpen), 0)
    const texts = this.#topics.get(topic) ?? this.#newTopic(topic)
    const place = queueId * 2 + (dueKind === undefined ? 0 : 1)
    const known = texts[place]
    if (
      known !== undefined &&
      known.dueKind === dueKind &&
      known.periodMs === rounds.periodMs &&
      known.round === rounds.round &&
      known.isBehindOpen === isBehindOpen
    ) {
      return new Waiting(known, dueMs)
    }
    const text = textOf(draft, '0'.repeat(DIGITS), isBehindOpen)
    if (known === undefined) this.#count++
    if (this.#count <= TEXTS_MAX) texts[place] = text
    else this.#forget()
    return new Waiting(text, dueMs)
  }

  #newTopic(topic: string): (Text | undefined)[] {
    const texts: (Text | undefined)[] = []
    this.#topics.set(topic, texts)
    return texts
  }

  #forget(): void {
    this.#topics.clear()
    this.#count = 0
  }
}

const ONCE: DueRounds = { periodMs: 0, round: 0 }

function isOpen({ properties, uniqueKey, brokerProperties }: StoreDraft): boolean {
  if (brokerProperties !== undefined && brokerProperties.length > 0) {
    return brokerProperties[brokerProperties.length - 1] !== VALUE_END
  }
  if (uniqueKey !== undefined || properties.length === 0) return false
  return properties[properties.length - 1] !== VALUE_END
}

/** All but the time. */
export function waitingProperties(draft: StoreDraft): [string, string][] {
  const { topic, queueId, dueKind, rounds } = draft
  const all: [string, string][] = []
  if (topic !== SCHEDULE_TOPIC) {
    all.push([PROPERTY.realTopic, topic], [PROPERTY.realQueueId, String(queueId)])
  }
  if (dueKind !== undefined) all.push([PROPERTY.dueKind, dueKind])
  if (rounds !== undefined) all.push([PROPERTY.dueRounds, roundsText(rounds)])
  return all
}

/** All of it is ASCII. */
function textOf(draft: StoreDraft, time: string, isBehindOpen: boolean): Text {
  const { dueKind, rounds } = draft
  const head = `${isBehindOpen ? SEPARATOR : ''}${PROPERTY.dueMs}\u0001`
  let text = `${head}${time}${SEPARATOR}`
  for (const [name, value] of waitingProperties(draft)) text += `${name}\u0001${value}${SEPARATOR}`
  const { periodMs, round } = rounds ?? ONCE
  const bytes = Buffer.from(text, 'latin1')
  return { dueKind, periodMs, round, isBehindOpen, bytes, digitsAt: head.length }
}
