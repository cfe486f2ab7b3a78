// All that the views of a store hold, as plain data: what two stores with one log must agree on,
// whatever became of each of them. Numbers of blocks, and what is known of a time before the log
// starts, depend on how a build came about and are no part of it.

import { FRAME_HEADER_BYTES } from '../../../src/store/log/frame.ts'
import type { LogStore } from '../../../src/store/log-store.ts'
import {
  BLOCK_ENTRIES,
  type ConsumeQueue,
  entryCheck,
  entryPosition,
  entrySize,
  entryTagHash,
} from '../../../src/store/views/consume-queue.ts'
import { keyHash } from '../../../src/store/views/key-index.ts'
import { topicHash } from '../../../src/store/views/queue-table.ts'
import type { Views } from '../../../src/store/views/views.ts'

export interface ImageOf {
  readonly topics: readonly string[]
  readonly keys: readonly string[]
}

export function viewsImage(store: LogStore, { topics, keys }: ImageOf): string {
  const { views } = store
  const lines = [`start ${views.trimmedTo} mark ${views.mark} last ${JSON.stringify(views.last)}`]
  for (const queue of [...views.queues.all(), ...views.light.durable()]) {
    if (queue.next > 0 || queue.notePosition >= 0) lines.push(queueLine(queue, views.trimmedTo))
  }
  for (const { kind, key, value, position } of views.facts.before(Number.POSITIVE_INFINITY)) {
    lines.push(`fact ${kind} ${key} at ${position}: ${value!.toString('base64')}`)
  }
  lines.push(`parked ${views.due.size}`)
  for (const { dueMs, position } of views.due.due(Number.POSITIVE_INFINITY, 1_000_000)) {
    lines.push(`parked ${dueMs} at ${position}`)
  }
  for (const topic of topics) {
    for (const key of keys) lines.push(`key ${topic} ${key}: ${positionsOf(views, topic, key)}`)
  }
  return [...lines.sort(), timesLine(views)].join('\n')
}

function queueLine(queue: ConsumeQueue, start: number): string {
  const { topic, queueId, min, next, lastPosition, notePosition } = queue
  const entries: string[] = []
  for (let offset = min; offset < next; offset++) {
    const index = offset - queue.shift
    const block = queue.block(Math.floor(index / BLOCK_ENTRIES))
    const slot = index % BLOCK_ENTRIES
    const sums = `${entryTagHash(block, slot)} ${entryCheck(block, slot)}`
    entries.push(`${entryPosition(block, slot)} ${entrySize(block, slot)} ${sums}`)
  }
  const known = [lastPosition, notePosition].map((position) => (position < start ? '-' : position))
  return `queue ${topic}/${queueId} ${min}-${next} ${known.join()}: ${entries.join()}`
}

function positionsOf(views: Views, topic: string, key: string): string {
  const bytes = Buffer.from(key)
  const hash = keyHash(bytes, 0, bytes.length, topicHash(topic))
  const positions = [...views.keys.candidates(hash)]
  return positions.filter((at) => at !== undefined && at >= views.trimmedTo).join()
}

/** Of the oldest run that has a record only the end is the same wherever a build began. */
function timesLine({ times, trimmedTo }: Views): string {
  const first = trimmedTo + FRAME_HEADER_BYTES
  const runs = times.runs.filter((_, i) => (times.runs[i + 1]?.from ?? first + 1) > first)
  const lines = runs.map(({ from, firstMs, lastMs }, i) =>
    i === 0 ? `to ${lastMs}` : `${from} ${firstMs} ${lastMs}`,
  )
  return `times ${lines.join()}`
}
