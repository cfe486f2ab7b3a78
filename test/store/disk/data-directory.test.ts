import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { LAYOUT_VERSION, openDataDirectory } from '../../../src/store/disk/data-directory.ts'
import { tempDir } from '../../support/temp-dir.ts'

const MODULE = new URL('../../../src/store/disk/data-directory.js', import.meta.url).href

/** A process that holds the directory until it is killed. */
async function startHolder(t: ExecutionContext, path: string) {
  const script = `
    const { openDataDirectory } = await import(${JSON.stringify(MODULE)})
    openDataDirectory(${JSON.stringify(path)})
    process.stdout.write('held')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

function refusalOf(open: () => unknown): BrokerError {
  try {
    open()
  } catch (error) {
    if (error instanceof BrokerError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

test('What is stored is for the user that runs the broker alone', async (t) => {
  const path = `${await tempDir(t)}/data`
  openDataDirectory(path).close()
  t.is(statSync(path).mode & 0o777, 0o700)
})

test('A fresh directory gets the layout of this version and opens again after closing', async (t) => {
  const path = `${await tempDir(t)}/data`
  const first = openDataDirectory(path)
  t.is(readFileSync(`${path}/layout`, 'latin1'), `trivetmq layout ${LAYOUT_VERSION}\n`)
  first.close()
  first.close()
  const second = openDataDirectory(path)
  t.is(second.logPath, `${second.path}/log`)
  second.close()
  t.deepEqual(readdirSync(path), ['layout'])
})

test('A second opening in the same process is refused and leaves the first one its lock', async (t) => {
  const path = await tempDir(t)
  const first = openDataDirectory(path)
  const refusal = refusalOf(() => openDataDirectory(`${path}/.`))
  t.is(refusal.code, 'BUSY')
  t.regex(refusal.message, /in this process/)
  t.true(readdirSync(path).some((name) => name.startsWith('lock.')))
  first.close()
})

test('A second process is told the pid of the first, and gets the directory once that is killed', async (t) => {
  const path = await tempDir(t)
  const holder = await startHolder(t, path)
  const refusal = refusalOf(() => openDataDirectory(path))
  t.is(refusal.code, 'BUSY')
  t.true(refusal.message.includes(`process ${holder.pid};`), refusal.message)
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  const directory = openDataDirectory(path)
  t.is(readdirSync(path).filter((name) => name.startsWith('lock.')).length, 1)
  directory.close()
})

test('A lock of an earlier boot, or of a process whose pid has a new owner, is stale', async (t) => {
  const path = await tempDir(t)
  const first = openDataDirectory(path)
  const own = readdirSync(path).find((name) => name.startsWith('lock.'))!
  first.close()
  const [, pid, start, boot, namespace] = own.split('.')
  writeFileSync(`${path}/lock.${pid}.${start}.0badb007.${namespace}`, '')
  writeFileSync(`${path}/lock.${pid}.1.${boot}.${namespace}`, '')
  openDataDirectory(path).close()
  t.deepEqual(readdirSync(path), ['layout'])
})

test('A directory of a newer layout is refused untouched', async (t) => {
  const path = await tempDir(t)
  writeFileSync(`${path}/layout`, `trivetmq layout ${LAYOUT_VERSION + 1}\n`)
  const refusal = refusalOf(() => openDataDirectory(path))
  t.is(refusal.code, 'NOT_SUPPORTED')
  t.regex(refusal.message, /start the newer TrivetMQ/)
  t.deepEqual(readdirSync(path), ['layout'])
})

for (const layout of [1, 2]) {
  test(`A directory of layout ${layout} is opened, and from then on older versions refuse it`, async (t) => {
    const path = await tempDir(t)
    writeFileSync(`${path}/layout`, `trivetmq layout ${layout}\n`)
    openDataDirectory(path).close()
    t.is(readFileSync(`${path}/layout`, 'latin1'), 'trivetmq layout 3\n')
  })
}

test('A layout that never was is refused as unreadable', async (t) => {
  const path = await tempDir(t)
  writeFileSync(`${path}/layout`, 'trivetmq layout 0\n')
  t.is(refusalOf(() => openDataDirectory(path)).code, 'STORE_CORRUPT')
})

test('An unreadable layout file is corruption, not a fresh directory', async (t) => {
  const path = await tempDir(t)
  writeFileSync(`${path}/layout`, '')
  t.is(refusalOf(() => openDataDirectory(path)).code, 'STORE_CORRUPT')
})

test('A directory that holds something else is refused by name', async (t) => {
  const path = await tempDir(t)
  mkdirSync(`${path}/photos`)
  const refusal = refusalOf(() => openDataDirectory(path))
  t.is(refusal.code, 'CONFIG_INVALID')
  t.regex(refusal.message, /'photos'/)
})

test('A file in the place of the directory is refused with what to do', async (t) => {
  const path = `${await tempDir(t)}/file`
  writeFileSync(path, '')
  const refusal = refusalOf(() => openDataDirectory(path))
  t.is(refusal.code, 'CONFIG_INVALID')
  t.true(refusal.message.includes(path))
  t.regex(refusal.message, /name another directory/)
})

// No permission stops root; the test after this one takes the same path.
const testAsUser = process.getuid?.() === 0 ? test.skip : test

testAsUser(
  'A directory without the right to write is refused with its path and what to do',
  async (t) => {
    const path = await tempDir(t)
    await chmod(path, 0o500)
    const refusal = refusalOf(() => openDataDirectory(path))
    t.is(refusal.code, 'CONFIG_INVALID')
    t.regex(refusal.message, /right to write/)
  },
)

test('A directory on a read-only file system is refused with its path and what to do', (t) => {
  // /proc refuses every new file, for root too.
  const path = fileURLToPath('file:///proc/trivetmq')
  const refusal = refusalOf(() => openDataDirectory(path))
  t.is(refusal.code, 'CONFIG_INVALID')
  t.true(refusal.message.includes("'/proc/trivetmq'"))
})
