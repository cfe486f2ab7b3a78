// One flipped bit anywhere in the log: what is served is what was stored, and what is not is
// reported.
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { queueOffset } from '../../../src/model/positions.ts'
import { recordsOf } from '../../../src/model/record.ts'
import { openStore } from '../../../src/store/open.ts'
import type { MessageStore } from '../../../src/store/store.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { LogLines } from '../../support/log-lines.ts'
import { freshSeed, Random } from '../../support/random.ts'
import { fill } from '../../support/store/store-contents.ts'
import { tempDir } from '../../support/temp-dir.ts'

const FLIPS = 12
const QUEUES: readonly (readonly [string, number])[] = ['A', 'B', '%RETRY%g'].flatMap((topic) =>
  [0, 1, 2].map((id) => [topic, id] as const),
)

async function open(directory: string): Promise<{ store: MessageStore; lines: LogLines }> {
  const lines = new LogLines()
  const storeHost = { ip: 0x7f000001, port: 10_911 }
  const clock = new FakeClock()
  return {
    store: await openStore({ directory, storeHost, clock, log: lines, segmentBytes: 1 << 20 }),
    lines,
  }
}

/** Records of every queue as hex, by `topic/queue/offset`. */
async function recordsIn(store: MessageStore): Promise<Map<string, string>> {
  const records = new Map<string, string>()
  for (const [topic, queueId] of QUEUES) {
    const { minOffset, maxOffset } = store.range(topic, queueId)
    for (let offset: number = minOffset; offset < maxOffset; ) {
      const request = {
        topic,
        queueId,
        offset: queueOffset(offset),
        maxMessages: 64,
        maxBytes: 1 << 20,
        hashes: undefined,
      }
      const result = await store.read(request)
      for (const [i, record] of [...recordsOf(result.records)].entries()) {
        const bytes = record.bytes.subarray(record.start, record.start + record.size)
        records.set(`${topic}/${queueId}/${result.offsets[i]}`, bytes.toString('hex'))
      }
      offset = result.nextOffset
    }
  }
  return records
}

async function flipEach(t: ExecutionContext, hasViews: boolean): Promise<void> {
  const directory = await tempDir(t)
  const { store } = await open(directory)
  await fill(store, { messages: 1000, nowMs: new FakeClock().now() })
  const { logEnd } = store.status()
  const whole = await recordsIn(store)
  await store.close()
  const random = new Random(freshSeed(t))
  const copy = join(await tempDir(t), 'copy')
  let lost = 0
  for (let flip = 0; flip < FLIPS; flip++) {
    await rm(copy, { recursive: true, force: true })
    await cp(directory, copy, { recursive: true })
    if (!hasViews) await rm(join(copy, 'views'), { recursive: true })
    const [segment] = (await readdir(join(copy, 'log'))).filter((name) => /^\d+$/.test(name))
    const path = join(copy, 'log', segment!)
    const bytes = await readFile(path)
    const at = random.int(logEnd)
    bytes[at] = bytes[at]! ^ (1 << random.int(8))
    await writeFile(path, bytes)
    const damaged = await open(copy)
    const found = await recordsIn(damaged.store)
    for (const [place, record] of found)
      t.is(record, whole.get(place)!, `${place} after byte ${at}`)
    const missing = whole.size - found.size
    const isReported = damaged.lines.lines.some(({ level }) => level === 'error')
    t.true(missing === 0 || isReported, `${missing} records went unsaid after byte ${at}`)
    if (hasViews) t.true(missing <= 1, `${missing} records are gone after byte ${at}`)
    lost += missing
    await damaged.store.close()
  }
  t.log(`${FLIPS} flips, ${lost} of ${whole.size} records not served`)
  t.true(lost > 0)
}

test('a flipped bit in the log costs the one record it hits', (t) => flipEach(t, true))

test('a flipped bit in a log without views costs its frame and is reported', (t) =>
  flipEach(t, false))
