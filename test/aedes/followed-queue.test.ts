import { getEventListeners } from 'node:events'
import test, { type ExecutionContext } from 'ava'
import { FollowedQueue } from '../../src/aedes/followed-queue.ts'
import { keyOf } from '../../src/aedes/queue-key.ts'
import { READ_MESSAGES } from '../../src/aedes/session-reader.ts'
import { nextTurn, systemClock } from '../../src/clock.ts'
import { encodeProperties } from '../../src/model/properties.ts'
import { type RecordView, recordBytes, writeRecord } from '../../src/model/record.ts'
import type { Broker } from '../../src/port/broker.ts'

const KEY = keyOf({ topic: 'orders', queueId: 0, brokerName: 'one' })
const END = 4 * READ_MESSAGES

test('a queue that waits for its listeners leaves nothing behind at the signal', async (t) => {
  const end = new AbortController()
  const finishes: (() => void)[] = []
  const pull = async ({ offset }: { readonly offset: number }) => ({
    ...{ status: 'found', records: recordsFrom(offset), nextOffset: offset + READ_MESSAGES },
  })
  const queue = new FollowedQueue(KEY, 0, {
    broker: { pull } as unknown as Broker,
    clock: systemClock,
    deliver: () => new Promise((resolve) => finishes.push(resolve)),
    skipped: () => {},
    troubled: (error) => t.fail(error.message),
    signal: end.signal,
  })
  queue.arrived(END)
  while (queue.next < END) {
    await nextTurn()
    finishes.shift()?.()
  }
  t.true(getEventListeners(end.signal, 'abort').length <= 1)
})

/** By offset: the properties of the messages of a queue. */
type Stored = readonly (readonly (readonly [string, string])[])[]

/** @returns from `from` on, the offsets that listeners were given, and those skipped to */
async function followed(t: ExecutionContext, stored: Stored, from: number) {
  const [given, skippedTo]: [number[], number[]] = [[], []]
  const pull = async ({ offset }: { readonly offset: number }) => {
    const records = stored.slice(offset).map((properties, at) => recordAt(offset + at, properties))
    return { status: 'found', records: Buffer.concat(records), nextOffset: stored.length }
  }
  const queue = new FollowedQueue(KEY, from, {
    broker: { pull } as unknown as Broker,
    clock: systemClock,
    deliver: async ({ queueOffset }: RecordView) => void given.push(queueOffset),
    skipped: ({ offset }) => void skippedTo.push(offset),
    troubled: (error) => t.fail(error.message),
    signal: new AbortController().signal,
  })
  queue.arrived(stored.length)
  while (queue.next < stored.length) await nextTurn()
  return { given, skippedTo }
}

const sent = (uniqueKey: string) => [['UNIQ_KEY', uniqueKey]] as const
const sentAgain = (uniqueKey: string) => [...sent(uniqueKey), ['TRIVET_RESENT', '1']] as const

test('of a message that was stored and sent again the second is not given', async (t) => {
  const stored = [sent('a'), sent('b'), sent('other'), sentAgain('a'), sentAgain('b'), sent('c')]
  t.deepEqual(await followed(t, stored, 0), { given: [0, 1, 2, 5], skippedTo: [4, 5] })
})

test('also where following began between the two', async (t) => {
  const stored = [sent('a'), sent('b'), sentAgain('a'), sentAgain('b'), sent('c')]
  t.deepEqual(await followed(t, stored, 2), { given: [4], skippedTo: [3, 4] })
})

test('a message that was sent again and is stored once is given', async (t) => {
  const stored = [sent('a'), sentAgain('b'), sentAgain('c'), sent('a')]
  t.deepEqual((await followed(t, stored, 0)).given, [0, 1, 2, 3])
})

const recordsFrom = (offset: number): Buffer =>
  Buffer.concat(Array.from({ length: READ_MESSAGES }, (_, at) => recordAt(offset + at, [])))

function recordAt(offset: number, properties: Stored[number]): Buffer {
  const host = { ip: 0, port: 0 }
  const draft = {
    ...{ topic: 'orders', queueId: 0, flag: 0, sysFlag: 0, bornTimestamp: 0, bornHost: host },
    ...{ reconsumeTimes: 0, preparedPosition: 0, body: Buffer.from('x') },
    properties: encodeProperties(properties),
  }
  const bytes = Buffer.alloc(recordBytes(draft))
  const place = { queueOffset: offset, position: 0, storeTimestamp: 0, storeHost: host }
  writeRecord(bytes, 0, draft, place)
  return bytes
}
