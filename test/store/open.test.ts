import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { systemClock } from '../../src/clock.ts'
import { BrokerError } from '../../src/errors.ts'
import { silentLogger } from '../../src/log.ts'
import { openStore } from '../../src/store/open.ts'
import { storeSuite } from '../conformance/store.ts'
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
