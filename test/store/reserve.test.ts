import test from 'ava'
import { Reserve } from '../../src/store/log/reserve.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogLines } from '../support/log-lines.ts'
import { Random } from '../support/random.ts'
import { SimulatedDisk } from '../support/simulated-disk.ts'

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
