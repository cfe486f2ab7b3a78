// What a log knows of its epochs, and what two of them have in common.
import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { silentLogger } from '../../../src/log.ts'
import { type LogPosition, logPosition } from '../../../src/model/positions.ts'
import { EPOCHS_MAX, EpochHistory } from '../../../src/store/log/epochs/epoch-history.ts'
import {
  type EpochStart,
  type LogHistory,
  lastCommon,
} from '../../../src/store/log/epochs/history.ts'
import { headerAt } from '../../../src/store/log/frame.ts'
import { Random } from '../../support/random.ts'
import { LogSimulation } from '../../support/simulation/log-simulation.ts'
import { SimulatedDisk } from '../../support/simulation/simulated-disk.ts'
import { framesOf } from '../../support/store/log-frames.ts'

type Short = readonly [epoch: number, position: number, sum?: number]

const history = (end: number, epochs: readonly Short[], start = 0, logId = 1): LogHistory => ({
  logId,
  start: logPosition(start),
  end: logPosition(end),
  epochs: epochs.map(
    ([epoch, position, sum]): EpochStart => ({ epoch, position: logPosition(position), sum }),
  ),
})

function common(one: LogHistory, other: LogHistory): number | undefined {
  const position = lastCommon(one, other)
  if (position !== lastCommon(other, one)) throw new Error('it depends on which is asked first')
  return position
}

const master = history(900, [
  [1, 0, 11],
  [4, 300, 14],
  [6, 700, 16],
])

test('a log that is behind has all that it has in common with its master', (t) => {
  t.is(common(history(200, [[1, 0, 11]]), master), logPosition(200))
  t.is(common(master, master), logPosition(900))
})

test('what an old master wrote beyond the beginning of the next epoch is not common', (t) => {
  const old = history(1000, [
    [1, 0, 11],
    [4, 300, 14],
  ])
  t.is(common(old, master), logPosition(700))
})

test('an epoch that the other has not is not common, be it higher or lower', (t) => {
  for (const epoch of [5, 9]) {
    const old = history(1000, [
      [1, 0, 11],
      [4, 300, 14],
      [epoch, 650, 15],
    ])
    t.is(common(old, master), logPosition(650))
  }
})

test('two that took the same number for an epoch are told apart by its first frame', (t) => {
  for (const [position, sum] of [
    [700, 99],
    [650, 16],
  ] as const) {
    const old = history(1000, [
      [1, 0, 11],
      [4, 300, 14],
      [6, position, sum],
    ])
    t.is(common(old, master), logPosition(Math.min(position, 700)))
  }
})

test('of an epoch whose beginning is not known the number must do', (t) => {
  const late = history(950, [[6, 720]], 720)
  t.is(common(late, master), logPosition(900))
  t.is(common(history(500, [[4, 320]], 320), master), logPosition(500))
  t.is(common(history(800, [[4, 700]], 700), master), logPosition(700))
  // It has the epoch where the other has another one.
  t.is(common(history(800, [[4, 720]], 720), master), undefined)
  t.is(common(history(800, [[6, 650]], 650), master), undefined)
})

test('with no epoch in common nothing is known to be common, and other logs have nothing', (t) => {
  t.is(common(history(800, [[3, 0, 13]]), master), undefined)
  t.is(common(history(200, [[1, 0, 11]], 0, 2), master), undefined)
})

test('a log that holds nothing contradicts nothing', (t) => {
  t.is(common(history(720, [], 720), master), logPosition(720))
  t.is(common(history(0, []), master), logPosition(0))
})

async function lives(count: number, simulation: LogSimulation): Promise<void> {
  for (let i = 0; i < count; i++) {
    simulation.open()
    simulation.append([100])
    simulation.settle()
    await simulation.close()
  }
}

test('each opening that writes is an epoch, and a follower knows the same', async (t) => {
  const log = new LogSimulation({ seed: 7 })
  await lives(3, log)
  log.open()
  const found = log.log.history
  t.deepEqual(
    found.epochs.map(({ epoch }) => epoch),
    [1, 2, 3],
  )
  t.deepEqual(
    found.epochs.map(({ position }) => position),
    (await framesOf(log, logPosition(0))).map(
      (frame) => headerAt(frame, 0)!.position as LogPosition,
    ),
  )
  t.is(found.end, log.log.end)
  const follower = new LogSimulation({
    seed: 8,
    follows: { logId: log.log.id, start: found.start },
  })
  follower.open()
  for (const frame of await framesOf(log, found.start)) {
    follower.log.appendFrame(frame, 0, () => {})
    follower.settle()
  }
  t.deepEqual(follower.log.history, found)
})

test('it outlives the segments that it is about, kills and power cuts', async (t) => {
  const log = new LogSimulation({ seed: 7 })
  for (let life = 0; life < 6; life++) {
    log.open()
    for (let i = 0; i < 20; i++) {
      log.append([1000])
      log.settle()
    }
    if (life < 4) log.clock.advance(1500)
    log.settle()
    log.restart(life % 2 === 0 ? 'kill' : 'power')
  }
  log.open()
  const before = log.log.history
  t.is(before.epochs.length, 6)
  log.log.dropBefore(log.log.segments().at(-1)!.start)
  log.settle()
  log.restart('power')
  log.open()
  t.true(log.log.start > before.epochs[4]!.position)
  t.deepEqual(log.log.history.epochs, before.epochs)
})

test('an epoch that a promoted log begins in a new segment is known after a kill', async (t) => {
  const log = new LogSimulation({ seed: 7 })
  log.open()
  for (let i = 0; i < 11; i++) {
    log.append([900])
    log.settle()
  }
  const { id, start, end } = log.log
  const follower = new LogSimulation({ seed: 8, follows: { logId: id, start } })
  follower.open()
  for (const frame of await framesOf(log, start)) {
    follower.log.appendFrame(frame, 0, () => {})
    follower.settle()
    // What began so far is noted, and how far that is known.
    if (follower.log.end < 3000) follower.clock.advance(1500)
  }
  follower.log.activate()
  follower.append([3000])
  follower.settle()
  t.is(follower.log.segments().at(-1)!.start, end)
  follower.restart('kill')
  follower.open()
  const { epochs } = follower.log.history
  t.deepEqual(
    epochs.map(({ position, sum }) => [position, sum !== undefined]),
    [
      [logPosition(0), true],
      [end, true],
    ],
  )
})

test('without its file the newest epoch is known, and not where it began', async (t) => {
  const log = new LogSimulation({ seed: 7 })
  log.open()
  for (let i = 0; i < 40; i++) {
    log.append([1000])
    log.settle()
  }
  await log.close()
  log.disk.remove('/log/epochs')
  log.open()
  const { epochs, end } = log.log.history
  t.deepEqual(epochs, [{ epoch: 1, position: log.log.segments().at(-1)!.start, sum: undefined }])
  const whole = history(end, [[1, 0, 11]])
  t.is(common({ ...log.log.history, logId: 1 }, whole), end)
})

test('so many epochs are kept, the newest', (t) => {
  const disk = new SimulatedDisk({ random: new Random(1), inPool: () => {} })
  disk.makeDirectory('/log')
  const log = new EpochHistory(disk, '/log', silentLogger)
  log.open({ logId: 1, end: 0, from: 0, epochs: [] })
  log.settle(1, 0)
  for (let epoch = 1; epoch <= EPOCHS_MAX + 5; epoch++) log.take(epoch, epoch * 100, epoch)
  const end = (EPOCHS_MAX + 6) * 100
  log.save(end)
  const again = new EpochHistory(disk, '/log', silentLogger)
  again.open({ logId: 1, end, from: 100, epochs: [] })
  t.deepEqual(again.before(end), log.before(end))
  t.is(again.before(end).length, EPOCHS_MAX)
  t.is(again.newest, EPOCHS_MAX + 5)
})

test('an epoch begins with a record, not with a mark that another writer could make too', async (t) => {
  const log = new LogSimulation({ seed: 7 })
  await lives(1, log)
  log.open()
  const { end } = log.log
  log.append([10])
  log.settle()
  const second = log.log.history.epochs.at(-1)!
  t.is(second.position, end)
  const follower = new LogSimulation({
    seed: 8,
    follows: { logId: log.log.id, start: log.log.start },
  })
  follower.open()
  for (const frame of await framesOf(log, log.log.start))
    follower.log.appendFrame(frame, 0, () => {})
  follower.settle()
  follower.log.activate()
  const at = follower.log.end
  follower.clock.advance(5000)
  follower.settle()
  t.is(follower.log.end, at)
})

test('a cut is refused where no frame starts, and below what replicas have confirmed', async (t) => {
  const log = new LogSimulation({ seed: 7 })
  log.open()
  const hold = log.log.hold()
  for (let i = 0; i < 4; i++) log.append([100])
  log.settle()
  const [first] = await framesOf(log, logPosition(0))
  hold.confirm(log.log.syncedEnd)
  log.append([100])
  log.settle()
  const { id, confirmedTo } = log.log
  await log.close()
  const refused = (to: number, losesConfirmed = false): string => {
    const cut = { to: logPosition(to), losesConfirmed }
    try {
      log.open({ logId: id, start: logPosition(0), cut })
    } catch (error) {
      return error instanceof BrokerError ? error.code : String(error)
    }
    return 'cut'
  }
  t.is(refused(first!.length + 1), 'CONFIG_INVALID')
  t.is(refused(0), 'CONFIG_INVALID')
  t.is(refused(confirmedTo), 'cut')
  await log.close()
  t.is(refused(0, true), 'cut')
  t.is(log.log.end, logPosition(0))
})
