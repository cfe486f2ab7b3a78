import test from 'ava'
import { silentLogger } from '../../src/log.ts'
import { NO_HOST } from '../../src/model/host.ts'
import { logPosition, queueOffset } from '../../src/model/positions.ts'
import { recordBytes, recordsOf, writeRecord } from '../../src/model/record.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import type { CommitLog } from '../../src/store/log/commit-log.ts'
import { Reader } from '../../src/store/reader.ts'
import type { Choose } from '../../src/store/store.ts'
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

/** Messages of each queue in turn, as the log has them, and the queues. */
function backlog() {
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
  const reader = new Reader(farLog(bytes), new FakeClock(), silentLogger, new Numbers())
  const request = { topic: 'T', offset: queueOffset(0), maxMessages: MESSAGES, hashes: undefined }
  const readAll = async (queueId: number, choose?: Choose): Promise<string[]> => {
    const choice = choose === undefined ? {} : { choose }
    const limits = { ...request, queueId, maxBytes: bytes.length, ...choice }
    const { records } = await reader.read(queues[queueId], limits)
    return [...recordsOf(records)].map(({ body }) => body.toString())
  }
  return readAll
}

const bodyOf = (queueId: number, offset: number): string => `message ${offset} of ${queueId}`
const queueIds = Array.from({ length: QUEUES }, (_, i) => i)
const bodiesOf = (queueId: number): string[] =>
  Array.from({ length: MESSAGES }, (_, offset) => bodyOf(queueId, offset))

test.serial('backlogs of many queues that are read at once do not mix', async (t) => {
  const readAll = backlog()
  for (let round = 0; round < 3; round++) {
    t.deepEqual(
      await Promise.all(queueIds.map((queueId) => readAll(queueId))),
      queueIds.map(bodiesOf),
    )
  }
})

test.serial('a backlog is read through the same memory again and again', async (t) => {
  const readAll = backlog()
  rooms.clear()
  for (const queueId of queueIds) t.deepEqual(await readAll(queueId), bodiesOf(queueId))
  t.is(rooms.size, 1)
})

test.serial('of many backlogs that are read at once each reader gets what it chose', async (t) => {
  const readAll = backlog()
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
