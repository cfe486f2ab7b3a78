// A broker over a log that lost something.
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { openBroker } from '../../src/broker/broker.ts'
import { silentLogger } from '../../src/log.ts'
import { queueOffset } from '../../src/model/positions.ts'
import { openStore } from '../../src/store/open.ts'
import { newMessage, queueOf } from '../support/broker.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { tempDir } from '../support/temp-dir.ts'

const MIB = 1024 * 1024
/** The least that a segment may have is a chunk of the log's tail. */
const SEGMENT_BYTES = 8 * MIB

async function started(t: ExecutionContext, directory: string) {
  const clock = new FakeClock()
  const log = silentLogger
  const storeHost = { ip: 0x7f000001, port: 10_911 }
  const store = await openStore({ directory, storeHost, clock, log, segmentBytes: SEGMENT_BYTES })
  const broker = openBroker({ store, clock, log })
  const close = async (): Promise<void> => {
    await broker.close()
    await store.close()
  }
  t.teardown(close)
  return { broker, close }
}

test('places on a topic whose definition was lost are kept, for it may be put back', async (t) => {
  const directory = await tempDir(t)
  const { broker, close } = await started(t, directory)
  await broker.publish([newMessage('orders', { queueId: 0 })])
  await broker.groups.ensure('billing')
  const filler = newMessage('other', { body: 'x'.repeat(MIB) })
  for (let i = 0; i < 12; i++) await broker.publish([filler])
  await broker.cursors.commit('billing', queueOf('orders'), queueOffset(1))
  await close()
  const files = await readdir(join(directory, 'log'))
  const [oldest, ...younger] = files.filter((name) => /^\d+$/.test(name)).sort()
  t.is(younger.length, 1)
  await rm(join(directory, 'log', oldest!))
  await rm(join(directory, 'views'), { recursive: true })
  const again = await started(t, directory)
  t.is(await again.broker.topics.get('orders'), undefined)
  t.is(await again.broker.cursors.committed('billing', queueOf('orders')), queueOffset(1))
})
