// Takes the records of each durable frame in log order and updates the views. The same code runs
// live and in replay, so that views rebuilt from the log equal views that were never lost.
import type { Logger } from '../../log.ts'
import { getI32, getU64 } from '../../model/bytes.ts'
import { dispatchedTo, isLightQueue, LIGHT_QUEUE_PREFIX } from '../../model/names.ts'
import { logPosition } from '../../model/positions.ts'
import { RecordView, STORE_TIMESTAMP_AT } from '../../model/record.ts'
import { routingName } from '../../model/routing-name.ts'
import type { Frame } from '../log/commit-log.ts'
import type { ConsumeQueue } from './consume-queue.ts'
import { dueTime } from './due-index.ts'
import { IdHasher, KEYS_PER_RECORD_MAX, keyHash } from './key-index.ts'
import { decodeNotes, firedAt, firedCount, type Note, type QueueEnd } from './notes.ts'
import { ViewsDamaged } from './pairs/sealed.ts'
import { placeHash, type TopicQueues } from './queue-table.ts'
import { RecordScan } from './record-scan.ts'
import type { Views } from './views.ts'

type RecordNote = Extract<Note, { readonly is: 'record' }>

const BLANK = 32
const SAFE_DIGITS = 15

export class Dispatcher {
  readonly #views: Views
  readonly #log: Logger
  readonly #isPassive: () => boolean
  readonly #scan = new RecordScan()
  readonly #ids = new IdHasher()
  /** Queues with entries that the arrival listener was not told of. */
  readonly #touched: ConsumeQueue[] = []
  /** Most records of a frame are of the topic before. */
  #topic: TopicQueues | undefined
  #topicBytes: Buffer = Buffer.alloc(0)

  /** `isPassive`: the log may have begun where another one starts by then. */
  constructor(views: Views, log: Logger, isPassive: () => boolean) {
    this.#views = views
    this.#log = log
    this.#isPassive = isPassive
  }

  apply(frame: Frame): void {
    const { bytes, stop } = frame
    const views = this.#views
    const isKnown = frame.end <= views.mark
    let position: number = frame.firstRecord
    let size = 0
    for (let at = frame.start; at < stop; at += size, position += size) {
      size = getI32(bytes, at)
      this.#scan.scan(bytes, at, size)
      if (isKnown) this.#keysOnly(bytes, position)
      else {
        views.times.note(position, getU64(bytes, at + STORE_TIMESTAMP_AT))
        this.#record(bytes, at, size, position)
      }
    }
    if (isKnown || size === 0) return
    views.mark = frame.end
    views.last = { position: position - size, size, check: this.#scan.check }
  }

  /** Empties the list of queues that got entries, telling each once. */
  tellTouched(tell: (queue: ConsumeQueue) => void): void {
    for (const queue of this.#touched) {
      queue.isTouched = false
      tell(queue)
    }
    this.#touched.length = 0
  }

  #record(bytes: Buffer, at: number, size: number, position: number): void {
    const scan = this.#scan
    const topic = this.#topicOf(bytes)
    if (topic.kind === 'messages') {
      const queue = this.#views.queues.queue(topic, getI32(bytes, at + 12))
      const offset = getU64(bytes, at + 20)
      if (offset !== queue.next) this.#align(queue, offset, position)
      this.#enter(queue, position, size)
      this.#indexKeys(bytes, topic.hash, position)
      if (topic.isRoutable && !this.#views.light.isEmpty)
        this.#route(bytes, topic.name, size, position)
    } else if (topic.kind === 'notes') {
      this.#notes(bytes, at, position)
    } else {
      const { dueStart, dueEnd } = scan
      const dueMs = integerIn(bytes, dueStart, dueEnd) ?? bytes.latin1Slice(dueStart, dueEnd)
      this.#views.due.add(dueTime(Number(dueMs)), position)
      this.#indexParked(bytes, topic.hash, position)
      this.#views.unsavedEntries++
    }
  }

  #notes(bytes: Buffer, at: number, position: number): void {
    const { body } = new RecordView(bytes, at)
    // Of these there may be very many, and mostly nothing else.
    const count = firedCount(body)
    for (let i = 0; i < count; i++) this.#fired(firedAt(body, i))
    this.#views.unsavedEntries += count
    for (const note of decodeNotes(body, count)) {
      if (note.is === 'record') this.#recordFact(note, bytes, at, position)
      else this.#note(note, position)
      this.#views.unsavedEntries++
    }
  }

  /** The key index lags behind the other views. */
  #keysOnly(bytes: Buffer, position: number): void {
    if (position < this.#views.keysMark) return
    const topic = this.#topicOf(bytes)
    if (topic.kind === 'messages') this.#indexKeys(bytes, topic.hash, position)
    else if (topic.kind === 'parked') this.#indexParked(bytes, topic.hash, position)
  }

  #topicOf(bytes: Buffer): TopicQueues {
    const { topicStart, topicEnd } = this.#scan
    const last = this.#topicBytes
    if (this.#topic !== undefined && topicEnd - topicStart === last.length) {
      let i = 0
      while (i < last.length && bytes[topicStart + i] === last[i]) i++
      if (i === last.length) return this.#topic
    }
    const name = bytes.latin1Slice(topicStart, topicEnd)
    this.#topicBytes = Buffer.from(name, 'latin1')
    this.#topic = this.#views.queues.topic(name)
    return this.#topic
  }

  /**
   * Brings the queue to the offset that the record was given. They differ where the log starts late
   * (retention) or lost records to damage: the lost offsets stay, as entries of no size.
   */
  #align(queue: ConsumeQueue, offset: number, position: number): void {
    if (queue.min === queue.next && queue.lastPosition < 0 && offset > queue.next) {
      queue.reset(offset)
      return
    }
    this.#log.error(
      { evt: 'queue.gap', topic: queue.topic, queueId: queue.queueId, offset, next: queue.next },
      `the record at ${position} has offset ${offset} where ${queue.next} was expected`,
    )
    while (queue.next < offset) queue.append(position, 0, 0, 0)
  }

  #enter(queue: ConsumeQueue, position: number, size: number): void {
    const scan = this.#scan
    queue.append(position, size, scan.tagHash, scan.check)
    this.#views.unsavedEntries++
    if (queue.isTouched) return
    queue.isTouched = true
    this.#touched.push(queue)
  }

  #indexUniqueKey(bytes: Buffer, seed: number, position: number): void {
    const { uniqueKeyStart, uniqueKeyEnd } = this.#scan
    if (uniqueKeyEnd === 0) return
    this.#views.keys.add(this.#ids.hash(bytes, uniqueKeyStart, uniqueKeyEnd, seed), position)
  }

  #indexKeys(bytes: Buffer, seed: number, position: number): void {
    const { keys } = this.#views
    const { keysStart, keysEnd } = this.#scan
    this.#indexUniqueKey(bytes, seed, position)
    let left = KEYS_PER_RECORD_MAX - 1
    for (let at = keysStart; at < keysEnd && left > 0; ) {
      let stop = at
      while (stop < keysEnd && bytes[stop] !== BLANK) stop++
      if (stop > at) {
        keys.add(keyHash(bytes, at, stop, seed), position)
        left--
      }
      at = stop + 1
    }
  }

  /**
   * By its unique id; where it waits in rounds, clients know its place, and a copy is found by that
   * of the first record.
   */
  #indexParked(bytes: Buffer, seed: number, position: number): void {
    const { roundsStart, roundsEnd } = this.#scan
    if (roundsEnd === 0) {
      this.#indexUniqueKey(bytes, seed, position)
      return
    }
    const placeAt = thirdNumber(bytes, roundsStart, roundsEnd)
    if (placeAt === roundsEnd) return
    const place = logPosition(Number(bytes.latin1Slice(placeAt, roundsEnd)))
    this.#views.keys.add(placeHash(place), position)
  }

  #route(bytes: Buffer, topic: string, size: number, position: number): void {
    const { light } = this.#views
    const { tagStart, tagEnd, mqttTopicStart, mqttTopicEnd } = this.#scan
    const tag = tagEnd === 0 ? undefined : bytes.utf8Slice(tagStart, tagEnd)
    const mqttTopic = mqttTopicEnd === 0 ? undefined : bytes.utf8Slice(mqttTopicStart, mqttTopicEnd)
    const queues = light.matching(routingName(topic, tag, mqttTopic))
    for (const queue of queues) this.#enter(queue, position, size)
    const { dispatchStart, dispatchEnd } = this.#scan
    if (dispatchEnd === 0) return
    for (const name of dispatchedTo(bytes.utf8Slice(dispatchStart, dispatchEnd))) {
      const queue = light.find(name)
      if (queue !== undefined) this.#enter(queue, position, size)
    }
  }

  /** The record stands before the notes, in the frame that both are in. */
  #recordFact(note: RecordNote, bytes: Buffer, at: number, position: number): void {
    const from = at - note.back
    const value = bytes.subarray(from, from + getI32(bytes, from))
    this.#views.facts.set(note.kind, note.key, value, position)
  }

  #note(note: Exclude<Note, RecordNote>, position: number): void {
    const views = this.#views
    switch (note.is) {
      case 'fact':
        views.facts.set(note.kind, note.key, note.value, position)
        return
      case 'fired':
      case 'putOff':
        this.#fired(note)
        return
      case 'bind':
        this.#noted(views.light.bindDurable(note.filter), position)
        return
      case 'unbind': {
        const gone = views.light.unbindDurable(note.filter)
        if (gone !== undefined) views.removeQueue(gone)
        return
      }
      case 'drop':
        views.dropTopic(note.topic, position)
        return
      case 'queueEnd':
        this.#queueEnd(note, position)
    }
  }

  #fired(note: Extract<Note, { readonly is: 'fired' | 'putOff' }>): void {
    const { due } = this.#views
    try {
      const wasThere = due.remove(note.dueMs, note.position)
      if (wasThere && note.is === 'putOff') due.add(dueTime(note.untilMs), note.position)
    } catch (error) {
      this.#views.damaged(error)
    }
  }

  #queueEnd(note: QueueEnd, position: number): void {
    const { queues, light } = this.#views
    const { topic, queueId, nextOffset } = note
    if (isLightQueue(topic)) {
      const filter = topic.slice(LIGHT_QUEUE_PREFIX.length)
      if (this.#isPassive() && !light.hasDurable(filter)) this.#views.damaged(boundBefore(filter))
      try {
        this.#noted(light.number(filter, nextOffset, note.position), position)
      } catch (error) {
        this.#views.damaged(error)
      }
      return
    }
    const queue = queues.queue(queues.topic(topic), queueId)
    if (queue.next < nextOffset) queue.reset(nextOffset)
    this.#noted(queue, position)
  }

  #noted(queue: ConsumeQueue, position: number): void {
    queue.notePosition = position
    queue.markDirty()
  }
}

/** Where the third of the numbers between blanks begins, or the end: there are but two. */
function thirdNumber(bytes: Buffer, start: number, end: number): number {
  let blanks = 0
  let at = start
  while (at < end && blanks < 2) if (bytes[at++] === BLANK) blanks++
  return at
}

/** undefined: not a number of digits alone, or a longer one. */
function integerIn(bytes: Buffer, start: number, end: number): number | undefined {
  if (end - start > SAFE_DIGITS || end === start) return undefined
  let value = 0
  for (let at = start; at < end; at++) {
    const digit = bytes[at]! - 48
    if (digit < 0 || digit > 9) return undefined
    value = value * 10 + digit
  }
  return value
}

/**
 * A log that is read from its start knows such a filter beforehand (carried-filters.ts); one that
 * began to follow another where that one starts by then hears of it here.
 */
const boundBefore = (filter: string): ViewsDamaged =>
  new ViewsDamaged(`the light queue '${filter}' was bound before this log begins: it lacks entries`)
