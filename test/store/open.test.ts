import { silentLogger } from '../../src/log.ts'
import { openStore } from '../../src/store/open.ts'
import { storeSuite } from '../conformance/store.ts'
import { tempDir } from '../support/temp-dir.ts'

storeSuite('on disk', async (t) => {
  const directory = await tempDir(t)
  const storeHost = { ip: 0x7f000001, port: 10_911 }
  return { open: (clock) => openStore({ directory, storeHost, clock, log: silentLogger }) }
})
