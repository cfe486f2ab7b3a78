import test from 'ava'
import { BrokerError } from '../../src/errors.ts'
import { logPosition } from '../../src/model/positions.ts'
import type { FrameBatch } from '../../src/store/log/following.ts'
import { FRAME_HEADER_BYTES, headerAt } from '../../src/store/log/frame.ts'
import { LogSimulation } from '../support/log-simulation.ts'

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
