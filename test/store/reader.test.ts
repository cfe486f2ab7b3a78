import test from 'ava'
import { silentLogger } from '../../src/log.ts'
import { getI32 } from '../../src/model/bytes.ts'
import { NO_HOST } from '../../src/model/host.ts'
import { logPosition, queueOffset } from '../../src/model/positions.ts'
import { encodeProperties } from '../../src/model/properties.ts'
import { RecordView, recordBytes, recordsOf, writeRecord } from '../../src/model/record.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import type { CommitLog } from '../../src/store/log/commit-log.ts'
import { Reader } from '../../src/store/reader.ts'
import { RecordRun } from '../../src/store/record-run.ts'
import type { Choose, ReadResult } from '../../src/store/store.ts'
import { ConsumeQueue } from '../../src/store/views/consume-queue.ts'
import { liveBlocks } from '../../src/store/views/live-blocks.ts'
import { recordCheck } from '../../src/store/views/record-scan.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { draft } from '../support/store/store-contents.ts'

const QUEUES = 20
const MESSAGES = 16
/** Memory that reads went into. */
const rooms = new Set<ArrayBufferLike>()

/** A log whose records are all far behind its end and come later, as from the thread pool. */
function farLog(bytes: Buffer): CommitLog {
  const read = async (target: Uint8Array, at: number, position: number, size: number) => {
    if (size > bytes.length / MESSAGES) rooms.add(target.buffer)
    // Half of it lands before others read.
    for (const [from, to] of [[0, size >>> 1] as const, [size >>> 1, size] as const]) {
      await new Promise((resolve) => setImmediate(resolve))
      target.set(bytes.subarray(position + from, position + to), at + from)
    }
    return true
  }
  const tail = { copyTail: () => false, lendTail: () => undefined }
  const log = { ...tail, end: logPosition(2 ** 40), start: logPosition(0), read }
  return log as Partial<CommitLog> as CommitLog
}

/** A log whose records are all in memory, so many in each part. */
function nearLog(bytes: Buffer, recordsInPart: number): CommitLog {
  const starts: number[] = []
  for (let at = 0; at < bytes.length; at += getI32(bytes, at)) starts.push(at)
  const bases = starts.filter((_, i) => i % recordsInPart === 0)
  const lendTail = (position: number) => {
    const base = bases.findLast((one) => one <= position)!
    const part = bytes.subarray(
      base,
      bases.find((one) => one > position),
    )
    return { bytes: part, base, used: part.length }
  }
  const log = { lendTail, end: logPosition(bytes.length), start: logPosition(0) }
  return log as Partial<CommitLog> as CommitLog
}

/** Messages of each queue in turn, as the log has them, and the queues. */
function backlog(logOf: (bytes: Buffer) => CommitLog = farLog) {
  const messages = Array.from({ length: QUEUES * MESSAGES }, (_, i) =>
    draft('T', bodyOf(i % QUEUES, Math.floor(i / QUEUES)), { queueId: i % QUEUES }),
  )
  const bytes = Buffer.alloc(messages.reduce((sum, one) => sum + recordBytes(one), 0))
  const store = liveBlocks()
  const queues = Array.from({ length: QUEUES }, (_, i) => new ConsumeQueue('T', i, i + 1, store))
  let position = 0
  for (const [i, message] of messages.entries()) {
    const place = { position, queueOffset: Math.floor(i / QUEUES), storeTimestamp: 1 }
    const size = writeRecord(bytes, position, message, { ...place, storeHost: NO_HOST })
    queues[i % QUEUES]!.append(position, size, 0, recordCheck(bytes, position, size))
    position += size
  }
  const reader = new Reader(logOf(bytes), new FakeClock(), silentLogger, new Numbers())
  const request = { topic: 'T', offset: queueOffset(0), maxMessages: MESSAGES, hashes: undefined }
  const read = async (queueId: number, choose?: Choose): Promise<ReadResult> => {
    const choice = choose === undefined ? {} : { choose }
    const limits = { ...request, queueId, maxBytes: bytes.length, ...choice }
    return reader.read(queues[queueId], limits)
  }
  const readAll = async (queueId: number, choose?: Choose): Promise<string[]> =>
    bodiesIn(await read(queueId, choose))
  return { read, readAll }
}

const bodiesIn = ({ records }: ReadResult): string[] =>
  [...recordsOf(records)].map(({ body }) => body.toString())
const bodyOf = (queueId: number, offset: number): string => `message ${offset} of ${queueId}`
const queueIds = Array.from({ length: QUEUES }, (_, i) => i)
const bodiesOf = (queueId: number): string[] =>
  Array.from({ length: MESSAGES }, (_, offset) => bodyOf(queueId, offset))

test.serial('backlogs of many queues that are read at once do not mix', async (t) => {
  const { readAll } = backlog()
  for (let round = 0; round < 3; round++) {
    t.deepEqual(
      await Promise.all(queueIds.map((queueId) => readAll(queueId))),
      queueIds.map(bodiesOf),
    )
  }
})

test.serial('a backlog is read through the same memory again and again', async (t) => {
  const { readAll } = backlog()
  rooms.clear()
  for (const queueId of queueIds) t.deepEqual(await readAll(queueId), bodiesOf(queueId))
  t.is(rooms.size, 1)
})

test.serial('of many backlogs that are read at once each reader gets what it chose', async (t) => {
  const { readAll } = backlog()
  const read = (queueId: number): Promise<string[]> => {
    let seen = 0
    return readAll(queueId, () => {
      if (seen === 9) return 'stop'
      return seen++ % 4 === 1 ? 'take' : 'leave'
    })
  }
  const chosen = await Promise.all(queueIds.map(read))
  for (const queueId of queueIds) {
    const [, second, , , , sixth] = bodiesOf(queueId)
    t.deepEqual(chosen[queueId], [second!, sixth!])
  }
})

for (const recordsInPart of [1, QUEUES - 1, QUEUES * 5, QUEUES * MESSAGES]) {
  test(`what is chosen of parts of ${recordsInPart} records in memory is theirs, and the read stops where it is told`, async (t) => {
    const { read } = backlog((bytes) => nearLog(bytes, recordsInPart))
    for (const queueId of queueIds) {
      for (const stopAt of [0, 3, MESSAGES - 1, MESSAGES]) {
        let seen = 0
        const found = await read(queueId, (bytes, start, size, propertiesStart) => {
          const record = new RecordView(bytes, start)
          t.deepEqual([record.size, record.propertiesStart], [size, propertiesStart])
          if (seen === stopAt) return 'stop'
          return seen++ % 3 === 1 ? 'take' : 'leave'
        })
        const taken = bodiesOf(queueId).filter((_, i) => i < stopAt && i % 3 === 1)
        t.deepEqual(bodiesIn(found), taken)
        t.is(found.nextOffset, queueOffset(stopAt))
      }
    }
  })
}

test('records that are looked at together have their properties where each has them alone', (t) => {
  const topics = ['orders', 't'.repeat(127), 'w'.repeat(128), 'o']
  const drafts = topics.map((topic, i) =>
    draft(topic, 'x'.repeat(i * 100), {
      properties: encodeProperties([['name', 'x'.repeat(i * 400)]]),
    }),
  )
  const bytes = Buffer.alloc(drafts.reduce((sum, one) => sum + recordBytes(one), 0))
  const run = new RecordRun()
  run.begin(bytes)
  let position = 0
  for (const [queueOffset, one] of drafts.entries()) {
    const place = { queueOffset, position, storeTimestamp: 0, storeHost: NO_HOST }
    const size = writeRecord(bytes, position, one, place)
    run.add(queueOffset, position, size)
    position += size
  }
  run.findProperties()
  const starts = [...run.starts].slice(0, run.count)
  t.deepEqual(
    [...run.propertiesStarts].slice(0, run.count),
    starts.map((start) => new RecordView(bytes, start).propertiesStart),
  )
})
