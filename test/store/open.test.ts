import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { systemClock } from '../../src/clock.ts'
import { BrokerError } from '../../src/errors.ts'
import { silentLogger } from '../../src/log.ts'
import { openStore } from '../../src/store/open.ts'
import { draft, storeSuite } from '../conformance/store.ts'
import { tempDir } from '../support/temp-dir.ts'

storeSuite('on disk', async (t) => {
  const directory = await tempDir(t)
  const storeHost = { ip: 0x7f000001, port: 10_911 }
  return { open: (clock) => openStore({ directory, storeHost, clock, log: silentLogger }) }
})

for (const name of ['log', 'views']) {
  test(`what the system says of '${name}' is told with what to do about it`, async (t) => {
    const directory = await tempDir(t)
    writeFileSync(join(directory, 'layout'), 'trivetmq layout 1\n')
    writeFileSync(join(directory, name), 'a file where a directory is due')
    const storeHost = { ip: 0x7f000001, port: 10_911 }
    const opening = openStore({ directory, storeHost, clock: systemClock, log: silentLogger })
    const error = await t.throwsAsync(opening, { instanceOf: BrokerError })
    t.is(error.code, 'CONFIG_INVALID')
    t.regex(error.message, /the data directory '.*' cannot be used .*name another directory/)
  })
}

test('a directory of layout 2 keeps its messages and those that wait', async (t) => {
  const directory = await tempDir(t)
  const storeHost = { ip: 0x7f000001, port: 10_911 }
  const open = () => openStore({ directory, storeHost, clock: systemClock, log: silentLogger })
  const before = await open()
  const delayed = { ...draft('orders', 'later'), dueMs: 4_000_000_000_000 }
  await before.append({ messages: [draft('orders', 'now'), delayed] })
  await before.close()
  writeFileSync(join(directory, 'layout'), 'trivetmq layout 2\n')
  const after = await open()
  t.is(Number(after.range('orders', 0).maxOffset), 1)
  t.is(after.status().pendingDue, 1)
  await after.close()
})

const moduleOf = (name: string): string =>
  JSON.stringify(new URL(`../../src/${name}.js`, import.meta.url).href)

/** A process that has the store open until it is killed. */
const HOLDER = `
  const { openStore } = await import(${moduleOf('store/open')})
  const { systemClock } = await import(${moduleOf('clock')})
  const { silentLogger } = await import(${moduleOf('log')})
  const [, directory] = process.argv
  const storeHost = { ip: 0x7f000001, port: 10_911 }
  await openStore({ directory, storeHost, clock: systemClock, log: silentLogger })
  process.stdout.write('held')
  setInterval(() => {}, 1000)`

test('a holder in another pid namespace keeps the second process from touching the log', async (t) => {
  const directory = await tempDir(t)
  const child = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  const own = readdirSync(directory).find((name) => /^lock\.\d/.test(name))!
  renameSync(join(directory, own), join(directory, own.replace(/\d+$/, '1')))
  const epoch = readFileSync(join(directory, 'log/epoch'), 'latin1')
  const storeHost = { ip: 0x7f000001, port: 10_911 }
  const opening = (): ReturnType<typeof openStore> =>
    openStore({ directory, storeHost, clock: systemClock, log: silentLogger })
  const error = await t.throwsAsync(opening, { instanceOf: BrokerError })
  t.is(error.code, 'BUSY')
  t.regex(error.message, /cannot be seen from here/)
  t.is(readFileSync(join(directory, 'log/epoch'), 'latin1'), epoch)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const store = await opening()
  await store.close()
  await (await opening()).close()
})
