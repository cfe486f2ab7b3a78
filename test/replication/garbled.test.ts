// Bytes that are changed between a master and its slave: found by the sum of each frame.
import { open, readdir } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { BATCH_BYTES_MAX } from '../../src/store/log/following.ts'
import { sameBytes, startMaster, startSlave } from '../support/store/master-and-slave.ts'
import { draft } from '../support/store/store-contents.ts'
import { eventually } from '../support/waiting.ts'

const ASYNC = { replicas: { isSync: false } }
const BODY_BYTES = 64 * 1024
const MARK = Buffer.from('a body to be changed')

/**
 * A way to the master that changes one bit behind the mark, in so many of the chunks that have it.
 * @returns its host:port
 */
async function garbling(t: ExecutionContext, master: string, times: number): Promise<string> {
  const [host = '', port] = master.split(':')
  let left = times
  const server = createServer((slave) => {
    const onward = connect({ host, port: Number(port) })
    for (const socket of [slave, onward]) socket.on('error', () => {})
    slave.pipe(onward)
    onward.on('data', (chunk: Buffer) => {
      const at = chunk.indexOf(MARK)
      if (at !== -1 && left > 0) {
        left--
        chunk[at]! ^= 1
      }
      slave.write(chunk)
    })
    onward.on('close', () => slave.destroy())
    slave.on('close', () => onward.destroy())
    t.teardown(() => slave.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return `127.0.0.1:${(server.address() as { port: number }).port}`
}

test('a frame that a bit was changed of is fetched again, and nothing of it is kept', async (t) => {
  const master = await startMaster(t, ASYNC)
  const slave = await startSlave(t, await garbling(t, master.address, 1))
  await master.store.append({ messages: [draft('A', 'before')] })
  await slave.caughtUp(master)
  const body = `${MARK.toString()}${'x'.repeat(BODY_BYTES)}`
  await master.store.append({ messages: [draft('A', body)] })
  await slave.caughtUp(master)
  t.true(await sameBytes(master.store, slave.store))
  const { lines } = slave.log
  t.is(lines.filter(({ evt }) => evt === 'replication.standing').length, 0)
  const disconnected = lines.find(({ evt }) => evt === 'replication.disconnected')
  t.regex(String(disconnected?.['reason']), /is no frame: its checksum is wrong/)
})

test('a slave stands where frames come changed again and again', async (t) => {
  const master = await startMaster(t, ASYNC)
  const slave = await startSlave(t, await garbling(t, master.address, 1_000))
  await master.store.append({ messages: [draft('A', 'before')] })
  await slave.caughtUp(master)
  const end = slave.store.replication.syncedEnd
  await master.store.append({ messages: [draft('A', MARK.toString())] })
  const standing = await eventually(async () => slave.slave.state.standing)
  t.regex(standing, /is no frame: its checksum is wrong/)
  t.is(slave.store.replication.syncedEnd, end)
})

test('a frame that rotted at the master goes to no slave, wherever in a batch it is', async (t) => {
  const master = await startMaster(t, ASYNC)
  const body = 'x'.repeat(BODY_BYTES)
  while (master.store.replication.syncedEnd < 2 * BATCH_BYTES_MAX) {
    await master.store.append({ messages: [draft('A', body)] })
  }
  const rotten = master.store.replication.syncedEnd
  await master.store.append({ messages: [draft('A', body)] })
  await master.store.append({ messages: [draft('A', body)] })
  await master.close()
  const log = join(master.directory, 'log')
  const [segment] = (await readdir(log)).filter((name) => /^\d+/.test(name))
  const file = await open(join(log, segment!), 'r+')
  await file.write('y', rotten + BODY_BYTES / 2)
  await file.close()
  const again = await startMaster(t, { ...ASYNC, directory: master.directory })
  const slave = await startSlave(t, again.address)
  const standing = await eventually(async () => slave.slave.state.standing)
  t.is(standing, `no whole frame starts at position ${rotten} of the log`)
  t.is(Number(slave.store.replication.syncedEnd), Number(rotten))
})
