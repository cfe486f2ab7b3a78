// A store with small segments, of which retention takes the oldest when a test says so.
import { join } from 'node:path'
import type { Logger } from '../../../src/log.ts'
import type { Disk } from '../../../src/store/disk/disk.ts'
import { nodeDisk } from '../../../src/store/disk/node-disk.ts'
import type { FlushMode } from '../../../src/store/log/commit-log.ts'
import { openStoreIn } from '../../../src/store/open.ts'
import type { RetentionLimits } from '../../../src/store/retention.ts'
import type { MessageStore } from '../../../src/store/store.ts'
import type { KeyValuePlace } from '../../../src/store/views/pairs/key-value.ts'
import { levelPlace } from '../../../src/store/views/pairs/level.ts'
import type { FakeClock } from '../fake-clock.ts'
import { LogLines } from '../log-lines.ts'
import type { Teardown } from '../temp-dir.ts'
import { draft } from './store-contents.ts'

export const KIB = 1024
export const SEGMENT_BYTES = 256 * KIB
export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

export interface Parts {
  readonly place?: KeyValuePlace
  readonly log?: Logger
  readonly flush?: FlushMode
}

export async function openSmall(
  t: Teardown,
  directory: string,
  clock: FakeClock,
  limits: RetentionLimits & Parts = {},
  disk: Disk = nodeDisk,
): Promise<MessageStore> {
  const log = new LogLines()
  const viewsPath = join(directory, 'views')
  const store = await openStoreIn({
    logPath: join(directory, 'log'),
    viewsPath,
    disk,
    place: levelPlace(viewsPath, log),
    clock,
    log,
    storeHost: { ip: 0x7f000001, port: 10_911 },
    closed() {},
    segmentBytes: SEGMENT_BYTES,
    logOptions: {
      aheadBytes: 16 * KIB,
      fillPieceBytes: 16 * KIB,
      reserveBytes: 0,
      frameBytesMax: 64 * KIB,
      tailBytesMax: 192 * KIB,
    },
    ...limits,
  })
  t.teardown(() => store.close())
  return store
}

/** Messages of 1 KiB into queue `topic`/0, in several frames. */
export async function load(store: MessageStore, topic: string, kib: number): Promise<void> {
  for (let i = 0; i < kib; i += 16) {
    const messages = Array.from({ length: 16 }, (_, n) =>
      draft(topic, `${i + n} `.padEnd(1024, '.')),
    )
    await store.append({ messages })
  }
}

/** Lets the periodic check run and end. */
export function checkRetention(clock: FakeClock, isDone: () => boolean): Promise<void> {
  return pass(clock, 60_000, isDone)
}

export async function pass(clock: FakeClock, ms: number, isDone: () => boolean): Promise<void> {
  clock.advance(ms)
  const deadline = performance.now() + 20_000
  while (!isDone()) {
    if (performance.now() > deadline) throw new Error('it was not done in time')
    await new Promise((resolve) => setImmediate(resolve))
  }
}
