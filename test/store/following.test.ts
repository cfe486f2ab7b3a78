import test from 'ava'
import { BrokerError } from '../../src/errors.ts'
import { logPosition } from '../../src/model/positions.ts'
import type { FrameBatch } from '../../src/store/log/following.ts'
import { FRAME_HEADER_BYTES, headerAt } from '../../src/store/log/frame.ts'
import { LogSimulation } from '../support/simulation/log-simulation.ts'

function opened(options: Partial<ConstructorParameters<typeof LogSimulation>[0]> = {}) {
  const simulation = new LogSimulation({ seed: 7, ...options })
  simulation.open()
  return simulation
}

/** Appends one frame and lets it be synced. */
function frame(simulation: LogSimulation, ...sizes: number[]): void {
  simulation.append(sizes)
  simulation.settle()
}

const lengthsOf = ({ bytes }: FrameBatch): number[] => {
  const lengths: number[] = []
  for (let at = 0; at < bytes.length; at += lengths.at(-1)!) {
    lengths.push(headerAt(bytes, at)!.length)
  }
  return lengths
}

test('a feed gives the frames that are there, then each one as it is synced', async (t) => {
  const simulation = opened()
  frame(simulation, 10)
  frame(simulation, 20, 30)
  const feed = simulation.log.feed(logPosition(0))
  const first = (await simulation.wait(feed.next()))!
  t.is(lengthsOf(first).length, 2)
  t.is(first.from, logPosition(0))
  t.is(first.to, simulation.log.syncedEnd)
  t.is(first.logEnd, simulation.log.syncedEnd)
  const next = feed.next()
  simulation.append([40])
  await Promise.resolve()
  simulation.settle()
  const second = (await simulation.wait(next))!
  t.is(second.from, first.to)
  t.is(second.to, simulation.log.end)
})

test('a mark without records is in the feed too', async (t) => {
  const simulation = opened()
  frame(simulation, 10)
  const feed = simulation.log.feed(simulation.log.end)
  t.is((await simulation.wait(feed.next()))?.bytes.length, 0)
  simulation.clock.advance(1500)
  simulation.settle()
  const batch = (await simulation.wait(feed.next()))!
  t.deepEqual(lengthsOf(batch), [FRAME_HEADER_BYTES])
})

test('feeds of different paces get the same bytes, from memory and from segments', async (t) => {
  const simulation = opened()
  const quick = simulation.log.feed(logPosition(0))
  await quick.next()
  const pieces: Buffer[] = []
  for (let i = 0; i < 60; i++) {
    frame(simulation, 300 + i)
    pieces.push((await simulation.wait(quick.next()))!.bytes)
  }
  t.true(simulation.log.segments().length > 1)
  const slow = simulation.log.feed(logPosition(0))
  const caughtUp: Buffer[] = []
  for (let to = 0; to < simulation.log.end; ) {
    const batch = (await simulation.wait(slow.next()))!
    caughtUp.push(batch.bytes)
    to = batch.to
  }
  t.deepEqual(Buffer.concat(caughtUp), Buffer.concat(pieces))
})

test('what is written and not synced is in no feed', async (t) => {
  const simulation = opened({ flush: 'async' })
  const feed = simulation.log.feed(logPosition(0))
  let got: FrameBatch | undefined
  await feed.next()
  void feed.next().then((batch) => {
    got = batch
  })
  frame(simulation, 10)
  await Promise.resolve()
  t.true(simulation.log.end > 0)
  t.is(got, undefined)
  simulation.clock.advance(200)
  await simulation.wait(Promise.resolve())
  simulation.settle()
  await new Promise((resolve) => setImmediate(resolve))
  t.is(got?.to, simulation.log.end)
})

test('a feed that retention overtook says so, and holds no segment back', async (t) => {
  const simulation = opened()
  const feed = simulation.log.feed(logPosition(0))
  for (let i = 0; i < 60; i++) frame(simulation, 300)
  const last = simulation.log.segments().at(-1)!
  simulation.log.dropBefore(last.start)
  simulation.settle()
  t.is(simulation.log.start, last.start)
  const error = await t.throwsAsync(simulation.wait(feed.next()), { instanceOf: BrokerError })
  t.is(error?.code, 'OFFSET_OUT_OF_RANGE')
  t.regex(error!.message, /follow it anew from its start/)
})

test('a feed that has all is told when the log starts later', async (t) => {
  const simulation = opened()
  for (let i = 0; i < 60; i++) frame(simulation, 300)
  const { log } = simulation
  const feed = log.feed(log.end)
  t.is((await feed.next())?.logStart, logPosition(0))
  const next = feed.next()
  const last = log.segments().at(-1)!
  log.dropBefore(last.start)
  simulation.settle()
  const batch = await next
  t.is(batch?.logStart, last.start)
  t.is(batch?.bytes.length, 0)
})

test('a position that the log does not have, or where no frame starts, is refused', async (t) => {
  const simulation = opened()
  frame(simulation, 10)
  const { log } = simulation
  t.throws(() => log.feed(logPosition(log.end + 1)), { message: /another history/ })
  const inside = log.feed(logPosition(8))
  const error = await t.throwsAsync(simulation.wait(inside.next()), { instanceOf: BrokerError })
  t.is(error?.code, 'STORE_CORRUPT')
})

test('a frame with a flipped bit goes to no follower', async (t) => {
  const simulation = opened()
  for (let i = 0; i < 60; i++) frame(simulation, 300)
  const [first] = simulation.log.segments()
  simulation.disk.flipBit(`/log/${first!.name}`, FRAME_HEADER_BYTES + 100, 3)
  const feed = simulation.log.feed(logPosition(0))
  const error = await t.throwsAsync(simulation.wait(feed.next()), { instanceOf: BrokerError })
  t.is(error?.code, 'STORE_CORRUPT')
})

test('a feed reads into the memory that it is given, where that is large enough', async (t) => {
  const simulation = opened()
  frame(simulation, 300)
  const own = await simulation.wait(simulation.log.feed(logPosition(0)).next())
  const target = Buffer.alloc(10_000)
  const lent = await simulation.wait(simulation.log.feed(logPosition(0)).next(target))
  const small = await simulation.wait(simulation.log.feed(logPosition(0)).next(Buffer.alloc(10)))
  t.is(lent!.bytes.buffer, target.buffer)
  t.deepEqual(lent!.bytes, own!.bytes)
  t.deepEqual(small!.bytes, own!.bytes)
})

test('a closed log ends its feeds', async (t) => {
  const simulation = opened()
  const feed = simulation.log.feed(logPosition(0))
  await feed.next()
  const next = feed.next()
  await simulation.close()
  t.is(await next, undefined)
  t.throws(() => simulation.log.feed(logPosition(0)), { message: /closed/ })
})

test('a log has 64 feeds at a time', (t) => {
  const { log } = opened()
  const feeds = Array.from({ length: 64 }, () => log.feed(logPosition(0)))
  t.throws(() => log.feed(logPosition(0)), { message: /64 feeds/ })
  feeds[0]!.close()
  t.notThrows(() => log.feed(logPosition(0)))
})

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

test('what a hold has not confirmed is not removed with its segment', (t) => {
  const simulation = opened({ segmentBytes: 1024, chunkBytes: 1024 })
  const { log } = simulation
  frame(simulation, 600)
  const hold = log.hold()
  for (let i = 0; i < 4; i++) frame(simulation, 600)
  const newest = log.segments().at(-1)!
  t.true(newest.start > log.end, 'nothing of the newest segment is readable')
  simulation.history.dropped(log.end)
  log.dropBefore(newest.start)
  simulation.settle()
  hold.confirm(log.syncedEnd)
  simulation.settle()
  t.is(simulation.unanswered, 0)
  simulation.checkReadable()
})

test('a hold is told of what waits for it, once that is synced', (t) => {
  const simulation = opened()
  const { log } = simulation
  const ends: number[] = []
  const hold = log.hold(() => {
    ends.push(log.syncedEnd)
    hold.confirm(log.syncedEnd)
  })
  const call = simulation.append([10])!
  simulation.settle()
  t.is(call.fate, 'acknowledged')
  t.deepEqual(ends, [log.end])
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
