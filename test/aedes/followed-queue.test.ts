import { getEventListeners } from 'node:events'
import test from 'ava'
import { FollowedQueue, READ_MESSAGES } from '../../src/aedes/followed-queue.ts'
import { keyOf } from '../../src/aedes/queue-key.ts'
import { nextTurn, systemClock } from '../../src/clock.ts'
import { recordBytes, writeRecord } from '../../src/model/record.ts'
import type { Broker } from '../../src/port/broker.ts'

const END = 4 * READ_MESSAGES

test('a queue that waits for its listeners leaves nothing behind at the signal', async (t) => {
  const end = new AbortController()
  const finishes: (() => void)[] = []
  const pull = async ({ offset }: { readonly offset: number }) => ({
    ...{ status: 'found', records: recordsFrom(offset), nextOffset: offset + READ_MESSAGES },
  })
  const queue = new FollowedQueue(keyOf({ topic: 'orders', queueId: 0, brokerName: 'one' }), 0, {
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

function recordsFrom(offset: number): Buffer {
  const host = { ip: 0, port: 0 }
  const records = Array.from({ length: READ_MESSAGES }, (_, at) => {
    const draft = {
      ...{ topic: 'orders', queueId: 0, flag: 0, sysFlag: 0, bornTimestamp: 0, bornHost: host },
      ...{ reconsumeTimes: 0, preparedPosition: 0, body: Buffer.from('x') },
      properties: Buffer.alloc(0),
    }
    const bytes = Buffer.alloc(recordBytes(draft))
    const place = { queueOffset: offset + at, position: 0, storeTimestamp: 0, storeHost: host }
    writeRecord(bytes, 0, draft, place)
    return bytes
  })
  return Buffer.concat(records)
}
