// Notes: what the log says beside messages. One record of FACT_TOPIC carries all notes of an append
// group, in the same frame as its messages, so that replay rebuilds every view. The body of the
// record:
//
//   repeated:  u8 tag, then by tag
//   1 fact      u8 kindLength, kind, u16 keyLength, key, i32 valueLength (-1 = forgotten), value
//   2 fired     u64 dueMs, u64 position
//   3 bind      u16 filterLength, filter
//   4 unbind    u16 filterLength, filter
//   5 drop      u16 topicLength, topic
//   6 queueEnd  u16 topicLength, topic, u32 queueId, u64 nextOffset, u64 position
//   7 record    u8 kindLength, kind, u16 keyLength, key, u32 back: a fact whose value is the
//               record that starts so many bytes before the record of the notes
//   8 putOff    u64 dueMs, u64 position, u64 untilMs
import { BrokerError } from '../../errors.ts'
import { getI32, getU16, getU32, getU64, putU16, putU32, putU64 } from '../../model/bytes.ts'
import { NO_HOST } from '../../model/host.ts'
import { FACT_TOPIC, lightQueueTopic } from '../../model/names.ts'
import type { RecordDraft } from '../../model/record.ts'
import { FACT_KEY_BYTES_MAX, FACT_KIND_BYTES_MAX, type Fact } from '../store.ts'

export type Note =
  | ({ readonly is: 'fact' } & Fact)
  | { readonly is: 'record'; readonly kind: string; readonly key: string; readonly back: number }
  | FiredNote
  | PutOffNote
  | { readonly is: 'bind'; readonly filter: string }
  | { readonly is: 'unbind'; readonly filter: string }
  | { readonly is: 'drop'; readonly topic: string }
  | QueueEnd

export interface FiredNote {
  readonly is: 'fired'
  readonly dueMs: number
  readonly position: number
}

export interface PutOffNote {
  readonly is: 'putOff'
  readonly dueMs: number
  readonly position: number
  readonly untilMs: number
}

/**
 * The next offset of a queue after every record before the position. Retention writes it before the
 * last trace of a queue goes with its segment; for a light queue it also says that the filter is
 * bound.
 */
export interface QueueEnd {
  readonly is: 'queueEnd'
  readonly topic: string
  readonly queueId: number
  readonly nextOffset: number
  readonly position: number
}

/**
 * Two notes of one subject replace each other: a later one must not say what an earlier one
 * changed.
 */
export function noteSubject(note: Note): string | number {
  switch (note.is) {
    case 'fact':
    case 'record':
      return `fact ${note.kind}\u0000${note.key}`
    case 'fired':
    case 'putOff':
      return note.position
    case 'bind':
    case 'unbind':
      return `topic ${lightQueueTopic(note.filter)}`
    case 'drop':
    case 'queueEnd':
      return `topic ${note.topic}`
  }
}

const TAG = {
  fact: 1,
  fired: 2,
  bind: 3,
  unbind: 4,
  drop: 5,
  queueEnd: 6,
  record: 7,
  putOff: 8,
} as const
const FIRED_BYTES = 17
const NAME_BYTES_MAX = 65_535
const NO_BYTES = Buffer.alloc(0)

/** @throws BrokerError ARGUMENT_INVALID for a kind, key or name that is too long */
export function noteDraft(notes: readonly Note[], bornTimestamp: number): RecordDraft {
  const [first] = notes
  const isFired = first?.is === 'fired' && notes.every(({ is }) => is === 'fired')
  return {
    topic: FACT_TOPIC,
    queueId: 0,
    flag: 0,
    sysFlag: 0,
    bornTimestamp,
    bornHost: NO_HOST,
    reconsumeTimes: 0,
    preparedPosition: 0,
    body: isFired ? firedBytes(notes as readonly FiredNote[]) : noteBytes(notes),
    properties: NO_BYTES,
  }
}

function noteBytes(notes: readonly Note[]): Buffer {
  const pieces: Buffer[] = []
  for (const note of notes) encodeNote(note, pieces)
  return Buffer.concat(pieces)
}

/** The same of what there may be very many of. */
function firedBytes(notes: readonly FiredNote[]): Buffer {
  const bytes = Buffer.allocUnsafe(notes.length * FIRED_BYTES)
  let at = 0
  for (const note of notes) {
    putFired(bytes, at, note)
    at += FIRED_BYTES
  }
  return bytes
}

function putFired(bytes: Buffer, at: number, { dueMs, position }: FiredNote): void {
  bytes[at] = TAG.fired
  putU64(bytes, at + 1, dueMs)
  putU64(bytes, at + 9, position)
}

/** How many notes of this kind the body begins with. */
export function firedCount(body: Buffer): number {
  let count = 0
  for (let at = 0; at + FIRED_BYTES <= body.length && body[at] === TAG.fired; at += FIRED_BYTES) {
    count++
  }
  return count
}

export function firedAt(body: Buffer, index: number): FiredNote {
  const at = index * FIRED_BYTES + 1
  return { is: 'fired', dueMs: getU64(body, at), position: getU64(body, at + 8) }
}

function encodeNote(note: Note, pieces: Buffer[]): void {
  const head = Buffer.allocUnsafe(FIRED_BYTES)
  head[0] = TAG[note.is]
  switch (note.is) {
    case 'fact':
      pieces.push(head.subarray(0, 1), kindBytes(note.kind), keyBytes(note.key))
      pieces.push(i32Bytes(note.value === null ? -1 : note.value.length))
      if (note.value !== null) pieces.push(Buffer.from(note.value))
      return
    case 'record':
      pieces.push(
        head.subarray(0, 1),
        kindBytes(note.kind),
        keyBytes(note.key),
        i32Bytes(note.back),
      )
      return
    case 'fired':
      putFired(head, 0, note)
      pieces.push(head)
      return
    case 'putOff': {
      const until = Buffer.allocUnsafe(8)
      putU64(head, 1, note.dueMs)
      putU64(head, 9, note.position)
      putU64(until, 0, note.untilMs)
      pieces.push(head, until)
      return
    }
    case 'bind':
    case 'unbind':
      pieces.push(head.subarray(0, 1), nameBytes(note.filter, NAME_BYTES_MAX))
      return
    case 'drop':
      pieces.push(head.subarray(0, 1), nameBytes(note.topic, NAME_BYTES_MAX))
      return
    case 'queueEnd': {
      const place = Buffer.allocUnsafe(20)
      putU32(place, 0, note.queueId)
      putU64(place, 4, note.nextOffset)
      putU64(place, 12, note.position)
      pieces.push(head.subarray(0, 1), nameBytes(note.topic, NAME_BYTES_MAX), place)
    }
  }
}

function kindBytes(kind: string): Buffer {
  const text = Buffer.from(kind, 'utf8')
  if (text.length > FACT_KIND_BYTES_MAX) throw tooLong('fact kind', kind, FACT_KIND_BYTES_MAX)
  return Buffer.concat([Buffer.of(text.length), text])
}

const keyBytes = (key: string): Buffer => nameBytes(key, FACT_KEY_BYTES_MAX)

function nameBytes(name: string, longest: number): Buffer {
  const text = Buffer.from(name, 'utf8')
  if (text.length > longest) throw tooLong('name', name, longest)
  const sized = Buffer.allocUnsafe(2 + text.length)
  putU16(sized, 0, text.length)
  sized.set(text, 2)
  return sized
}

function i32Bytes(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  putU32(bytes, 0, value)
  return bytes
}

const tooLong = (noun: string, text: string, longest: number): BrokerError =>
  new BrokerError(
    'ARGUMENT_INVALID',
    `the ${noun} '${text.slice(0, 40)}...' is longer than ${longest} bytes`,
  )

/**
 * Values of facts are views into the body: copy values to keep. The first `fired` notes, which
 * `firedCount` found, are left out.
 * @throws BrokerError STORE_CORRUPT
 */
export function* decodeNotes(body: Buffer, fired = 0): Generator<Note> {
  let at = fired * FIRED_BYTES
  const need = (bytes: number): number => {
    const from = at
    at += bytes
    if (at > body.length) throw cutShort(body.length)
    return from
  }
  const name = (): string => {
    const length = getU16(body, need(2))
    return body.utf8Slice(need(length), at)
  }
  while (at < body.length) {
    const tag = body[need(1)]
    if (tag === TAG.fact || tag === TAG.record) {
      const kindLength = body[need(1)]!
      const kind = body.utf8Slice(need(kindLength), at)
      const key = name()
      if (tag === TAG.record) {
        yield { is: 'record', kind, key, back: getU32(body, need(4)) }
        continue
      }
      const length = getI32(body, need(4))
      yield { is: 'fact', kind, key, value: length < 0 ? null : body.subarray(need(length), at) }
    } else if (tag === TAG.fired) {
      const from = need(16)
      yield { is: 'fired', dueMs: getU64(body, from), position: getU64(body, from + 8) }
    } else if (tag === TAG.putOff) {
      const from = need(24)
      const [dueMs, position] = [getU64(body, from), getU64(body, from + 8)]
      yield { is: 'putOff', dueMs, position, untilMs: getU64(body, from + 16) }
    } else if (tag === TAG.bind) yield { is: 'bind', filter: name() }
    else if (tag === TAG.unbind) yield { is: 'unbind', filter: name() }
    else if (tag === TAG.drop) yield { is: 'drop', topic: name() }
    else if (tag === TAG.queueEnd) {
      const topic = name()
      const from = need(20)
      const queueId = getU32(body, from)
      const nextOffset = getU64(body, from + 4)
      yield { is: 'queueEnd', topic, queueId, nextOffset, position: getU64(body, from + 12) }
    } else throw new BrokerError('STORE_CORRUPT', `a note has the unknown tag ${tag}`)
  }
}

const cutShort = (length: number): BrokerError =>
  new BrokerError('STORE_CORRUPT', `a record of notes ends in mid-note at byte ${length}`)
