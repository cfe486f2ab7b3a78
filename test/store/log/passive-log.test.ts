// A log that follows another one, frame by frame. A failing seed is printed; run it alone with
// TRIVET_SEED=<seed>, or more of them with TRIVET_SEEDS=<count>.
import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { putU32 } from '../../../src/model/bytes.ts'
import { crc32 } from '../../../src/model/crc32.ts'
import { logPosition } from '../../../src/model/positions.ts'
import { FRAME_HEADER_BYTES, headerAt } from '../../../src/store/log/frame.ts'
import { Random } from '../../support/random.ts'
import { LogSimulation } from '../../support/simulation/log-simulation.ts'
import { SimulatedCrash } from '../../support/simulation/simulated-disk.ts'
import { framesOf } from '../../support/store/log-frames.ts'

const chosenSeed = process.env['TRIVET_SEED']
const SEEDS = Number(process.env['TRIVET_SEEDS'] ?? 12)

function opened(options: Partial<ConstructorParameters<typeof LogSimulation>[0]> = {}) {
  const simulation = new LogSimulation({ seed: 7, ...options })
  simulation.open()
  return simulation
}

const followerOf = ({ log }: LogSimulation, seed = 11): LogSimulation =>
  opened({ seed, follows: { logId: log.id, start: log.start } })

/** Gives the follower what it lacks; the first answer that was an error. */
async function ship(master: LogSimulation, follower: LogSimulation): Promise<void> {
  for (const frame of await framesOf(master, follower.log.end)) take(follower, frame)
}

/** Takes one frame and lets it be synced. */
function take(follower: LogSimulation, frame: Buffer): void {
  let answer: BrokerError | undefined | 'none' = 'none'
  follower.log.appendFrame(frame, 0, (error) => {
    answer = error
  })
  follower.settle()
  if (answer !== undefined) throw new Error(`a frame was answered with ${answer}`)
}

const bytesOf = async (simulation: LogSimulation): Promise<Buffer> =>
  Buffer.concat(await framesOf(simulation, simulation.log.start))

function filled(frames = 8, options = {}): LogSimulation {
  const master = opened(options)
  for (let i = 0; i < frames; i++) {
    master.append([100 + i, 200])
    master.settle()
  }
  return master
}

const codeOf = (take: () => unknown): string => {
  try {
    take()
  } catch (error) {
    return error instanceof BrokerError ? error.code : String(error)
  }
  return 'taken'
}

test('the log of a follower is byte for byte the log that it follows', async (t) => {
  const master = filled(60)
  master.clock.advance(1500)
  master.settle()
  const follower = followerOf(master)
  await ship(master, follower)
  t.is(follower.log.end, master.log.end)
  t.is(follower.log.epoch, master.log.epoch)
  t.true(master.log.segments().length > 1)
  t.deepEqual(await bytesOf(follower), await bytesOf(master))
})

test('a gap, an overlap, another log and a lower epoch are refused, and nothing is kept', async (t) => {
  const master = filled(3)
  const [first, second, third] = (await framesOf(master, logPosition(0))) as [
    Buffer,
    Buffer,
    Buffer,
  ]
  const follower = followerOf(master)
  const append = (frame: Buffer) => codeOf(() => follower.log.appendFrame(frame, 0, () => {}))
  t.is(append(second), 'OFFSET_OUT_OF_RANGE')
  take(follower, first)
  t.is(append(first), 'OFFSET_OUT_OF_RANGE')
  t.is(append(third), 'OFFSET_OUT_OF_RANGE')
  t.is(append(resealed(second, 20, 12_345)), 'CONFIG_INVALID')
  t.is(append(resealed(second, 16, 0)), 'ABORTED')
  t.is(append(resealed(second, 28, 7)), 'OFFSET_OUT_OF_RANGE')
  t.is(follower.log.syncedEnd, logPosition(first.length))
  take(follower, second)
})

test('frames that were taken together are one write', async (t) => {
  const master = filled(4)
  const frames = await framesOf(master, logPosition(0))
  const callsOf = (take: (follower: LogSimulation) => void): number => {
    const follower = followerOf(master)
    const before = follower.disk.calls
    take(follower)
    follower.settle()
    t.is(follower.log.syncedEnd, master.log.syncedEnd)
    return follower.disk.calls - before
  }
  const apart = callsOf((follower) => {
    for (const bytes of frames) take(follower, bytes)
  })
  const together = callsOf((follower) => {
    for (const bytes of frames) follower.log.appendFrame(bytes, 0, () => {})
  })
  t.true(apart - together >= frames.length, `${apart} and ${together} calls`)
})

test('a log that catches up writes no zeros before what it takes', async (t) => {
  const master = filled(12, { segmentBytes: 64 * 1024 })
  const follower = opened({
    ...{ seed: 11, segmentBytes: 64 * 1024 },
    follows: { logId: master.log.id, start: master.log.start },
  })
  const size = (): number =>
    follower.disk.contentOf(`/log/${follower.log.segments()[0]!.name}`).length
  const before = size()
  const frames = await framesOf(master, logPosition(0))
  for (const bytes of frames) follower.log.appendFrame(bytes, 0, () => {})
  follower.settle()
  t.is(follower.log.syncedEnd, master.log.syncedEnd)
  t.true(follower.log.end > before)
  t.is(size(), Number(follower.log.end))
  // One that has caught up has zeros again, so that its syncs need no more than the bytes.
  master.append([100])
  master.settle()
  await ship(master, follower)
  t.true(size() > follower.log.end)
})

test('a full disk refuses frames, and takes them when there is room', async (t) => {
  const master = filled(60)
  const follower = opened({
    ...{ seed: 11, capacityBytes: 24 * 1024 },
    follows: { logId: master.log.id, start: master.log.start },
  })
  let refusal: BrokerError | undefined
  try {
    await ship(master, follower)
  } catch (error) {
    refusal = error as BrokerError
  }
  t.truthy(refusal)
  t.regex(follower.log.reason ?? '', /full|ENOSPC/)
  t.true(follower.log.end < master.log.end)
  follower.disk.capacityBytes = Number.POSITIVE_INFINITY
  follower.clock.advance(2_000)
  follower.settle()
  await ship(master, follower)
  t.is(follower.log.end, master.log.end)
  t.deepEqual(await bytesOf(follower), await bytesOf(master))
})

test('what is no whole frame is refused', async (t) => {
  const master = filled(1)
  const [frame] = (await framesOf(master, logPosition(0))) as [Buffer]
  const follower = followerOf(master)
  const append = (bytes: Buffer) => codeOf(() => follower.log.appendFrame(bytes, 0, () => {}))
  const flipped = Buffer.from(frame)
  flipped[FRAME_HEADER_BYTES + 90]! ^= 4
  const others = [
    Buffer.alloc(0),
    Buffer.alloc(FRAME_HEADER_BYTES),
    frame.subarray(1),
    frame.subarray(0, -1),
    frame.subarray(0, FRAME_HEADER_BYTES - 1),
    flipped,
    resealed(frame, 12, 1),
    resealed(frame, FRAME_HEADER_BYTES, 0),
    // A body that ends before it begins, and one that ends beyond the record.
    resealed(frame, FRAME_HEADER_BYTES + 84, 0x8000_0000),
    resealed(frame, FRAME_HEADER_BYTES + 84, 1000),
  ]
  for (const bytes of others) t.is(append(bytes), 'PROTOCOL_ERROR')
  t.is(follower.log.syncedEnd, logPosition(0))
})

/** The frame with another number at this place, and a checksum that is right. */
function resealed(frame: Buffer, at: number, value: number): Buffer {
  const bytes = Buffer.from(frame)
  putU32(bytes, at, value)
  putU32(bytes, 4, crc32(bytes, 8, bytes.length))
  return bytes
}

test('a passive log takes no appends, and no frame is taken by one that is not', async (t) => {
  const master = filled(1)
  const follower = followerOf(master)
  t.false(follower.log.writable)
  t.regex(follower.log.reason!, /follows the log of a master/)
  const { drafts, queueOffsets } = follower.history.plan([10])
  t.is(
    codeOf(() => follower.log.append(drafts, queueOffsets, () => {}, true)),
    'READ_ONLY',
  )
  const [frame] = await framesOf(master, logPosition(0))
  t.is(
    codeOf(() => master.log.appendFrame(frame!, 0, () => {})),
    'NOT_SUPPORTED',
  )
})

test('opening, quiet and closing add nothing to a passive log, and begin no epoch', async (t) => {
  const master = filled(3)
  const follower = followerOf(master)
  await ship(master, follower)
  const { epoch } = master.log
  for (let i = 0; i < 3; i++) {
    follower.clock.advance(5000)
    follower.settle()
    await follower.close()
    follower.open()
    t.is(follower.log.epoch, epoch)
  }
  t.deepEqual(await bytesOf(follower), await bytesOf(master))
})

test('a directory with another log is not made to follow', async (t) => {
  const follower = filled(1)
  await follower.close()
  const options = { seed: 7, follows: { logId: 5, start: logPosition(0) } }
  const other = new LogSimulation(options)
  Object.assign(other, { disk: follower.disk })
  t.is(
    codeOf(() => other.open()),
    'CONFIG_INVALID',
  )
})

test('a follower may begin where its master starts by then', async (t) => {
  const master = filled(60)
  const middle = master.log.segments().at(-2)!.start
  master.log.dropBefore(middle)
  master.settle()
  const follower = followerOf(master)
  t.is(follower.log.start, middle)
  await ship(master, follower)
  t.deepEqual(await bytesOf(follower), await bytesOf(master))
})

test('made active it goes on in a higher epoch, which its followers take', async (t) => {
  const master = filled(3)
  const [follower, other] = [followerOf(master), followerOf(master, 12)]
  await ship(master, follower)
  await ship(master, other)
  t.is(
    codeOf(() => follower.log.activate(master.log.epoch)),
    'ARGUMENT_INVALID',
  )
  follower.log.activate(9)
  t.true(follower.log.writable)
  t.is(
    codeOf(() => follower.log.activate()),
    'ARGUMENT_INVALID',
  )
  follower.append([10])
  follower.settle()
  await ship(follower, other)
  t.is(other.log.epoch, 9)
  master.append([10])
  master.settle()
  const [stale] = await framesOf(master, follower.log.segments()[0]!.start).then((all) =>
    all.slice(-1),
  )
  t.is(
    codeOf(() => other.log.appendFrame(stale!, 0, () => {})),
    'ABORTED',
  )
})

test('what a frame says was synced elsewhere makes no damage of a hole here', async (t) => {
  const master = filled(3)
  const follower = followerOf(master)
  await ship(master, follower)
  const [first] = await framesOf(master, logPosition(0))
  follower.restart('kill')
  const [segment] = master.log.segments()
  follower.disk.flipBit(`/log/${segment!.name}`, first!.length + FRAME_HEADER_BYTES + 90, 3)
  follower.open()
  t.deepEqual(follower.log.damage(), [])
  t.is(follower.log.end, logPosition(first!.length))
  await ship(master, follower)
  t.deepEqual(await bytesOf(follower), await bytesOf(master))
})

test('a second after a frame the marker says what is synced here: then a hole is damage', async (t) => {
  const master = filled(3)
  const follower = followerOf(master)
  await ship(master, follower)
  follower.clock.advance(1500)
  const [first] = await framesOf(master, logPosition(0))
  follower.restart('kill')
  const [segment] = master.log.segments()
  follower.disk.flipBit(`/log/${segment!.name}`, first!.length + FRAME_HEADER_BYTES + 90, 3)
  follower.open()
  t.is(follower.log.damage().length, 1)
  t.is(follower.log.end, master.log.end)
})

test('damage is mended by the very frames that stood there, and the log goes on behind it', async (t) => {
  const master = filled(3)
  const follower = followerOf(master)
  await ship(master, follower)
  follower.clock.advance(1500)
  const [first, second, third] = (await framesOf(master, logPosition(0))) as [
    Buffer,
    Buffer,
    Buffer,
  ]
  follower.restart('kill')
  const last = first.length + second.length
  const [segment] = master.log.segments()
  follower.disk.flipBit(`/log/${segment!.name}`, last + FRAME_HEADER_BYTES + 90, 3)
  follower.open()
  const [range] = follower.log.damage()
  t.like(range, { from: last, to: last + third.length })
  const flipped = Buffer.from(third)
  flipped[FRAME_HEADER_BYTES + 90]! ^= 8
  for (const other of [second, flipped, third.subarray(0, 100), Buffer.concat([second, third])]) {
    await t.throwsAsync(follower.log.mend(range!, other), { code: 'PROTOCOL_ERROR' })
  }
  t.is(follower.log.damage().length, 1)
  const mending = follower.log.mend(range!, third)
  follower.settle()
  await mending
  t.deepEqual(follower.log.damage(), [])
  master.append([100])
  master.settle()
  await ship(master, follower)
  t.deepEqual(await bytesOf(follower), await bytesOf(master))
})

test('a power cut of a follower leaves whole frames, and what it answered for', async (t) => {
  const first = chosenSeed === undefined ? Math.floor(Math.random() * 2 ** 30) : Number(chosenSeed)
  t.log(`seeds ${first} to ${first + SEEDS - 1}`)
  let crashes = 0
  for (let seed = first; seed < first + (chosenSeed === undefined ? SEEDS : 1); seed++) {
    try {
      crashes += await followThroughCrashes(seed)
    } catch (error) {
      throw new Error(`TRIVET_SEED=${seed}: ${String(error)}`, { cause: error })
    }
  }
  t.log(`${crashes} crashes survived`)
  t.pass()
})

async function followThroughCrashes(seed: number): Promise<number> {
  const random = new Random(seed)
  const master = opened({ seed, segmentBytes: 40_000 })
  // A frame that was made on a quiet log says of all before it that it was synced.
  const isQuiet = random.chance(0.5)
  for (let i = 0; i < 60; i++) {
    master.act(isQuiet ? 3 : 10)
    if (isQuiet) master.settle()
  }
  master.settle()
  await master.close()
  master.open()
  const frames = await framesOf(master, logPosition(master.log.start))
  const all = Buffer.concat(frames)
  const { start } = master.log
  const follower = new LogSimulation({ seed, follows: { logId: master.log.id, start } })
  let answered: number = start
  while (answered < master.log.end) {
    const kind = random.pick(['power', 'power', 'kill'] as const)
    follower.disk.crashAt(1 + random.int(120))
    const crashed = follower.survive(() => {
      follower.open()
      checkPrefix(follower, all, start, answered)
      answered = follower.log.end
      takeMany(follower, frames, random, (end) => {
        answered = end
      })
    })
    if (crashed) follower.restart(kind)
    else {
      await follower.close()
      follower.restart(kind)
    }
  }
  follower.open()
  checkPrefix(follower, all, start, answered)
  return follower.crashes
}

function takeMany(
  follower: LogSimulation,
  frames: readonly Buffer[],
  random: Random,
  done: (end: number) => void,
): void {
  const from = follower.log.end
  const rest = frames.filter((frame) => headerAt(frame, 0)!.position >= from)
  for (const frame of rest) {
    const { position, length } = headerAt(frame, 0)!
    for (let isTaken = false; !isTaken; ) {
      try {
        follower.log.appendFrame(frame, 0, (error) => {
          if (error === undefined && !follower.disk.isDown) done(position + length)
        })
        isTaken = true
      } catch (error) {
        if (!(error instanceof BrokerError && error.code === 'BUSY')) throw error
        follower.settle()
      }
    }
    if (random.chance(0.2)) follower.clock.advance(1500)
    if (random.chance(0.2)) follower.settle()
    if (follower.disk.isDown) throw new SimulatedCrash()
  }
  follower.settle()
}

function checkPrefix(follower: LogSimulation, all: Buffer, start: number, answered: number): void {
  const { log } = follower
  const [damage] = log.damage()
  if (damage !== undefined) throw new Error(`a torn write was taken for damage at ${damage.from}`)
  if (log.end < answered)
    throw new Error(`${answered} was answered for, the log ends at ${log.end}`)
  const found = Buffer.alloc(log.end - start)
  if (!log.readSync(found, 0, logPosition(start), found.length))
    throw new Error('it cannot be read')
  if (!found.equals(all.subarray(0, found.length))) throw new Error('the bytes differ')
}
