import test from 'ava'
import { BrokerError } from '../../src/errors.ts'
import { logPosition } from '../../src/model/positions.ts'
import { LogSimulation } from '../support/log-simulation.ts'

function opened(options: Partial<ConstructorParameters<typeof LogSimulation>[0]> = {}) {
  const simulation = new LogSimulation({ seed: 7, ...options })
  simulation.open()
  return simulation
}

const late = (): BrokerError => new BrokerError('TIMED_OUT', 'no replica has confirmed it in time')

test('what a hold has not confirmed is synced, and neither answered nor readable', (t) => {
  const simulation = opened()
  const { log } = simulation
  const hold = log.hold()
  const call = simulation.append([10])!
  simulation.settle()
  t.is(call.fate, 'open')
  t.is(log.end, logPosition(0))
  t.true(log.syncedEnd > 0)
  hold.confirm(log.syncedEnd)
  t.is(call.fate, 'acknowledged')
  t.is(log.end, log.syncedEnd)
})

test('every hold has to confirm, and answers keep the order of the appends', (t) => {
  const simulation = opened()
  const [one, other] = [simulation.log.hold(), simulation.log.hold()]
  const first = simulation.append([10])!
  simulation.settle()
  const middle = simulation.log.syncedEnd
  const second = simulation.append([10])!
  simulation.settle()
  one.confirm(simulation.log.syncedEnd)
  t.deepEqual([first.fate, second.fate], ['open', 'open'])
  other.confirm(middle)
  t.deepEqual([first.fate, second.fate], ['acknowledged', 'open'])
  other.release()
  t.deepEqual([first.fate, second.fate], ['acknowledged', 'acknowledged'])
})

test('what is refused gets the error, stands in the log and can be read', async (t) => {
  const simulation = opened()
  const { log } = simulation
  const hold = log.hold()
  let answer: BrokerError | undefined
  const { drafts, queueOffsets } = simulation.history.plan([10])
  const { positions } = log.append(drafts, queueOffsets, (error) => {
    answer = error
  })
  simulation.settle()
  hold.refuse(log.syncedEnd, late())
  t.is(answer?.code, 'TIMED_OUT')
  t.is(log.end, log.syncedEnd)
  t.truthy(await simulation.wait(log.readAt(positions[0]!)))
  t.is(simulation.frames.length, 1)
})

test('a refusal is no answer for what comes after its position', (t) => {
  const simulation = opened()
  const { log } = simulation
  const hold = log.hold()
  hold.refuse(log.end, late())
  const call = simulation.append([10])!
  simulation.settle()
  t.is(call.fate, 'open')
  hold.confirm(log.syncedEnd)
  t.is(call.fate, 'acknowledged')
})

test('appends that wait for a hold count as waiting for the disk does', (t) => {
  const simulation = opened()
  const { log } = simulation
  const hold = log.hold()
  let taken = 0
  while (simulation.append([1000]) !== undefined && taken < 50) {
    simulation.settle()
    taken++
  }
  t.is(taken, 7)
  t.true(log.isBusy)
  hold.confirm(log.syncedEnd)
  t.false(log.isBusy)
  t.truthy(simulation.append([1000]))
})

test('a feed has what waits for a confirmation', async (t) => {
  const simulation = opened()
  const { log } = simulation
  log.hold()
  const feed = log.feed(logPosition(0))
  simulation.append([10])
  simulation.settle()
  const batch = await simulation.wait(feed.next())
  t.is(batch?.to, log.syncedEnd)
  t.is(log.end, logPosition(0))
})

test('a failing disk refuses what waits, and keeps it: it is synced', (t) => {
  const simulation = opened()
  const { log, disk } = simulation
  log.hold()
  const waiting = simulation.append([10])!
  simulation.settle()
  const { syncedEnd } = log
  disk.failAt(disk.calls + 1, 'EIO')
  const failing = simulation.append([10])!
  simulation.settle()
  t.deepEqual([waiting.fate, failing.fate], ['refused', 'refused'])
  t.is(log.end, syncedEnd)
  t.is(simulation.frames.length, 1)
})

test('a log that is closed answers what waits', async (t) => {
  const simulation = opened()
  simulation.log.hold()
  const call = simulation.append([10])!
  simulation.settle()
  await simulation.close()
  t.is(call.fate, 'refused')
})

test('a log has 16 holds at a time', (t) => {
  const { log } = opened()
  const holds = Array.from({ length: 16 }, () => log.hold())
  t.throws(() => log.hold(), { message: /16 holds/ })
  holds[0]!.release()
  t.notThrows(() => log.hold())
})
