// CPU time of the broker per message, in process: publishing, and receiving with acknowledgement,
// once over a store that does nothing and once over the real one. Prints, asserts nothing.
//
//   npx tsc -b && node dist/bench/broker.js [messages] [batch]
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EmbeddedBroker, openBroker } from '../src/broker/broker.ts'
import { systemClock } from '../src/clock.ts'
import { silentLogger } from '../src/log.ts'
import { ANY_QUEUE, type NewMessage } from '../src/model/message.ts'
import { type QueueOffset, queueOffset } from '../src/model/positions.ts'
import { encodeProperties } from '../src/model/properties.ts'
import { writeRecord } from '../src/model/record.ts'
import { EVERY_TAG } from '../src/model/tag-filter.ts'
import { openStore } from '../src/store/open.ts'
import type { Appended, MessageStore, ReadResult, StoreMessage } from '../src/store/store.ts'

const MESSAGES = Number(process.argv[2] ?? 400_000)
const BATCH = Number(process.argv[3] ?? 64)
const ROUNDS = 3
const HOST = { ip: 0x7f000001, port: 10_911 }
const QUEUES = 4

const withKey = encodeProperties([
  ['TAGS', 'eu'],
  ['UNIQ_KEY', '7F00000100002A9F000000000000ABCD'],
  ['WAIT', 'true'],
])
const withoutKey = encodeProperties([['TAGS', 'eu']])

function batchOf(properties: Buffer): NewMessage[] {
  return Array.from({ length: BATCH }, () => ({
    topic: 'bench',
    queueId: ANY_QUEUE,
    body: Buffer.alloc(100, 'x'),
    properties,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1_700_000_000_000,
    bornHost: HOST,
    reconsumeTimes: 0,
    createTopic: true,
  }))
}

/** Answers every append at once, and every read with the same 32 records. */
function emptyStore(): MessageStore {
  const ends = new Map<string, number>()
  let arrived: (topic: string, queueId: number, maxOffset: number) => void = () => {}
  const record = recordBytes()
  const records = Buffer.concat(Array.from({ length: 32 }, () => record))
  const append = (messages: readonly StoreMessage[]): Appended[] => {
    const touched = new Map<string, StoreMessage>()
    const appended = messages.map((message) => {
      const key = `${message.topic}/${message.queueId}`
      const offset = ends.get(key) ?? 0
      ends.set(key, offset + 1)
      touched.set(key, message)
      return { position: 0 as never, queueOffset: queueOffset(offset), storeTimestamp: 0 }
    })
    for (const [key, { topic, queueId }] of touched) arrived(topic, queueId, ends.get(key)!)
    return appended
  }
  const range = (topic: string, queueId: number) => ({
    minOffset: queueOffset(0),
    maxOffset: queueOffset(ends.get(`${topic}/${queueId}`) ?? 0),
  })
  return {
    storeHost: HOST,
    get replication(): never {
      throw new Error('a store in memory has no replicas')
    },
    isDropped: () => false,
    placeOf: (position) => position,
    append: ({ messages }) => Promise.resolve(append(messages)),
    read: ({ topic, queueId, offset, maxMessages }): ReadResult => {
      const { minOffset, maxOffset } = range(topic, queueId)
      const count = Math.min(maxMessages, 32, maxOffset - offset)
      const nextOffset = queueOffset(offset + count)
      return {
        status: count > 0 ? 'found' : 'at-end',
        records: Buffer.from(records.subarray(0, count * record.length)),
        offsets: Array.from({ length: count }, (_, i) => queueOffset(offset + i)),
        nextOffset,
        minOffset,
        maxOffset,
      }
    },
    readAt: () => Promise.resolve(undefined),
    range,
    offsetByTime: () => Promise.resolve(queueOffset(0)),
    findByKey: () => Promise.resolve([]),
    fact: () => undefined,
    facts: () => [],
    takeChangedFacts: () => undefined,
    endChangedFacts: () => {},
    due: () => [],
    waits: () => false,
    parked: () => Promise.resolve(undefined),
    copyParked: () => undefined,
    nextDueMs: () => undefined,
    bindLightQueue: () => Promise.resolve(),
    unbindLightQueue: () => Promise.resolve(),
    dropQueues: () => Promise.resolve(),
    topics: () => [],
    onArrival: (listener) => {
      arrived = listener as typeof arrived
    },
    onWritable: () => {},
    status: () => ({}) as never,
    close: () => Promise.resolve(),
  }
}

function recordBytes(): Buffer {
  const bytes = Buffer.alloc(512)
  const draft = { ...batchOf(withKey)[0]!, queueId: 0, preparedPosition: 0 }
  const place = { queueOffset: 0, position: 0, storeTimestamp: 0, storeHost: HOST }
  return bytes.subarray(0, writeRecord(bytes, 0, draft, place))
}

/** CPU microseconds per message of each round; `unmeasured` prepares a part of a round. */
async function measure(
  name: string,
  count: number,
  run: (count: number, round: number) => Promise<void>,
  unmeasured?: (count: number) => Promise<void>,
): Promise<void> {
  const part = unmeasured === undefined ? count : BATCH * 64
  const results: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    let us = 0
    let done = 0
    for (; done < count; done += part) {
      await unmeasured?.(part)
      const start = process.cpuUsage()
      await run(part, round)
      const { user, system } = process.cpuUsage(start)
      us += user + system
    }
    results.push(us / done)
  }
  const shown = results.map((us) => us.toFixed(2)).join(' / ')
  console.log(`${name.padEnd(52)} ${shown} us CPU a message`)
}

async function publish(broker: EmbeddedBroker, batch: NewMessage[], count: number): Promise<void> {
  const inFlight = 16
  for (let sent = 0; sent < count; ) {
    const publishing: Promise<unknown>[] = []
    for (let i = 0; i < inFlight && sent < count; i++, sent += BATCH) {
      publishing.push(broker.publish(batch))
    }
    await Promise.all(publishing)
  }
}

/** Creates the group at the end of the topic when there is nothing to receive. */
async function consume(broker: EmbeddedBroker, group: string, count: number): Promise<void> {
  for (let received = 0; received < count || count === 0; ) {
    const messages = await broker.receive({
      topic: 'bench',
      queueId: ANY_QUEUE,
      group,
      filter: EVERY_TAG,
      maxMessages: 32,
      maxBytes: 1024 * 1024,
      invisibleMs: 60_000,
      ordered: false,
      startAt: count === 0 ? 'last' : 'first',
      waitMs: count === 0 ? 0 : 1000,
      memberId: 'bench',
    })
    if (count === 0) return
    received += messages.length
    await broker.ack(messages.map(({ receipt }) => receipt))
  }
}

/** Where the pulls of each queue go on. */
const pulled = new Array<QueueOffset>(QUEUES).fill(queueOffset(0))

async function pull(broker: EmbeddedBroker): Promise<void> {
  for (let queueId = 0; queueId < QUEUES; queueId++) {
    for (;;) {
      const { count, nextOffset } = await broker.pull({
        topic: 'bench',
        brokerName: broker.identity.brokerName,
        queueId,
        offset: pulled[queueId]!,
        maxMessages: 32,
        maxBytes: 1024 * 1024,
        filter: EVERY_TAG,
        waitMs: 0,
      })
      pulled[queueId] = nextOffset
      if (count === 0) break
    }
  }
}

async function bench(name: string, store: MessageStore): Promise<void> {
  pulled.fill(queueOffset(0))
  const broker = openBroker({ store, clock: systemClock, log: silentLogger })
  const count = Math.ceil(MESSAGES / BATCH) * BATCH
  const publishMore = (more: number) => publish(broker, batchOf(withKey), more)
  await measure(`${name}: publish, unique key given`, count, publishMore)
  await measure(`${name}: publish, unique key added`, count, (more) =>
    publish(broker, batchOf(withoutKey), more),
  )
  await pull(broker)
  await measure(`${name}: pull 32 at the tail`, count, () => pull(broker), publishMore)
  await consume(broker, 'tail', 0)
  const consumeMore = (more: number) => consume(broker, 'tail', more)
  await measure(`${name}: receive 32 + ack 32 at the tail`, count, consumeMore, publishMore)
  await measure(`${name}: receive 32 + ack 32 of a backlog`, count, (more, round) =>
    consume(broker, `backlog-${round}`, more),
  )
  await broker.close()
  await store.close()
}

console.log(`node ${process.version}, ${MESSAGES} messages of 100 bytes, ${BATCH} in a batch`)
await bench('no store', emptyStore())
const directory = mkdtempSync(join(tmpdir(), 'trivet-bench-'))
try {
  const options = { directory, storeHost: HOST, clock: systemClock, log: silentLogger }
  await bench('real store, sync', await openStore({ ...options, flush: 'sync' }))
} finally {
  rmSync(directory, { recursive: true })
}
