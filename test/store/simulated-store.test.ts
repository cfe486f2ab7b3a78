import { silentLogger } from '../../src/log.ts'
import { openStoreIn } from '../../src/store/open.ts'
import { storeSuite } from '../conformance/store.ts'
import { Random } from '../support/random.ts'
import { MemoryPlace } from '../support/simulation/memory-key-value.ts'
import { SimulatedDisk } from '../support/simulation/simulated-disk.ts'

storeSuite('simulated', async () => {
  const random = new Random(1)
  const inPool = (fn: () => void): void => void setImmediate(fn)
  const disk = new SimulatedDisk({ random, inPool })
  const place = new MemoryPlace({ random, inPool })
  return {
    open: (clock) =>
      openStoreIn({
        logPath: '/log',
        viewsPath: '/views',
        disk,
        place,
        clock,
        log: silentLogger,
        storeHost: { ip: 0x7f000001, port: 10_911 },
        closed() {},
        segmentBytes: 1 << 20,
      }),
  }
})
