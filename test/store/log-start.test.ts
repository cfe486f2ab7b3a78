import test from 'ava'
import { LogStart } from '../../src/store/log/log-start.ts'
import { Random } from '../support/random.ts'
import { SimulatedDisk } from '../support/simulated-disk.ts'

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
