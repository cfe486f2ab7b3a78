// Of times that a clock said which was wrong for a moment: part of the suite of every MessageStore
// (store.ts).
import type { ExecutionContext } from 'ava'
import { queueOffset } from '../../src/model/positions.ts'
import { encodeProperties } from '../../src/model/properties.ts'
import { RecordView } from '../../src/model/record.ts'
import type { MessageStore, StoreDraft } from '../../src/store/store.ts'
import type { FakeClock } from '../support/fake-clock.ts'
import { draft } from '../support/store/store-contents.ts'

const START_MS = 1_700_000_000_000

type Body = (t: ExecutionContext, open: () => Promise<MessageStore>, clock: FakeClock) => unknown

export function clockTests(check: (title: string, body: Body) => void): void {
  const keyed = (body: string): StoreDraft =>
    draft('T', body, { properties: encodeProperties([['KEYS', 'k']]) })
  const HOUR_MS = 3_600_000
  const found = async (store: MessageStore, fromMs: number, toMs: number): Promise<string[]> =>
    (await store.findByKey('T', 'k', { max: 10, fromMs, toMs })).map((record) =>
      new RecordView(record).body.toString(),
    )

  check('after the clock was ahead for a moment all is found by time', async (t, open, clock) => {
    const before = await open()
    for (const [body, jumpMs] of [
      ['a', 0],
      ['ahead', 30 * HOUR_MS],
      ['b', -30 * HOUR_MS],
    ] as const) {
      clock.jump(jumpMs)
      clock.advance(60_000)
      await before.append({ messages: [keyed(body)] })
    }
    const look = async (store: MessageStore): Promise<void> => {
      const nowMs = clock.now()
      t.deepEqual(await found(store, 0, nowMs), ['b', 'ahead', 'a'])
      t.deepEqual(await found(store, nowMs - 30_000, nowMs), ['b', 'ahead'])
      t.is(await store.offsetByTime('T', 0, nowMs - 90_000), queueOffset(1))
      t.is(await store.offsetByTime('T', 0, START_MS + 60_000), queueOffset(0))
      t.is(await store.offsetByTime('T', 0, nowMs + 1), queueOffset(3))
    }
    await look(before)
    await before.close()
    await look(await open())
  })

  check('what was stored before the clock was set is found', async (t, open, clock) => {
    clock.jump(-START_MS)
    const before = await open()
    await before.append({ messages: [keyed('a')] })
    clock.jump(START_MS)
    clock.advance(60_000)
    await before.append({ messages: [keyed('b')] })
    const look = async (store: MessageStore): Promise<void> => {
      t.is(await store.offsetByTime('T', 0, clock.now() - 1000), queueOffset(0))
      t.deepEqual(await found(store, clock.now() - 1000, clock.now()), ['b', 'a'])
    }
    await look(before)
    await before.close()
    await look(await open())
  })

  check('while the clock is not set nothing counts as past', async (t, open, clock) => {
    const store = await open()
    await store.append({ messages: [keyed('a')] })
    clock.jump(-START_MS)
    await store.append({ messages: [keyed('b')] })
    t.is(await store.offsetByTime('T', 0, START_MS - 1), queueOffset(0))
    t.deepEqual(await found(store, START_MS, START_MS + HOUR_MS), ['b', 'a'])
  })
}
