// Takes the records of each durable frame in log order and updates the views. The same code runs live
// and in replay, so views rebuilt from the log equal views that were never lost.

import type { Logger } from '../log.ts'
import { getI32, getU64 } from '../model/bytes.ts'
import { isLightQueue, LIGHT_QUEUE_PREFIX } from '../model/names.ts'
import { findProperty, PROPERTY } from '../model/properties.ts'
import { RecordView } from '../model/record.ts'
import { routingName } from '../model/routing-name.ts'
import type { Frame } from './commit-log.ts'
import type { ConsumeQueue } from './consume-queue.ts'
import { keyHash } from './key-index.ts'
import { decodeNotes, type Note } from './notes.ts'
import type { TopicQueues } from './queue-table.ts'
import { RecordScan } from './record-scan.ts'
import type { Views } from './views.ts'

const BLANK = 32

export class Dispatcher {
  readonly #views: Views
  readonly #log: Logger
  readonly #scan = new RecordScan()
  /** Queues with entries that nobody was told of. */
  readonly #touched: ConsumeQueue[] = []
  /** Most records of a frame are of the topic before. */
  #topic: TopicQueues | undefined
  #topicBytes: Buffer = Buffer.alloc(0)

  constructor(views: Views, log: Logger) {
    this.#views = views
    this.#log = log
  }

  apply(frame: Frame): void {
    const { bytes, stop } = frame
    for (let at = frame.start, position: number = frame.firstRecord; at < stop; ) {
      const size = getI32(bytes, at)
      this.#record(bytes, at, size, position)
      at += size
      position += size
    }
    this.#views.mark = frame.end
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
    scan.scan(bytes, at, size)
    const topic = this.#topicOf(bytes)
    if (topic.kind === 'messages') {
      const queue = this.#views.queues.queue(topic, getI32(bytes, at + 12))
      this.#align(queue, getU64(bytes, at + 20), position)
      this.#enter(queue, position, size)
      this.#indexKeys(bytes, topic.hash, position)
      if (topic.isRoutable && !this.#views.light.isEmpty) this.#route(bytes, at, size, position)
    } else if (topic.kind === 'notes') {
      for (const note of decodeNotes(new RecordView(bytes, at).body)) this.#note(note, position)
    } else {
      const dueMs = Number(findProperty(bytes, PROPERTY.dueMs, scan.topicEnd + 2, at + size))
      if (Number.isFinite(dueMs)) this.#views.due.add(dueMs, position)
    }
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
    if (offset === queue.next) return
    if (queue.lastPosition < 0 && queue.min === queue.next && offset > queue.next) {
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
    if (queue.isTouched) return
    queue.isTouched = true
    this.#touched.push(queue)
  }

  #indexKeys(bytes: Buffer, seed: number, position: number): void {
    const { keys } = this.#views
    const { keysStart, keysEnd, uniqueKeyStart, uniqueKeyEnd } = this.#scan
    if (uniqueKeyEnd > 0) keys.add(keyHash(bytes, uniqueKeyStart, uniqueKeyEnd, seed), position)
    let at = keysStart
    while (at < keysEnd) {
      let stop = at
      while (stop < keysEnd && bytes[stop] !== BLANK) stop++
      if (stop > at) keys.add(keyHash(bytes, at, stop, seed), position)
      at = stop + 1
    }
  }

  #route(bytes: Buffer, at: number, size: number, position: number): void {
    const name = routingName(new RecordView(bytes, at))
    this.#views.light.match(name, position, (queue) => this.#enter(queue, position, size))
  }

  #note(note: Note, position: number): void {
    const views = this.#views
    switch (note.is) {
      case 'fact':
        if (note.value === null) views.facts.forget(note.kind, note.key)
        else views.facts.set(note.kind, note.key, note.value, position)
        return
      case 'fired':
        views.due.remove(note.dueMs, note.position)
        return
      case 'bind':
        views.light.bindDurable(note.filter).lastPosition = position
        return
      case 'unbind':
        views.light.unbindDurable(note.filter)
        return
      case 'drop':
        for (const queue of views.queues.topic(note.topic).queues) queue?.reset(0)
        return
      case 'queueEnd':
        this.#queueEnd(note.topic, note.queueId, note.nextOffset, position)
    }
  }

  #queueEnd(topic: string, queueId: number, nextOffset: number, position: number): void {
    const { queues, light } = this.#views
    const queue = isLightQueue(topic)
      ? light.bindDurable(topic.slice(LIGHT_QUEUE_PREFIX.length))
      : queues.queue(queues.topic(topic), queueId)
    if (queue.next < nextOffset) queue.reset(nextOffset)
    if (queue.lastPosition < 0) queue.lastPosition = position
  }
}
