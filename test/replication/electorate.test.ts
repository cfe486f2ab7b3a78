// What a master that was elected takes from copies, and what a copy is to its masters.

import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { systemClock } from '../../src/clock.ts'
import { ask } from '../../src/replication/opening.ts'
import { copyNameIn } from '../../src/store/disk/copy-name.ts'
import { startMaster, startSlave } from '../support/store/master-and-slave.ts'
import { draft } from '../support/store/store-contents.ts'
import { tempDir } from '../support/temp-dir.ts'
import { eventually } from '../support/waiting.ts'

const IDENTITY = { clusterName: 'DefaultCluster', brokerName: 'broker-a', brokerId: 1 }

async function elected(t: ExecutionContext, election: number | undefined) {
  const confirmed: (readonly [string, number, number])[] = []
  const electorate = {
    election,
    confirm: (copy: string, election: number, to: number) =>
      void confirmed.push([copy, election, to]),
  }
  const master = await startMaster(t, { electorate, replicas: { isSync: false } })
  return { master, confirmed }
}

const asking = (address: string, more: { copy?: string; election?: number }) =>
  ask({
    identity: { ...IDENTITY, ...more },
    master: () => ({ address, clock: systemClock }),
    signal: new AbortController().signal,
    logId: undefined,
  })

test('what a copy confirms counts for its name, in the election that it follows', async (t) => {
  const { master, confirmed } = await elected(t, 3)
  await startSlave(t, master.address, { identity: { copy: '1-ab', election: 3 } })
  await master.store.append({ messages: [draft('A', 'x')] })
  const { syncedEnd } = master.store.replication
  await eventually(async () => confirmed.at(-1)?.[2] === syncedEnd)
  t.deepEqual(confirmed.at(-1), ['1-ab', 3, syncedEnd])
})

for (const [what, own, election] of [
  ['an older election', 3, 2],
  ['a newer one', 3, 4],
  ['one, of a master that is none any more', undefined, 3],
] as const) {
  test(`a copy that follows ${what} is refused, and may come again`, async (t) => {
    const { master } = await elected(t, own)
    const refused = asking(master.address, { copy: '1-ab', election })
    await t.throwsAsync(refused, { code: 'BUSY', message: new RegExp(`election ${election}`) })
  })
}

test('a slave without an election does not follow an elected master, nor the other way', async (t) => {
  const { master } = await elected(t, 3)
  await t.throwsAsync(asking(master.address, {}), { code: 'CONFIG_INVALID' })
  const other = await startMaster(t)
  await t.throwsAsync(asking(other.address, { copy: '1-ab', election: 3 }), {
    code: 'CONFIG_INVALID',
  })
})

test('the name of a copy stays with its log, and goes with it', async (t) => {
  const directory = await tempDir(t)
  const { name, isMember } = copyNameIn(directory, 7)
  t.regex(name, /^7-[0-9a-f]{16}$/)
  t.false(isMember)
  const again = copyNameIn(directory, 7)
  t.is(again.name, name)
  again.join()
  t.true(again.isMember)
  t.true(copyNameIn(directory, 7).isMember)
  await rm(join(directory, 'log'), { recursive: true })
  const anew = copyNameIn(directory, 7)
  t.not(anew.name, name)
  t.false(anew.isMember)
})

test('a name that cannot be read is not made again unasked', async (t) => {
  const directory = await tempDir(t)
  copyNameIn(directory, 7)
  await mkdir(join(directory, 'log'), { recursive: true })
  await writeFile(join(directory, 'log', 'copy'), 'copy of another kind\n')
  t.throws(() => copyNameIn(directory, 7), { code: 'STORE_CORRUPT' })
})
