// A store filled with some of everything, and all that it shows, as plain data to compare.

import { NO_HOST } from '../../../src/model/host.ts'
import { lightQueueTopic } from '../../../src/model/names.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { encodeProperties } from '../../../src/model/properties.ts'
import { RecordView, recordsOf } from '../../../src/model/record.ts'
import type { MessageStore, StoreDraft } from '../../../src/store/store.ts'

export interface FillOptions {
  readonly messages: number
  readonly nowMs: number
}

const TOPICS = ['A', 'B', '%RETRY%g']
const QUEUES = 3
export const FILTERS = ['A', '+/tag1', '#']
const KINDS = ['cursor', 'topic']

export function draft(topic: string, body: string, options: Partial<StoreDraft> = {}): StoreDraft {
  return {
    topic,
    queueId: 0,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1,
    bornHost: NO_HOST,
    reconsumeTimes: 0,
    preparedPosition: 0,
    body: Buffer.from(body),
    properties: Buffer.alloc(0),
    ...options,
  }
}

export async function fill(store: MessageStore, { messages, nowMs }: FillOptions): Promise<void> {
  for (const filter of FILTERS) await store.bindLightQueue(filter, true)
  const under: Promise<unknown>[] = []
  for (let i = 0; i < messages; i++) {
    const tag = i % 4 === 0 ? [] : [['TAGS', `tag${i % 4}`] as const]
    const properties = encodeProperties([
      ...tag,
      ['KEYS', `k${i % 50} n${i}`],
      ['UNIQ_KEY', `u${i}`],
    ])
    const message = draft(TOPICS[i % TOPICS.length]!, `message ${i} ${'x'.repeat(i % 100)}`, {
      queueId: i % QUEUES,
      properties,
    })
    const messagesOf = i % 10 === 0 ? [message, parked(i, nowMs)] : [message]
    const facts = [
      {
        kind: KINDS[i % 2]!,
        key: `key${i % 37}`,
        value: i % 29 === 0 ? null : Buffer.from(`${i}`),
      },
    ]
    under.push(store.append({ messages: messagesOf, facts }))
    // A frame holds what one turn brings: make several.
    if (i % 100 === 99) await Promise.all(under.splice(0))
  }
  await Promise.all(under)
  const fired = store.due(nowMs + 3_600_000, 5)
  await store.append({ messages: [], fired })
}

const parked = (i: number, nowMs: number): StoreDraft =>
  draft('A', `later ${i}`, { dueMs: nowMs + 1000 + ((i * 7919) % 7_200_000) })

/** Everything that the store answers. Reads in pages, each record with its checks. */
export async function contentsOf(store: MessageStore): Promise<unknown> {
  const queues: Record<string, unknown> = {}
  for (const topic of TOPICS) {
    for (let id = 0; id < QUEUES; id++) queues[`${topic}/${id}`] = await entriesOf(store, topic, id)
  }
  for (const filter of FILTERS) queues[filter] = await entriesOf(store, lightQueueTopic(filter), 0)
  const keys: Record<string, unknown> = {}
  for (let i = 0; i < 50; i += 7) {
    for (const topic of TOPICS) keys[`${topic} k${i}`] = await bodiesByKey(store, topic, `k${i}`)
  }
  const due = store.due(Number.MAX_SAFE_INTEGER, 100_000)
  const parkedBodies: string[] = []
  for (const entry of due) {
    const record = await store.readAt(entry.position)
    parkedBodies.push(`${entry.dueMs} ${record && new RecordView(record).body}`)
  }
  return {
    topics: [...store.topics()].sort(),
    queues,
    keys,
    facts: KINDS.map((kind) =>
      [...store.facts(kind)].map(([key, value]) => `${key}=${value}`).sort(),
    ),
    pendingDue: store.status().pendingDue,
    due: parkedBodies.sort(),
    nextDueMs: store.nextDueMs(),
  }
}

async function entriesOf(store: MessageStore, topic: string, queueId: number): Promise<unknown> {
  const range = store.range(topic, queueId)
  const entries: string[] = []
  for (let offset = range.minOffset; offset < range.maxOffset; ) {
    const result = await store.read({
      topic,
      queueId,
      offset,
      maxMessages: 50,
      maxBytes: 64 * 1024,
      hashes: undefined,
    })
    const records = [...recordsOf(result.records)]
    for (const [i, record] of records.entries()) {
      entries.push(
        `${result.offsets[i]} ${record.topic} ${record.property('UNIQ_KEY')} ${record.body}`,
      )
    }
    offset = queueOffset(Math.max(result.nextOffset, offset + 1))
  }
  return { range, entries }
}

const bodiesByKey = async (store: MessageStore, topic: string, key: string): Promise<string[]> =>
  (await store.findByKey(topic, key, { max: 1000 })).map((record) =>
    new RecordView(record).body.toString(),
  )
