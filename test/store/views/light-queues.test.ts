import { cpSync, existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { lightQueueTopic } from '../../../src/model/names.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { RecordView } from '../../../src/model/record.ts'
import { nodeDisk } from '../../../src/store/disk/node-disk.ts'
import { openStoreIn } from '../../../src/store/open.ts'
import type { MessageStore, StoreStatus } from '../../../src/store/store.ts'
import { levelPlace } from '../../../src/store/views/pairs/level.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { LogLines } from '../../support/log-lines.ts'
import { draft } from '../../support/store/store-contents.ts'
import { tempDir } from '../../support/temp-dir.ts'

const KIB = 1024
const SEGMENT_BYTES = 256 * KIB
const RETENTION_BYTES = 3 * SEGMENT_BYTES
const LIGHT = lightQueueTopic('T')

async function open(
  t: ExecutionContext,
  directory: string,
  clock: FakeClock,
): Promise<{ store: MessageStore; lines: LogLines }> {
  const lines = new LogLines()
  const viewsPath = join(directory, 'views')
  const store = await openStoreIn({
    logPath: join(directory, 'log'),
    viewsPath,
    disk: nodeDisk,
    place: levelPlace(viewsPath, lines),
    clock,
    log: lines,
    storeHost: { ip: 0x7f000001, port: 10_911 },
    closed() {},
    segmentBytes: SEGMENT_BYTES,
    retentionBytes: RETENTION_BYTES,
    flushEntries: 32,
    logOptions: {
      aheadBytes: 16 * KIB,
      fillPieceBytes: 16 * KIB,
      reserveBytes: 0,
      chunkBytes: 64 * KIB,
    },
  })
  t.teardown(() => store.close())
  return { store, lines }
}

async function load(store: MessageStore, kib: number): Promise<void> {
  for (let i = 0; i < kib; i += 16) {
    const messages = Array.from({ length: 16 }, (_, n) => draft('T', `${i + n} `.padEnd(KIB, '.')))
    await store.append({ messages })
  }
}

async function firstBody(store: MessageStore): Promise<string> {
  const { minOffset } = store.range(LIGHT, 0)
  const read = { topic: LIGHT, queueId: 0, maxMessages: 1, maxBytes: 1, hashes: undefined }
  const { records } = await store.read({ ...read, offset: minOffset })
  return new RecordView(records).body.toString().trim()
}

test('a light queue whose binding the log has no more is whole after a build in two goes', async (t) => {
  const clock = new FakeClock()
  const directory = await tempDir(t)
  const { store } = await open(t, directory, clock)
  await store.bindLightQueue('T', true)
  await load(store, 1024)
  // Until retention is through: what it has trimmed, and not yet removed, would come back.
  const isTooLarge = ({ logStart, logEnd }: StoreStatus): boolean =>
    logEnd - logStart > RETENTION_BYTES
  while (isTooLarge(store.status())) {
    clock.advance(60_000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  const range = store.range(LIGHT, 0)
  t.true(range.minOffset > 0)
  t.is(range.maxOffset, queueOffset(1024))
  const first = await firstBody(store)
  await store.close()
  await rm(join(directory, 'views'), { recursive: true })
  const opening = open(t, directory, clock)
  const isHalf = (): boolean => existsSync(join(directory, 'views', 'building'))
  while (!isHalf()) await new Promise((resolve) => setImmediate(resolve))
  // In one go, so that it is what one moment had on the disk.
  const copy = await tempDir(t)
  cpSync(directory, copy, { recursive: true })
  await (await opening).store.close()
  const again = await open(t, copy, clock)
  t.true(again.lines.events().includes('views.resumed'), again.lines.events().join())
  t.deepEqual(again.store.range(LIGHT, 0), range)
  t.is(await firstBody(again.store), first)
})

test('each record of one topic goes to the queues that are bound when it comes', async (t) => {
  const { store } = await open(t, await tempDir(t), new FakeClock())
  const put = () => store.append({ messages: [draft('T', 'x')] })
  const held = (filter: string, durable: boolean): number =>
    store.range(lightQueueTopic(filter, durable), 0).maxOffset
  await store.bindLightQueue('T', true)
  await put()
  await store.bindLightQueue('#', true)
  await store.bindLightQueue('T', false)
  await put()
  t.deepEqual([held('T', true), held('#', true), held('T', false)], [2, 1, 1])
  await store.unbindLightQueue('#', true)
  await store.unbindLightQueue('T', false)
  await put()
  await store.bindLightQueue('#', true)
  await put()
  t.deepEqual([held('T', true), held('#', true)], [4, 1])
})
