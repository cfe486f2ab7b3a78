import test from 'ava'
import { LogStart } from '../../../src/store/log/log-start.ts'
import { Reserve } from '../../../src/store/log/reserve.ts'
import { type Chunk, Tail } from '../../../src/store/log/tail.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { LogLines } from '../../support/log-lines.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk } from '../../support/simulation/simulated-disk.ts'

function opened() {
  const pool: (() => void)[] = []
  const disk = new SimulatedDisk({ random: new Random(1), inPool: (fn) => pool.push(fn) })
  disk.makeDirectory('/log')
  const settle = (): void => {
    for (let fn = pool.shift(); fn !== undefined; fn = pool.shift()) fn()
  }
  return { disk, settle, again: () => new LogStart(disk, '/log').position }
}

test('a start that was moved is the same after a power cut', (t) => {
  const { disk, settle, again } = opened()
  const start = new LogStart(disk, '/log')
  t.is(start.position, undefined)
  start.begin(100)
  for (const position of [200, 300, 400]) {
    let result: Error | null | undefined
    start.moveTo(position, (error) => {
      result = error
    })
    settle()
    t.is(result, null)
    disk.restart('power')
    t.is(again(), position)
  }
})

test('a start that a killed process did not sync is synced before it is relied on', (t) => {
  const pool: (() => void)[] = []
  const disk = new SimulatedDisk({ random: new Random(1), inPool: (fn) => pool.push(fn) })
  disk.makeDirectory('/log')
  const first = new LogStart(disk, '/log')
  first.begin(100)
  first.moveTo(200, () => {})
  // The write is done, its sync is not.
  pool.shift()!()
  disk.restart('kill')
  const second = new LogStart(disk, '/log')
  t.is(second.position, 200)
  second.moveTo(200, (error) => t.is(error, null))
  for (let fn = pool.shift(); fn !== undefined; fn = pool.shift()) fn()
  disk.restart('power')
  t.is(new LogStart(disk, '/log').position, 200)
})

test('a slot that does not check leaves the other one', (t) => {
  const { disk, settle, again } = opened()
  const start = new LogStart(disk, '/log')
  start.begin(100)
  start.moveTo(200, () => {})
  settle()
  disk.flipBit('/log/first', 512 + 7, 1)
  t.is(again(), 100)
})

test('a start never goes back, and of a log that nothing is said of it does not move', (t) => {
  const { disk, settle, again } = opened()
  const start = new LogStart(disk, '/log')
  start.moveTo(50, () => {})
  settle()
  t.is(again(), undefined)
  start.begin(100)
  start.begin(10)
  start.moveTo(60, () => {})
  settle()
  t.is(again(), 100)
})

test('a disk that fails leaves the start where it was', (t) => {
  const { disk, settle, again } = opened()
  const start = new LogStart(disk, '/log')
  start.begin(100)
  disk.failAt(disk.calls + 1, 'EIO')
  let code: unknown
  start.moveTo(200, (error) => {
    code = (error as NodeJS.ErrnoException).code
  })
  settle()
  t.is(code, 'EIO')
  t.is(start.position, 100)
  t.is(again(), 100)
})

test('a start that could not be made durable is said before anything goes', (t) => {
  const { disk, settle, again } = opened()
  const start = new LogStart(disk, '/log')
  // The last call of the file's making: what it says may be there or not.
  disk.failAt(disk.calls + 5, 'ENOSPC')
  t.throws(() => start.begin(100), { message: /ENOSPC/ })
  let result: Error | null | undefined
  start.moveTo(200, (error) => {
    result = error
  })
  settle()
  t.is(result, null)
  disk.restart('power')
  t.is(again(), 200)
})

/** Takes the space as a frame does. */
function take(tail: Tail, position: number, size: number, syncedEnd: number): Chunk | undefined {
  const chunk = tail.chunkFor(position, size, syncedEnd)
  if (chunk !== undefined) chunk.used += size
  return chunk
}

test('a frame that is larger than a chunk gets one of its own size, and the next a usual one', (t) => {
  const tail = new Tail(100, 1000)
  const first = take(tail, 0, 60, 0)
  const large = take(tail, 60, 250, 0)
  const next = take(tail, 310, 10, 0)
  t.deepEqual(
    [first, large, next].map((chunk) => chunk!.bytes.length),
    [100, 250, 100],
  )
  t.is(tail.find(60, 250), large)
})

test('large chunks count by their size, and give way to others once they are synced', (t) => {
  const tail = new Tail(100, 400)
  t.truthy(take(tail, 0, 300, 0))
  t.truthy(take(tail, 300, 100, 0))
  t.is(take(tail, 400, 100, 299), undefined)
  t.truthy(take(tail, 400, 100, 300))
  t.is(tail.find(0, 1), undefined)
  t.truthy(tail.find(300, 100))
})

test('a frame that is larger than the whole tail is taken when all before it is synced', (t) => {
  const tail = new Tail(100, 300)
  t.truthy(take(tail, 0, 100, 0))
  t.is(take(tail, 100, 500, 99), undefined)
  t.is(take(tail, 100, 500, 100)?.bytes.length, 500)
  t.is(take(tail, 600, 100, 599), undefined)
})

test('the first chunk is small, so that a log that is written little takes no whole one', (t) => {
  const MIB = 1024 * 1024
  const tail = new Tail(8 * MIB, 64 * MIB)
  t.is(take(tail, 0, 1000, 0)?.bytes.length, MIB)
  t.is(take(tail, 1000, MIB, 1000)?.bytes.length, 8 * MIB)
})

test('chunks of the usual size are used again', (t) => {
  const tail = new Tail(100, 300)
  const [first] = [0, 100, 200].map((position) => take(tail, position, 100, 0))
  t.is(take(tail, 300, 100, 100)?.bytes, first!.bytes)
})

test('a reserve that is wanted at once while a piece of it is under way is completed all the same', (t) => {
  const pool: (() => void)[] = []
  const disk = new SimulatedDisk({ random: new Random(1), inPool: (fn) => pool.push(fn) })
  disk.makeDirectory('/log')
  const clock = new FakeClock()
  const log = new LogLines()
  const reserve = new Reserve({
    disk,
    directory: '/log',
    clock,
    log,
    bytes: 4000,
    pieceBytes: 1000,
  })
  reserve.keep()
  clock.advance(10_000)
  t.true(pool.length > 0, 'the first piece is under way')
  const answers: unknown[] = []
  reserve.restore((error) => answers.push(error))
  for (let i = 0; i < 20; i++) {
    for (const fn of pool.splice(0)) fn()
    clock.advance(50)
  }
  t.deepEqual(answers, [null])
  t.is(reserve.missingBytes, 0)
})
