// trivet backup: what it copies, finds and refuses; test/docs/backup.test.ts restores copies.
import { randomBytes } from 'node:crypto'
import { appendFileSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { type Client, connect } from '../../../src/client/index.ts'
import { nodeDisk } from '../../../src/store/disk/node-disk.ts'
import { readEpochMarker, writeEpochMarker } from '../../../src/store/log/epochs/epoch-marker.ts'
import { LogStart } from '../../../src/store/log/log-start.ts'
import { copyLog } from '../../../src/store/log-copy.ts'
import { runCommand } from '../../support/command-line.ts'
import { LogLines } from '../../support/log-lines.ts'
import { startServer } from '../../support/server.ts'
import { tempDir } from '../../support/temp-dir.ts'

const MIB = 1024 * 1024
const MESSAGES = 16

async function countOf(client: Client, topic: string): Promise<number> {
  const { queues } = await client.admin.topics.describe(topic)
  return queues.reduce((sum, { maxOffset }) => sum + maxOffset, 0)
}

test('what a running broker has is copied where others may not read it, and checked', async (t) => {
  const original = await startServer(t, { config: { store: { segmentBytes: MIB } } })
  const nameServers = original.address('nameServer')
  await using client = await connect({ nameServers })
  for (let n = 0; n < 12; n++) await client.send({ topic: 'orders', body: 'x'.repeat(MIB) })
  const copy = join(await tempDir(t), 'copy')
  const env = { TRIVET_NAME_SERVERS: nameServers }
  const { code, terminal } = await runCommand(
    ['backup', original.config.dataDir, copy, '--json'],
    env,
  )
  t.is(code, 0, terminal.errors)
  const told = JSON.parse(terminal.output)
  t.like(told, { isRunning: true, damagedBytes: 0, to: copy })
  t.true(told.segments > 1)
  t.true(terminal.progressed.some((line) => /^\[#*-*\] +\d+ % {2}copied .*iB of .*iB/.test(line)))
  t.is(statSync(copy).mode & 0o077, 0)
})

test('a log that is cut while it is copied makes the copy useless, which is told', async (t) => {
  const { config, server } = await startServer(t)
  await server.close()
  const to = join(await tempDir(t), 'copy')
  const copying = copyLog({
    ...{ disk: nodeDisk, from: config.dataDir, to },
    signal: new AbortController().signal,
    moved: () => {},
    // In place of retention: the file changes between the first look at it and the last.
    end: async () => {
      appendFileSync(join(config.dataDir, 'log', 'first'), '\n')
      return 1
    },
  })
  await t.throwsAsync(copying, { code: 'BUSY', message: /remove '.*' and try again/ })
})

/** A stopped broker's, of several segments. */
async function severalSegments(t: ExecutionContext) {
  const { config, server, address } = await startServer(t, {
    config: { store: { segmentBytes: MIB } },
  })
  {
    await using client = await connect({ nameServers: address('nameServer') })
    for (let n = 0; n < MESSAGES; n++) {
      await client.send({ topic: 'orders', body: randomBytes(MIB) })
    }
  }
  await server.close()
  const log = join(config.dataDir, 'log')
  const names = readdirSync(log).filter((name) => /^\d{20}$/.test(name))
  return { dataDir: config.dataDir, log, names: names.toSorted() }
}

/** As retention does it. */
async function removeSegment(log: string, names: readonly string[], at: number): Promise<void> {
  const start = new LogStart(nodeDisk, log)
  const moved = promisify(start.moveTo.bind(start))
  await moved(Number(names[at + 1]))
  rmSync(join(log, names[at]!))
}

test('a segment that retention removes once it is copied is in the copy, which is whole', async (t) => {
  const { dataDir, log, names } = await severalSegments(t)
  t.true(names.length > 2)
  const copy = join(await tempDir(t), 'copy')
  let removing: Promise<void> | undefined
  const { segments, damagedBytes } = await copyLog({
    ...{ disk: nodeDisk, from: dataDir, to: copy, end: undefined },
    signal: new AbortController().signal,
    // The first piece of the oldest segment.
    moved: () => {
      removing ??= removeSegment(log, names, 0)
    },
  })
  await removing
  t.false(readdirSync(log).includes(names[0]!))
  t.deepEqual([segments, damagedBytes], [names.length, 0])
  const lines = new LogLines()
  const restored = await startServer(t, { config: { dataDir: copy }, log: lines })
  t.false(lines.events().some((evt) => /log\.(damage|lost)/.test(evt)))
  await using reader = await connect({ nameServers: restored.address('nameServer') })
  t.is(await countOf(reader, 'orders'), MESSAGES)
})

test('a segment that retention removes before it is copied makes the copy useless, which is told', async (t) => {
  const { dataDir, log, names } = await severalSegments(t)
  const copy = join(await tempDir(t), 'copy')
  let isRemoved = false
  const copying = copyLog({
    ...{ disk: nodeDisk, from: dataDir, to: copy, end: undefined },
    signal: new AbortController().signal,
    moved: () => {
      if (!isRemoved) rmSync(join(log, names[1]!))
      isRemoved = true
    },
  })
  await t.throwsAsync(copying, { code: 'BUSY', message: /remove '.*' and try again/ })
  // No broker takes it for its data.
  t.false(readdirSync(copy).includes('layout'))
})

test('a disk that is full ends the copy with what to do about it', async (t) => {
  const { config, server } = await startServer(t)
  await server.close()
  const create = () => {
    throw Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' })
  }
  const copying = copyLog({
    ...{ disk: { ...nodeDisk, create }, from: config.dataDir, to: join(await tempDir(t), 'copy') },
    ...{ signal: new AbortController().signal, moved: () => {}, end: undefined },
  })
  await t.throwsAsync(copying, { code: 'READ_ONLY', message: /is not whole; remove it .*ENOSPC/ })
})

test('a log that says how far it is synced while it is copied is copied all the same', async (t) => {
  const { config, server } = await startServer(t)
  await server.close()
  const log = join(config.dataDir, 'log')
  const marker = readEpochMarker(nodeDisk, log)!
  const end = marker.end ?? 0
  const { bytes } = await copyLog({
    ...{ disk: nodeDisk, from: config.dataDir, to: join(await tempDir(t), 'copy') },
    signal: new AbortController().signal,
    moved: () => {},
    // In place of a replica, which does so once a second.
    end: async () => {
      writeEpochMarker(nodeDisk, log, { ...marker, synced: marker.synced + 1 })
      return end
    },
  })
  t.is(bytes, end)
})

test('a stopped broker is copied without asking it', async (t) => {
  const dataDir = await tempDir(t)
  const first = await startServer(t, { config: { dataDir } })
  {
    await using client = await connect({ nameServers: first.address('nameServer') })
    await client.send({ topic: 'orders', body: 'kept' })
  }
  await first.server.close()
  const copy = join(await tempDir(t), 'copy')
  const { code, terminal } = await runCommand(['backup', dataDir, copy])
  t.is(code, 0, terminal.errors)
  t.regex(terminal.output, /B in 1 segment copied to .* and checked/)
  const restored = await startServer(t, { config: { dataDir: copy } })
  await using reader = await connect({ nameServers: restored.address('nameServer') })
  t.is(await countOf(reader, 'orders'), 1)
})

test('damage of the original is found and told, and the copy is whole besides', async (t) => {
  const dataDir = await tempDir(t)
  const first = await startServer(t, { config: { dataDir } })
  {
    await using client = await connect({ nameServers: first.address('nameServer') })
    for (let n = 0; n < 5; n++) await client.send({ topic: 'orders', body: 'y'.repeat(1000) })
  }
  await first.server.close()
  const log = join(dataDir, 'log')
  const segment = join(log, readdirSync(log).find((name) => /^\d{20}$/.test(name))!)
  const bytes = readFileSync(segment)
  const at = bytes.indexOf('y'.repeat(500))
  bytes[at] = 0x7a
  writeFileSync(segment, bytes)
  const { code, terminal } = await runCommand(['backup', dataDir, join(await tempDir(t), 'copy')])
  t.is(code, 1)
  t.regex(terminal.errors, /KiB of the log are damaged, in '.*' as in the copy/)
})

test('a copy within the data directory, and one that cannot be made, are refused', async (t) => {
  const { config } = await startServer(t)
  const file = join(await tempDir(t), 'letter')
  writeFileSync(file, 'dear')
  const within = await runCommand(['backup', config.dataDir, join(config.dataDir, 'copy')])
  t.is(within.code, 2)
  t.regex(within.terminal.errors, /is in the data directory itself; name one beside it/)
  t.false(readdirSync(config.dataDir).includes('copy'))
  for (const target of [file, join(file, 'copy')]) {
    const { code, terminal } = await runCommand(['backup', config.dataDir, target])
    t.is(code, 2)
    t.regex(terminal.errors, /^trivet: '.*' cannot be made \(E[A-Z]+\); name a directory/)
  }
})

test('a wrong directory, a full one, and the broker of another are refused', async (t) => {
  const target = join(await tempDir(t), 'copy')
  const strange = await runCommand(['backup', await tempDir(t), target])
  t.is(strange.code, 2)
  t.regex(strange.terminal.errors, /is no data directory of TrivetMQ/)
  const [one, other] = [await startServer(t), await startServer(t)]
  const full = await tempDir(t)
  appendFileSync(join(full, 'letter'), 'dear')
  const taken = await runCommand(['backup', one.config.dataDir, full])
  t.is(taken.code, 2)
  t.regex(taken.terminal.errors, /is not empty; name a new directory/)
  {
    await using client = await connect({ nameServers: other.address('nameServer') })
    await client.admin.topics.create({ name: 'large', queues: 1 })
    for (let n = 0; n < 3; n++) {
      await client.send({ topic: 'large', body: Buffer.alloc(4_000_000, 1) })
    }
  }
  const env = { TRIVET_NAME_SERVERS: other.address('nameServer') }
  const wrong = await runCommand(['backup', one.config.dataDir, target], env)
  t.is(wrong.code, 2)
  t.regex(wrong.terminal.errors, /it is of another broker/)
})
