import test, { type ExecutionContext } from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import { logPosition } from '../../src/model/positions.ts'
import { RecordView, recordsOf } from '../../src/model/record.ts'
import { FRAME_HEADER_BYTES, headerAt, writeFrameHeader } from '../../src/store/log/frame.ts'
import { LogSimulation } from '../support/simulation/log-simulation.ts'
import { SimulatedCrash } from '../support/simulation/simulated-disk.ts'
import { framesOf } from '../support/store/log-frames.ts'

const FIRST = '/log/00000000000000000000'

/** A log of some frames of one record each. */
function logOf(count: number, bodyBytes = 200): LogSimulation {
  const simulation = new LogSimulation({ seed: 1 })
  simulation.open()
  for (let i = 0; i < count; i++) {
    simulation.append([bodyBytes])
    simulation.settle()
  }
  return simulation
}

/** Queue offsets of everything the log serves. */
function served(simulation: LogSimulation): number[] {
  const { log } = simulation
  const offsets: number[] = []
  for (const frame of log.replay(log.start)) {
    for (const record of recordsOf(frame.bytes.subarray(frame.start, frame.stop))) {
      offsets.push(record.queueOffset)
    }
  }
  return offsets
}

function reopen(simulation: LogSimulation): void {
  simulation.restart('kill')
  simulation.open()
}

/** Passes only when exactly these offsets are served and the rest is reported as damaged. */
function assertServed(t: ExecutionContext, simulation: LogSimulation, without: number[]): void {
  const all = simulation.history.calls.flatMap((call) => call.queueOffsets)
  t.deepEqual(
    served(simulation),
    all.filter((offset) => !without.includes(offset)),
  )
}

test('A record that is cut off at any byte is gone, and all before it are there', (t) => {
  const whole = logOf(4)
  const last = whole.history.calls.at(-1)!
  const frameStart = last.appending!.positions[0]! - FRAME_HEADER_BYTES
  const { end } = whole.log
  for (let cut = frameStart; cut < end; cut++) {
    const simulation = logOf(4)
    simulation.disk.contentOf(FIRST).fill(0, cut, end)
    reopen(simulation)
    if (
      whole.disk
        .contentOf(FIRST)
        .subarray(cut, end)
        .every((byte) => byte === 0)
    )
      continue
    t.is(simulation.log.end, logPosition(frameStart), `cut at ${cut}`)
    t.deepEqual(served(simulation), [0, 1, 2])
    t.deepEqual(simulation.log.damage(), [])
  }
})

test('What is cut is zero afterwards and cutting it again changes nothing', (t) => {
  const simulation = logOf(3)
  const { end } = simulation.log
  simulation.disk.flipBit(FIRST, end - 20, 3)
  reopen(simulation)
  const cutAt = simulation.log.end
  t.true(cutAt < end)
  t.true(
    simulation.disk
      .contentOf(FIRST)
      .subarray(cutAt)
      .every((byte) => byte === 0),
  )
  reopen(simulation)
  t.is(simulation.log.end, cutAt)
})

test('A flipped bit before valid frames is damage: kept, reported with its place, the rest served', (t) => {
  const simulation = logOf(6)
  const call = simulation.history.calls[2]!
  const from = call.appending!.positions[0]! - FRAME_HEADER_BYTES
  const to = simulation.history.calls[3]!.appending!.positions[0]! - FRAME_HEADER_BYTES
  const { end } = simulation.log
  simulation.disk.flipBit(FIRST, from + 70, 0)
  reopen(simulation)
  const [range] = simulation.log.damage()
  t.like(range, { from, to, segment: FIRST.slice(5) })
  t.is(simulation.log.end, end)
  assertServed(t, simulation, [2])
})

test('Bytes that are known to be damaged are not read, their neighbours are', async (t) => {
  const simulation = logOf(6)
  const positions = simulation.history.calls.map((call) => call.appending!.positions[0]!)
  // In the header of the frame: the record itself would still check.
  simulation.disk.flipBit(FIRST, positions[2]! - FRAME_HEADER_BYTES + 30, 5)
  reopen(simulation)
  const read = (position: number) => simulation.wait(simulation.log.readAt(logPosition(position)))
  t.is(await read(positions[2]!), undefined)
  t.truthy(await read(positions[1]!))
  t.truthy(await read(positions[3]!))
})

test('Damage is found again at every opening and the log goes on behind it', (t) => {
  const simulation = logOf(5)
  const position = simulation.history.calls[1]!.appending!.positions[0]!
  simulation.disk.flipBit(FIRST, position + 100, 7)
  for (let i = 0; i < 3; i++) {
    reopen(simulation)
    t.is(simulation.log.damage().length, 1)
    simulation.append([100])
    simulation.settle()
    assertServed(t, simulation, [1])
  }
})

test('Damage to the newest record of a log that was closed is not taken for a torn tail', async (t) => {
  const simulation = logOf(3)
  const { end } = simulation.log
  await simulation.close()
  simulation.disk.flipBit(FIRST, end - 30, 1)
  reopen(simulation)
  t.is(simulation.log.end, end)
  t.is(simulation.log.damage().length, 1)
  simulation.append([100])
  simulation.settle()
  assertServed(t, simulation, [2])
  reopen(simulation)
  assertServed(t, simulation, [2])
})

test('Damage to the newest record of a log that went quiet is not taken for a torn tail', (t) => {
  const simulation = logOf(3)
  const { end } = simulation.log
  simulation.clock.advance(1000)
  simulation.settle()
  t.is(simulation.log.end, logPosition(end + FRAME_HEADER_BYTES))
  simulation.clock.advance(5000)
  simulation.settle()
  t.is(simulation.log.end, logPosition(end + FRAME_HEADER_BYTES), 'one mark is enough')
  simulation.disk.flipBit(FIRST, end - 30, 1)
  reopen(simulation)
  t.is(simulation.log.damage().length, 1)
  assertServed(t, simulation, [2])
})

test('Every flipped bit of a closed log is noticed, and no wrong byte is served', async (t) => {
  const simulation = logOf(0)
  for (let i = 0; i < 60; i++) {
    simulation.append([50 + i, 120])
    simulation.settle()
  }
  await simulation.close()
  const segments = simulation.log.segments()
  t.true(segments.length > 1)
  const end = segments.at(-1)!.end
  fc.assert(
    fc.property(fc.integer({ min: 0, max: end - 1 }), fc.nat({ max: 7 }), (position, bit) => {
      const segment = segments.findLast((one) => one.start <= position)!
      const path = `/log/${segment.name}`
      simulation.disk.flipBit(path, position - segment.start, bit)
      reopen(simulation)
      const found = served(simulation)
      const damage = simulation.log.damage()
      simulation.disk.flipBit(path, position - segment.start, bit)
      const isCovered = damage.some((range) => range.from <= position && position < range.to)
      const lost = simulation.history.calls
        .flatMap((call) => call.queueOffsets)
        .filter((offset) => !found.includes(offset))
      return isCovered && damage.length === 1 && lost.length <= 2
    }),
    { numRuns: 300 },
  )
})

test('A missing segment in the middle is reported as the gap it is', async (t) => {
  const simulation = logOf(120)
  await simulation.close()
  const segments = simulation.log.segments()
  t.true(segments.length > 2)
  simulation.disk.remove(`/log/${segments[1]!.name}`)
  reopen(simulation)
  const offsets = served(simulation)
  const [range] = simulation.log.damage()
  t.like(range, { from: segments[1]!.start, to: segments[1]!.end })
  t.true(offsets.includes(0))
  t.true(offsets.includes(119))
})

test('A missing oldest segment is reported as lost, until retention has come there', (t) => {
  const simulation = logOf(120)
  const segments = simulation.log.segments()
  simulation.log.dropBefore(segments[1]!.start)
  simulation.settle()
  t.is(simulation.log.start, segments[1]!.start)
  simulation.disk.remove(`/log/${segments[1]!.name}`)
  for (let opening = 0; opening < 2; opening++) {
    reopen(simulation)
    const [range, ...more] = simulation.log.damage()
    t.like(range, { from: segments[1]!.start, to: segments[2]!.start, segment: segments[1]!.name })
    t.deepEqual(more, [])
  }
  t.true(served(simulation).includes(119))
  simulation.log.dropBefore(segments[3]!.start)
  simulation.settle()
  t.deepEqual(simulation.log.damage(), [])
  reopen(simulation)
  t.deepEqual(simulation.log.damage(), [])
})

/** Logs opened again after a crash at each call of the removal of two segments. */
function* interruptedRemovals(): Generator<{ simulation: LogSimulation; removedTo: number }> {
  let isDown = true
  for (let call = 1; isDown; call++) {
    const simulation = logOf(120)
    const [, , third] = simulation.log.segments()
    simulation.disk.crashAt(simulation.disk.calls + call)
    try {
      simulation.log.dropBefore(third!.start)
      simulation.settle()
    } catch (error) {
      if (!(error instanceof SimulatedCrash)) throw error
    }
    isDown = simulation.disk.isDown
    simulation.restart('power')
    simulation.open()
    yield { simulation, removedTo: third!.start }
  }
}

test('Wherever a crash meets the removal of a segment, nothing counts as lost', (t) => {
  for (const { simulation, removedTo } of interruptedRemovals()) {
    t.deepEqual(simulation.log.damage(), [])
    t.true(simulation.log.start <= removedTo)
  }
})

test('Wherever a crash meets the removal of a segment, no file is left that is no part of the log', (t) => {
  for (const { simulation } of interruptedRemovals()) {
    simulation.settle()
    const files = simulation.disk.list('/log').filter((name) => /^\d+$/.test(name))
    t.deepEqual(
      files.sort(),
      simulation.log.segments().map(({ name }) => name),
    )
  }
})

test('Without a word about where it starts, a log starts where its segments do', (t) => {
  const simulation = logOf(120)
  const segments = simulation.log.segments()
  for (const name of ['first', segments[0]!.name]) simulation.disk.remove(`/log/${name}`)
  reopen(simulation)
  t.deepEqual(simulation.log.damage(), [])
  simulation.disk.remove(`/log/${segments[1]!.name}`)
  reopen(simulation)
  t.is(simulation.log.damage().length, 1)
})

test('A log whose segments are all gone refuses to start anew', async (t) => {
  const simulation = logOf(3)
  await simulation.close()
  simulation.disk.remove(FIRST)
  simulation.restart('kill')
  const error = t.throws(() => simulation.open(), { instanceOf: BrokerError })
  t.is(error?.code, 'STORE_CORRUPT')
})

for (const [what, spoil] of [
  ['missing', (s: LogSimulation) => s.disk.remove('/log/epoch')],
  ['spoiled', (s: LogSimulation) => s.disk.flipBit('/log/epoch', 12, 1)],
] as const) {
  test(`With the epoch marker ${what} the log finds its end and its epoch in the frames`, (t) => {
    const simulation = logOf(3)
    spoil(simulation)
    reopen(simulation)
    simulation.append([10])
    simulation.settle()
    reopen(simulation)
    assertServed(t, simulation, [])
    t.deepEqual(simulation.log.damage(), [])
  })
}

test('Valid frames behind a hole are cut when none of them says that the hole was synced', (t) => {
  const simulation = logOf(3)
  const positions = simulation.history.calls.map((call) => call.appending!.positions[0]!)
  const cutAt = positions[1]! - FRAME_HEADER_BYTES
  const next = positions[2]! - FRAME_HEADER_BYTES
  // As if both commits had been under way at once and only the second reached the disk.
  const content = simulation.disk.contentOf(FIRST)
  content.fill(0, cutAt, next)
  rewriteHeader(content, next, { syncedTo: cutAt })
  reopen(simulation)
  t.is(simulation.log.end, logPosition(cutAt))
  t.deepEqual(served(simulation), [0])
  t.deepEqual(simulation.log.damage(), [])
  // And they never come back, not even where the new end meets the old frames exactly.
  simulation.append([200])
  simulation.settle()
  reopen(simulation)
  t.is(served(simulation).length, 2)
})

test('One frame behind a hole that says the hole was synced makes it damage', (t) => {
  const simulation = logOf(4)
  const positions = simulation.history.calls.map((call) => call.appending!.positions[0]!)
  const hole = positions[1]! - FRAME_HEADER_BYTES
  const content = simulation.disk.contentOf(FIRST)
  content.fill(0, hole, positions[2]! - FRAME_HEADER_BYTES)
  rewriteHeader(content, positions[2]! - FRAME_HEADER_BYTES, { syncedTo: hole })
  reopen(simulation)
  t.is(simulation.log.damage().length, 1)
  assertServed(t, simulation, [1])
})

test('A message body that looks like a frame is not taken for one', (t) => {
  const simulation = logOf(2)
  // The torn last record carries bytes that are a frame but for the log's id, which no client
  // knows.
  const position = simulation.log.end
  const at = position + FRAME_HEADER_BYTES + 100
  const forged = Buffer.alloc(FRAME_HEADER_BYTES)
  writeFrameHeader(forged, 0, {
    length: FRAME_HEADER_BYTES,
    records: 0,
    epoch: 9,
    logId: 12_345,
    sequence: 99,
    position: at,
    syncedTo: position + 1,
    storeTimestamp: 0,
  })
  const content = simulation.disk.contentOf(FIRST)
  forged.copy(content, at)
  reopen(simulation)
  t.is(simulation.log.end, position)
  t.deepEqual(simulation.log.damage(), [])
})

test('After the clock was ahead a record has the present time, also over a reopening', (t) => {
  const simulation = logOf(2)
  const { storeTimestamp } = simulation.history.calls.at(-1)!.appending!
  simulation.clock.jump(-3_600_000)
  const call = simulation.append([10])!
  t.is(call.appending!.storeTimestamp, storeTimestamp - 3_600_000)
  simulation.settle()
  reopen(simulation)
  simulation.clock.jump(-3_600_000)
  const after = simulation.append([10])!
  t.is(after.appending!.storeTimestamp, storeTimestamp - 7_200_000)
  simulation.settle()
  const times: number[] = []
  for (const frame of simulation.log.replay(logPosition(0))) {
    times.push(new RecordView(frame.bytes, frame.start).storeTimestamp)
  }
  t.is(times.at(-1), storeTimestamp - 7_200_000)
})

test('A clock that is set back by less than a second is waited for, also over a reopening', (t) => {
  const simulation = logOf(2)
  const { storeTimestamp } = simulation.history.calls.at(-1)!.appending!
  reopen(simulation)
  simulation.clock.jump(-999)
  t.is(simulation.append([10])!.appending!.storeTimestamp, storeTimestamp)
})

/** Changes a frame in place and makes its checksum right again. */
function rewriteHeader(bytes: Buffer, at: number, change: { syncedTo: number }): void {
  writeFrameHeader(bytes, at, {
    length: bytes.readUInt32BE(at + 8),
    records: bytes.readUInt32BE(at + 12),
    epoch: bytes.readUInt32BE(at + 16),
    logId: bytes.readUInt32BE(at + 20),
    sequence: Number(bytes.readBigUInt64BE(at + 24)),
    position: Number(bytes.readBigUInt64BE(at + 32)),
    storeTimestamp: Number(bytes.readBigUInt64BE(at + 48)),
    ...change,
  })
}

test('No bytes in the place of a segment keep the log from opening and going on', (t) => {
  const place = fc.record({ at: fc.nat({ max: 12_287 }), bytes: fc.uint8Array({ maxLength: 400 }) })
  fc.assert(
    fc.property(fc.array(place, { minLength: 1, maxLength: 8 }), (places) => {
      const simulation = logOf(12)
      const content = simulation.disk.contentOf(FIRST)
      for (const { at, bytes } of places) Buffer.from(bytes).copy(content, at % content.length)
      reopen(simulation)
      const before = served(simulation)
      simulation.append([100])
      simulation.settle()
      reopen(simulation)
      const after = served(simulation)
      return simulation.log.writable && after.length === before.length + 1
    }),
    { numRuns: 200 },
  )
  t.pass()
})

test('frames are numbered on where all of the last segment is cut', async (t) => {
  const simulation = logOf(11, 1000)
  const { id, epoch } = simulation.log
  const { start, name } = simulation.log.segments().at(-1)!
  const before = (await framesOf(simulation, logPosition(0))).map((frame) => headerAt(frame, 0)!)
  t.true(start > 0)
  // The first frame of the segment was not finished, and one behind it was.
  const content = simulation.disk.contentOf(`/log/${name}`)
  content.fill(0)
  const at = 2000
  const sequence = before.at(-1)!.sequence + 1
  const header = { length: FRAME_HEADER_BYTES, records: 0, epoch, logId: id, sequence }
  const place = { position: start + at, syncedTo: start, storeTimestamp: 0 }
  writeFrameHeader(content, at, { ...header, ...place })
  reopen(simulation)
  t.is(simulation.log.end, start)
  simulation.append([10])
  simulation.settle()
  const kept = before.filter(({ position }) => position < start)
  const [added] = await framesOf(simulation, start)
  t.is(headerAt(added!, 0)!.sequence, kept.length + 1)
})
