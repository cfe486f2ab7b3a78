import { cpSync, existsSync } from 'node:fs'
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { queueOffset } from '../../../src/model/positions.ts'
import { RecordView } from '../../../src/model/record.ts'
import { nodeDisk } from '../../../src/store/disk/node-disk.ts'
import { openStore } from '../../../src/store/open.ts'
import type { MessageStore } from '../../../src/store/store.ts'
import { readViewMarker, writeViewMarker } from '../../../src/store/views/view-marker.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { LogLines } from '../../support/log-lines.ts'
import { freshSeed, Random } from '../../support/random.ts'
import { contentsOf, draft, fill } from '../../support/store/store-contents.ts'
import { ViewsVictim } from '../../support/store/views-victim.ts'
import { type Teardown, tempDir } from '../../support/temp-dir.ts'
import { eventually } from '../../support/waiting.ts'

const storeHost = { ip: 0x7f000001, port: 10_911 }
const BUILT = 'views.built'
const FLIPS = 16

interface Opened {
  readonly store: MessageStore
  readonly lines: LogLines
}

async function open(
  t: Teardown,
  directory: string,
  clock = new FakeClock(),
  lines = new LogLines(),
): Promise<Opened> {
  const store = await openStore({ directory, storeHost, clock, log: lines, segmentBytes: 1 << 22 })
  t.teardown(() => store.close())
  return { store, lines }
}

/** A closed store with some of everything, and what it showed. */
async function filled(t: ExecutionContext, messages = 2000) {
  const directory = await tempDir(t)
  const { store } = await open(t, directory)
  await fill(store, { messages, nowMs: new FakeClock().now() })
  const contents = await contentsOf(store)
  await store.close()
  return { directory, contents, views: join(directory, 'views') }
}

const isNoLock = (path: string): boolean => !basename(path).startsWith('lock')

const levelOf = async (views: string): Promise<string> =>
  join(views, (await readdir(views)).find((name) => /^\d+$/.test(name))!)

test('views that were closed in order are used as they are', async (t) => {
  const { directory, contents } = await filled(t)
  for (let i = 0; i < 2; i++) {
    const { store, lines } = await open(t, directory)
    t.false(lines.events().includes(BUILT))
    t.deepEqual(await contentsOf(store), contents)
    await store.close()
  }
})

test('views of many queues, facts and parked messages are used as they are', async (t) => {
  const directory = await tempDir(t)
  const clock = new FakeClock()
  const { store } = await open(t, directory)
  const count = 3000
  const numbers = Array.from({ length: count }, (_, i) => i)
  await store.append({
    messages: numbers.map((i) => draft('A', 'm', { queueId: i % 1000 })),
    facts: numbers.map((i) => ({ kind: 'k', key: `${i}`, value: Buffer.from('v'.repeat(50)) })),
  })
  const dueMs = (i: number): number => clock.now() + (i % 2 === 0 ? 1000 : i * 60_000)
  await store.append({ messages: numbers.map((i) => draft('A', 'm', { dueMs: dueMs(i) })) })
  await store.close()
  const { store: again, lines } = await open(t, directory)
  t.deepEqual(
    lines.events().filter((event) => event.startsWith('views.')),
    [],
  )
  t.is(again.status().pendingDue, count)
  t.is([...again.facts('k')].length, count)
  t.is(again.range('A', 999).maxOffset, queueOffset(3))
  t.is(again.due(Number.MAX_SAFE_INTEGER, count).length, count)
})

const losses: [string, (views: string, other: string, older: string) => Promise<void>][] = [
  ['deleted', (views) => rm(views, { recursive: true })],
  ['without their marker', (views) => rm(join(views, 'current'))],
  ['with a broken marker', (views) => writeFile(join(views, 'current'), 'views 1')],
  ['emptied', async (views) => rm(await levelOf(views), { recursive: true })],
  ['without CURRENT', async (views) => rm(join(await levelOf(views), 'CURRENT'))],
  [
    'replaced by those of another store',
    async (views, other) => {
      const level = await levelOf(views)
      await rm(level, { recursive: true })
      await cp(await levelOf(other), level, { recursive: true })
    },
  ],
  [
    'replaced by an older copy',
    async (views, _other, older) => {
      await rm(await levelOf(views), { recursive: true })
      await cp(await levelOf(older), await levelOf(older).then((p) => p.replace(older, views)), {
        recursive: true,
      })
    },
  ],
]

for (const [what, lose] of losses) {
  test(`views ${what} are built again from the log`, async (t) => {
    const other = await filled(t, 300)
    const { directory, contents, views } = await filled(t)
    const older = await tempDir(t)
    await cp(views, older, { recursive: true })
    // One more opening makes the copy an older one.
    await (await open(t, directory)).store.close()
    await lose(views, other.views, older)
    const { store, lines } = await open(t, directory)
    t.true(lines.events().includes(BUILT), lines.events().join())
    t.deepEqual(await contentsOf(store), contents)
    await store.close()
    const again = await open(t, directory)
    t.false(again.lines.events().includes(BUILT))
    t.deepEqual(await contentsOf(again.store), contents)
  })
}

test('views of a log that was replaced are built again', async (t) => {
  const first = await filled(t)
  const second = await filled(t, 700)
  await rm(join(first.directory, 'log'), { recursive: true })
  await cp(join(second.directory, 'log'), join(first.directory, 'log'), { recursive: true })
  const { store, lines } = await open(t, first.directory)
  t.true(lines.events().includes(BUILT))
  t.deepEqual(await contentsOf(store), second.contents)
})

test('after a kill only what came since the last mark is replayed', async (t) => {
  const directory = await tempDir(t)
  const clock = new FakeClock()
  const { store } = await open(t, directory, clock)
  await fill(store, { messages: 500, nowMs: clock.now() })
  await clock.advanceAsync(1000)
  await store.append({ messages: [draft('A', 'after the mark')] })
  const contents = await contentsOf(store)
  const copy = await tempDir(t)
  await cp(directory, copy, { recursive: true, filter: isNoLock })
  const { store: recovered, lines } = await open(t, copy, clock)
  t.false(lines.events().includes(BUILT))
  t.deepEqual(await contentsOf(recovered), contents)
})

test('starts that end early put the views under suspicion', async (t) => {
  const { directory, contents } = await filled(t, 300)
  let from = directory
  for (const isSuspected of [false, false, true, false]) {
    const copy = await tempDir(t)
    await cp(from, copy, { recursive: true, filter: isNoLock })
    const { store, lines } = await open(t, copy)
    t.is(lines.events().includes('views.suspected'), isSuspected)
    t.deepEqual(await contentsOf(store), contents)
    // A build removes the one before it, also while that is copied.
    await eventually(async () => (store.status().isRebuilding ? undefined : true))
    // What a kill leaves at this point.
    from = await tempDir(t)
    await cp(copy, from, { recursive: true, filter: isNoLock })
  }
})

test('a start that lasts a minute is no early death', async (t) => {
  const { directory } = await filled(t, 300)
  const clock = new FakeClock()
  await open(t, directory, clock)
  clock.advance(60_000)
  const marker = await readFile(join(directory, 'views', 'current'), 'latin1')
  t.regex(marker, / deaths 0 /)
})

test('no flipped bit in LevelDB goes unnoticed', async (t) => {
  const { directory, contents } = await filled(t, 1500)
  // Opened once more, the entries of LevelDB's log are in a table.
  await (await open(t, directory)).store.close()
  const random = new Random(freshSeed(t))
  const copy = join(await tempDir(t), 'copy')
  const victim = new ViewsVictim(copy)
  t.teardown(() => victim.end())
  for (let flip = 0; flip < FLIPS; flip++) {
    await rm(copy, { recursive: true, force: true })
    await cp(directory, copy, { recursive: true })
    const what = await flipBit(await levelOf(join(copy, 'views')), random)
    t.is(await victim.read(), JSON.stringify(contents), `flip ${flip} at ${what}`)
  }
  t.log(`${FLIPS} flips: ${victim.rebuilds} builds, ${victim.deaths} aborts by LevelDB`)
  t.true(victim.rebuilds > FLIPS / 2)
})

/** In one of LevelDB's files, the big ones more often. */
async function flipBit(level: string, random: Random): Promise<string> {
  const names = (await readdir(level)).filter((name) => /ldb$|log$|MANIFEST|CURRENT/.test(name))
  const tables = names.filter((name) => name.endsWith('.ldb'))
  const path = join(level, random.pick(random.chance(0.7) ? tables : names))
  const bytes = await readFile(path)
  const at = random.int(bytes.length)
  bytes[at] = bytes[at]! ^ (1 << random.int(8))
  await writeFile(path, bytes)
  return `byte ${at} of ${path}`
}

/** More than one part of a build. */
const MANY_MESSAGES = 150_000

/** A store whose views are gone and, half built again, on the disk as a kill leaves them. */
async function halfBuilt(t: ExecutionContext): Promise<string> {
  half ??= buildHalf(ofAll)
  const copy = await tempDir(t)
  await cp(await half, copy, { recursive: true })
  return copy
}

let half: Promise<string> | undefined
const afterAll: (() => unknown)[] = []
const ofAll: Teardown = { teardown: (done) => void afterAll.push(done) }
test.after.always(async () => {
  for (const done of afterAll.reverse()) await done()
})

async function buildHalf(t: Teardown): Promise<string> {
  const directory = await tempDir(t)
  const { store } = await open(t, directory)
  for (let i = 0; i < MANY_MESSAGES; i += 1000) {
    const messages = Array.from({ length: 1000 }, (_, n) => draft('A', `${i + n}`))
    await store.append({ messages })
  }
  await store.close()
  await rm(join(directory, 'views'), { recursive: true })
  const opening = open(t, directory)
  const copy = await tempDir(t)
  const isHalf = (): boolean => existsSync(join(directory, 'views', 'building'))
  while (!isHalf()) await new Promise((resolve) => setImmediate(resolve))
  // In one go, so that it is what one moment had on the disk.
  cpSync(directory, copy, { recursive: true, filter: isNoLock })
  await (await opening).store.close()
  return copy
}

async function checkMany(t: ExecutionContext, store: MessageStore): Promise<void> {
  t.deepEqual(store.range('A', 0), {
    minOffset: queueOffset(0),
    maxOffset: queueOffset(MANY_MESSAGES),
  })
  const read = { topic: 'A', queueId: 0, maxMessages: 1, maxBytes: 1000, hashes: undefined }
  for (const offset of [0, 70_000, MANY_MESSAGES - 1]) {
    const { records } = await store.read({ ...read, offset: queueOffset(offset) })
    t.is(new RecordView(records).body.toString(), `${offset}`)
  }
}

test('a build that a kill ended goes on where it was', async (t) => {
  const directory = await halfBuilt(t)
  const { store, lines } = await open(t, directory)
  t.true(lines.events().includes('views.resumed'), lines.events().join())
  await checkMany(t, store)
  await store.close()
  const again = await open(t, directory)
  t.deepEqual(
    again.lines.events().filter((event) => event.startsWith('views.')),
    [],
  )
  await checkMany(t, again.store)
})

test('a half build that opens is not suspected for what ends the process then', async (t) => {
  const directory = await halfBuilt(t)
  const views = join(directory, 'views')
  const half = readViewMarker(nodeDisk, views, 'building')!
  writeViewMarker(nodeDisk, views, { ...half, deaths: 1 }, 'building')
  const lines = new LogLines()
  const opening = open(t, directory, new FakeClock(), lines)
  while (!lines.events().includes('views.resumed')) {
    t.deepEqual(lines.events(), [])
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.not(readViewMarker(nodeDisk, views, 'building')?.deaths, 2)
  await checkMany(t, (await opening).store)
})

test('a half build that is another one is begun again', async (t) => {
  const directory = await halfBuilt(t)
  const path = join(directory, 'views', 'building')
  const marker = { name: '1', identity: 'abc', opening: 0, deaths: 0, early: 0 }
  writeViewMarker(nodeDisk, join(directory, 'views'), marker, 'building')
  const { store, lines } = await open(t, directory)
  t.true(lines.events().includes('views.half_rejected'), lines.events().join())
  await checkMany(t, store)
  t.false(existsSync(path))
})

test('views under suspicion serve while they are built again, and a close keeps what is built', async (t) => {
  const directory = await halfBuilt(t)
  await (await open(t, directory)).store.close()
  const views = join(directory, 'views')
  const marker = readViewMarker(nodeDisk, views)!
  writeViewMarker(nodeDisk, views, { ...marker, early: 2 })
  const { store, lines } = await open(t, directory)
  t.true(lines.events().includes('views.suspected'))
  t.true(store.status().isRebuilding)
  await checkMany(t, store)
  while (!existsSync(join(views, 'building'))) {
    t.true(store.status().isRebuilding)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await store.close()
  const again = await open(t, directory)
  t.true(again.store.status().isRebuilding)
  await checkMany(t, again.store)
  while (again.store.status().isRebuilding) await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(again.lines.events().slice(0, 3), ['views.suspected', 'views.resumed', BUILT])
  await checkMany(t, again.store)
})

for (const counts of [{ deaths: 2 }, { early: 4 }]) {
  test(`views that ${JSON.stringify(counts)} speak against are not opened`, async (t) => {
    const { directory, contents, views } = await filled(t, 300)
    writeViewMarker(nodeDisk, views, { ...readViewMarker(nodeDisk, views)!, ...counts })
    const { store, lines } = await open(t, directory)
    t.false(store.status().isRebuilding)
    t.deepEqual(lines.events().slice(0, 2), ['views.suspected', BUILT])
    t.deepEqual(await contentsOf(store), contents)
    t.like(readViewMarker(nodeDisk, views), { deaths: 0, early: 0 })
  })
}

test('very many facts do not wait for the time at which views are written: a batch is one turn', async (t) => {
  const clock = new FakeClock()
  const directory = await tempDir(t)
  const { store } = await open(t, directory, clock)
  const append = (count: number): Promise<unknown> =>
    store.append({
      messages: [],
      facts: Array.from({ length: count }, (_, i) => ({
        kind: 'k',
        key: `${i}`,
        value: Buffer.from('v'),
      })),
    })
  await append(4095)
  const idle = clock.pending
  await append(4096)
  // Nothing waits for the flush any more: it is under way.
  t.is(clock.pending, idle - 1)
})
