// Retention while what the oldest segment holds waits for another copy.
import test from 'ava'
import { logPosition } from '../../src/model/positions.ts'
import { RecordView } from '../../src/model/record.ts'
import type { Disk } from '../../src/store/disk/disk.ts'
import { nodeDisk } from '../../src/store/disk/node-disk.ts'
import { FakeClock } from '../support/fake-clock.ts'
import {
  checkRetention,
  DAY_MS,
  KIB,
  openSmall,
  SEGMENT_BYTES,
} from '../support/store/small-store.ts'
import { draft } from '../support/store/store-contents.ts'
import { tempDir } from '../support/temp-dir.ts'
import { eventually } from '../support/waiting.ts'

test('a segment stays while what it holds waits to be acknowledged, and what lives of that is kept', async (t) => {
  const clock = new FakeClock()
  let freeBytes = 1000 * KIB
  const disk: Disk = { ...nodeDisk, freeBytes: () => freeBytes }
  const store = await openSmall(t, await tempDir(t), clock, { diskFreeBytesMin: 900 * KIB }, disk)
  // Nothing of these lives, so that the segment could go at once.
  const fact = (value: Buffer | null) => ({ kind: 'k', key: 'a', value })
  const large = { messages: [], facts: [fact(Buffer.alloc(16 * KIB))] }
  for (let i = 0; i < 13; i++) await store.append(large)
  await store.append({ messages: [], facts: [fact(null)] })
  const { replication } = store
  const hold = replication.hold()
  const dueMs = clock.now() + DAY_MS
  const held: Promise<unknown>[] = [store.append({ messages: [draft('T', 'parked', { dueMs })] })]
  while (replication.syncedEnd < SEGMENT_BYTES + 16 * KIB) {
    const before = replication.syncedEnd
    held.push(store.append(large))
    await eventually(async () => replication.syncedEnd > before || undefined)
  }
  freeBytes = 800 * KIB
  clock.advance(60_000)
  for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve))
  t.is(store.status().logStart, logPosition(0))
  hold.release()
  await Promise.all(held)
  await checkRetention(clock, () => store.status().logStart > 0)
  const [entry] = store.due(dueMs, 1)
  const record = entry && (await store.readAt(entry.position))
  t.is(record && new RecordView(record).body.toString(), 'parked')
})
