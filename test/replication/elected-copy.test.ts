// The copy of a log whose master is elected, over a store that only says how its disk is.
import test from 'ava'
import { silentLogger } from '../../src/log.ts'
import { logPosition } from '../../src/model/positions.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import { type CopyEnd, ElectedCopy } from '../../src/replication/elected-copy.ts'
import type { DiskState } from '../../src/store/disk/disk.ts'
import type { MessageStore } from '../../src/store/store.ts'
import { FakeClock } from '../support/fake-clock.ts'

function copyOver(disk: DiskState | undefined, hasFailed: boolean) {
  const hold = { confirm: () => {}, refuse: () => {}, release: () => {} }
  const replication = {
    ...{ disk, epoch: 1024, syncedEnd: logPosition(100), hold: () => hold },
    ...{ promote: async () => {}, refuse: () => {} },
  }
  const store = { replication, status: () => ({ damage: [] }), append: async () => [] }
  const ends: CopyEnd[] = []
  const copy = new ElectedCopy({
    store: store as unknown as MessageStore,
    hasFailed,
    identity: { clusterName: 'C', brokerName: 'b', brokerId: 1 },
    dialling: () => {
      throw new Error('there is no other copy')
    },
    ...{ clock: new FakeClock(), log: silentLogger, numbers: new Numbers() },
    ...{ joins: () => {}, elected: () => {}, synced: () => {}, ready: () => {} },
    over: (end) => ends.push(end),
  })
  return { copy, ends }
}

test('a master that gives way with a failed disk says so, and its next life is elected last', async (t) => {
  const { copy, ends } = copyOver('failed', false)
  t.like(copy.place, { disk: 'failed', isDamaged: false })
  await copy.promote(2048)
  await copy.demote()
  t.deepEqual(ends, [{ reason: 'its disk failed', hasFailed: true }])
  t.true(copyOver(undefined, true).copy.place.isDamaged)
})

test('a master that lost its lease may be elected like any other', async (t) => {
  const { copy, ends } = copyOver(undefined, false)
  await copy.promote(2048)
  await copy.demote()
  t.false(ends[0]?.hasFailed)
  t.false(copy.place.isDamaged)
})
