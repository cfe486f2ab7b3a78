import test from 'ava'
import { HalfBuild } from '../../src/store/views/half-build.ts'
import { MemoryPlace } from '../support/memory-key-value.ts'
import { Random } from '../support/random.ts'
import { SimulatedDisk } from '../support/simulated-disk.ts'

async function started() {
  const random = new Random(1)
  const disk = new SimulatedDisk({ random, inPool: (fn) => fn() })
  disk.makeDirectory('/views')
  const place = new MemoryPlace({ random })
  await (await place.open('7', true))!.close()
  return { place, half: new HalfBuild(disk, '/views', place) }
}

test('a half build is there once it is noted, until it ends', async (t) => {
  const { half } = await started()
  t.is(half.read(), undefined)
  half.note({ name: '7', identity: 'ab' })
  t.like(half.read(), { name: '7', identity: 'ab', deaths: 0 })
  half.end()
  half.end()
  t.is(half.read(), undefined)
})

test('a half build that did not come to its opening twice is not opened again, until it gets on', async (t) => {
  const { half } = await started()
  half.note({ name: '7', identity: 'ab' })
  for (const isOpened of [true, true, false]) {
    const store = await half.open(half.read()!)
    t.is(store !== undefined, isOpened)
    await store?.close()
  }
  half.note({ name: '7', identity: 'ab' })
  t.not(await half.open(half.read()!), undefined)
})

test('a half build that is discarded leaves no store', async (t) => {
  const { half, place } = await started()
  half.note({ name: '7', identity: 'ab' })
  await half.discard('7')
  t.is(half.read(), undefined)
  t.deepEqual(await place.names(), [])
})
