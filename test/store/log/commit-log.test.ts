import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { logPosition } from '../../../src/model/positions.ts'
import { checkRecord, RecordView } from '../../../src/model/record.ts'
import { FRAME_HEADER_BYTES } from '../../../src/store/log/frame.ts'
import { LogSimulation } from '../../support/simulation/log-simulation.ts'

function opened(options: Partial<ConstructorParameters<typeof LogSimulation>[0]> = {}) {
  const simulation = new LogSimulation({ seed: 7, ...options })
  simulation.open()
  return simulation
}

/** Counts the disk's syncs and writes by file name. */
function watchDisk(simulation: LogSimulation): string[] {
  const seen: string[] = []
  const { disk } = simulation
  const open = disk.open.bind(disk)
  disk.open = (path, mode) => {
    const file = open(path, mode)
    const { write, syncLater } = file
    return Object.assign(file, {
      write(...args: Parameters<typeof write>) {
        seen.push(`write ${path} ${args[2]}`)
        return write.apply(file, args)
      },
      syncLater(...args: Parameters<typeof syncLater>) {
        seen.push(`sync ${path}`)
        syncLater.apply(file, args)
      },
    })
  }
  return seen
}

test('Positions are known at once and the records are there under them once done', async (t) => {
  const simulation = opened()
  const call = simulation.append([10, 20, 30])!
  t.deepEqual(call.appending!.positions[0], logPosition(FRAME_HEADER_BYTES))
  t.is(call.fate, 'open')
  t.is(simulation.log.end, logPosition(0))
  t.is(await simulation.wait(simulation.log.readAt(call.appending!.positions[1]!)), undefined)
  simulation.settle()
  t.is(call.fate, 'acknowledged')
  const record = await simulation.wait(simulation.log.readAt(call.appending!.positions[1]!))
  t.deepEqual(new RecordView(record!).body, call.drafts[1]!.body)
  t.is(checkRecord(record!, 0, record!.length, true), record!.length)
})

test('A position at which no record starts has none', async (t) => {
  const simulation = opened()
  simulation.append([10, 20])
  simulation.settle()
  for (const position of [0, 1, 57, 100, 10_000, -1, 2 ** 52, Number.NaN]) {
    t.is(await simulation.wait(simulation.log.readAt(logPosition(position))), undefined)
  }
})

test('The appends of one turn share one frame, one write and one sync', (t) => {
  const simulation = new LogSimulation({ seed: 7 })
  const seen = watchDisk(simulation)
  simulation.open()
  seen.length = 0
  for (let i = 0; i < 5; i++) simulation.append([10])
  simulation.settle()
  t.is(simulation.frames.length, 1)
  const ofSegment = seen.filter((line) => line.includes('00000000000000000000'))
  t.deepEqual(
    ofSegment.slice(0, 2).map((line) => line.split(' ')[0]),
    ['write', 'sync'],
  )
  t.is(ofSegment.filter((line) => line.startsWith('write')).length, 1)
})

test('Two syncs are under way at most, on two descriptors, and the open frame grows during them', (t) => {
  const simulation = opened()
  const pending: ((error: Error | null) => void)[] = []
  const files = new Set<unknown>()
  const { disk } = simulation
  const open = disk.open.bind(disk)
  disk.open = (path, mode) => {
    const file = open(path, mode)
    return Object.assign(file, {
      syncLater(done: (error: Error | null) => void) {
        files.add(file)
        pending.push(done)
      },
    })
  }
  simulation.restart('kill')
  simulation.open()
  const calls = []
  for (let i = 0; i < 5; i++) {
    calls.push(simulation.append([10])!)
    simulation.settle()
  }
  t.is(pending.length, 2)
  t.is(files.size, 2)
  pending[1]!(null)
  simulation.settle()
  t.deepEqual(
    calls.map((call) => call.fate),
    Array(5).fill('open'),
    'the first is not synced yet',
  )
  pending[0]!(null)
  t.deepEqual(calls.map((call) => call.fate).slice(0, 3), ['acknowledged', 'acknowledged', 'open'])
  t.is(pending.length, 3)
  pending[2]!(null)
  const frames = simulation.frames.map((frame) => frame.end - frame.firstRecord)
  t.is(frames.length, 3)
  t.is(frames[2], frames[0]! * 3, 'the appends that had to wait went out together')
})

test('An append that fits in no frame is refused and leaves no trace', (t) => {
  const simulation = opened()
  const error = t.throws(() => simulation.append([5000]), { instanceOf: BrokerError })
  t.is(error?.code, 'MESSAGE_TOO_LARGE')
  t.regex(error!.message, /limit is 4096/)
  simulation.append([10])
  simulation.settle()
  t.is(simulation.unanswered, 0)
})

test('Properties that the encoding cannot hold are refused and leave no trace', (t) => {
  const simulation = opened()
  const [draft] = simulation.history.plan([10]).drafts
  const broken = { ...draft!, properties: Buffer.alloc(40_000) }
  const error = t.throws(() => simulation.log.append([broken], [0], () => {}), {
    instanceOf: BrokerError,
  })
  t.is(error?.code, 'MESSAGE_INVALID')
  t.is(simulation.log.unsyncedBytes, 0)
})

test('More than the limit of unsynced bytes is refused with BUSY until the disk catches up', (t) => {
  const simulation = opened()
  const [draft] = simulation.history.plan([1000]).drafts
  let done = 0
  const append = () => simulation.log.append([draft!], [0], () => done++)
  const error = t.throws(
    () => {
      for (;;) append()
    },
    { instanceOf: BrokerError },
  )
  t.is(error?.code, 'BUSY')
  t.true(error!.retryable)
  t.true(simulation.log.unsyncedBytes <= 8192)
  simulation.settle()
  t.is(simulation.log.unsyncedBytes, 0)
  t.notThrows(append)
})

test('The tail is answered from memory, older bytes from the segments', (t) => {
  const simulation = opened()
  for (let i = 0; i < 40; i++) {
    simulation.append([1000])
    simulation.settle()
  }
  const target = Buffer.alloc(100)
  const first = simulation.history.calls[0]!.appending!.positions[0]!
  const last = simulation.history.calls.at(-1)!.appending!.positions[0]!
  t.true(simulation.log.copyTail(target, 0, last, 100))
  t.is(new RecordView(target).position, last)
  t.false(simulation.log.copyTail(target, 0, first, 100))
  t.true(simulation.log.readSync(target, 0, first, 100))
  t.is(new RecordView(target).position, first)
  t.false(simulation.log.readSync(target, 0, simulation.log.end, 1))
})

test('A span over several segments reads as one', async (t) => {
  const simulation = opened()
  for (let i = 0; i < 40; i++) {
    simulation.append([1000])
    simulation.settle()
  }
  const { log } = simulation
  t.true(log.segments().length > 3)
  const inOne = Buffer.alloc(log.end)
  t.true(log.readSync(inOne, 0, logPosition(0), log.end))
  const later = Buffer.alloc(log.end)
  t.true(await simulation.wait(log.read(later, 0, logPosition(0), log.end)))
  t.deepEqual(later, inOne)
  for (const call of simulation.history.calls) {
    const at = call.appending!.positions[0]!
    t.is(new RecordView(inOne, at).position, at)
  }
})

test('Replay starts at any end of a frame and gives each later frame once', (t) => {
  const simulation = opened()
  for (let i = 0; i < 30; i++) {
    simulation.append([300, 300])
    simulation.settle()
  }
  const ends = simulation.frames.map((frame) => frame.end)
  for (const [index, end] of ends.entries()) {
    const replayed = [...simulation.log.replay(logPosition(end))].map((frame) => frame.end)
    t.deepEqual(replayed, ends.slice(index + 1) as typeof replayed)
  }
  const fromWithin = [...simulation.log.replay(logPosition(ends[3]! + 10))]
  t.is(fromWithin.length, ends.length - 4, 'a frame that reaches beyond the position is given')
})

test('Dropping removes whole segments before the position, oldest first, never the current one', (t) => {
  const simulation = opened()
  for (let i = 0; i < 40; i++) {
    simulation.append([1000])
    simulation.settle()
  }
  const { log } = simulation
  const before = log.segments()
  log.dropBefore(logPosition(before[2]!.start + 5))
  simulation.settle()
  t.is(log.start, before[2]!.start)
  t.false(log.readSync(Buffer.alloc(1), 0, before[1]!.start, 1))
  log.dropBefore(log.end)
  simulation.settle()
  t.is(log.segments().length, 1)
  simulation.restart('power')
  simulation.open()
  t.is(simulation.log.start, before.at(-1)!.start)
})

test('A segment that cannot be removed is tried again before the next one goes', (t) => {
  const simulation = opened()
  for (let i = 0; i < 40; i++) {
    simulation.append([1000])
    simulation.settle()
  }
  const { log, disk } = simulation
  const before = log.segments()
  const { removeLater } = disk
  disk.removeLater = (_, done) => done(Object.assign(new Error('EIO'), { code: 'EIO' }))
  log.dropBefore(before[2]!.start)
  simulation.settle()
  disk.removeLater = removeLater
  const names = (): string[] =>
    disk
      .list('/log')
      .filter((name) => /^\d+$/.test(name))
      .sort()
  t.is(names()[0], before[0]!.name)
  log.dropBefore(before[2]!.start)
  simulation.settle()
  t.deepEqual(
    names(),
    before.slice(2).map(({ name }) => name),
  )
})

test('With flush async records are readable at once and synced within the window', (t) => {
  const simulation = opened({ flush: 'async' })
  const call = simulation.append([10])!
  simulation.settle()
  t.is(call.fate, 'acknowledged')
  t.is(simulation.log.syncedEnd, logPosition(0))
  t.true(simulation.log.end > 0)
  simulation.clock.advance(100)
  simulation.settle()
  t.is(simulation.log.syncedEnd, simulation.log.end)
})

test('A sync on demand covers what was appended before it', (t) => {
  const simulation = opened({ flush: 'async' })
  simulation.append([10])
  let synced = -1
  simulation.log.sync((error) => {
    t.is(error, undefined)
    synced = simulation.log.syncedEnd
  })
  simulation.settle()
  t.is(synced, simulation.log.end)
  let again = false
  simulation.log.sync(() => {
    again = true
  })
  t.false(again, 'never from within the call')
  simulation.settle()
  t.true(again)
})

test('Closing settles what is under way, marks the end and refuses what comes later', async (t) => {
  const simulation = opened()
  const call = simulation.append([10])!
  await simulation.close()
  t.is(call.fate, 'acknowledged')
  const error = t.throws(() => simulation.append([10]), { instanceOf: BrokerError })
  t.is(error?.code, 'CLOSED')
  const marker = simulation.disk.contentOf('/log/epoch').toString('latin1')
  t.true(marker.includes(`end ${simulation.log.end} `), marker)
  await simulation.wait(simulation.log.close())
})

test('A failed sync is never repeated: the log stops with the reason and the remedy, and reads go on', (t) => {
  const simulation = opened()
  const kept = simulation.append([10])!
  simulation.settle()
  const changes: unknown[] = []
  simulation.log.onVoid(() => changes.push('void'))
  simulation.log.onWritable((writable) => changes.push(writable))
  for (let call = 1; call < 9; call++)
    simulation.disk.failAt(simulation.disk.calls + 1 + call, 'EIO')
  const lost = simulation.append([10])!
  const later = simulation.append([10])!
  simulation.settle()
  t.is(lost.fate, 'refused')
  t.is(later.fate, 'refused')
  t.deepEqual(changes, ['void', false])
  t.false(simulation.log.writable)
  t.regex(simulation.log.reason!, /EIO.*look at the disk/)
  t.is(simulation.append([10]), undefined)
  simulation.checkReadable()
  t.is(kept.fate, 'acknowledged')
  simulation.clock.advance(60_000)
  simulation.settle()
  t.false(simulation.log.writable)
})

test('A full disk stops messages while facts go on, and space given back resumes it', (t) => {
  const simulation = opened({ capacityBytes: 26_000 })
  simulation.clock.advance(12_000)
  simulation.settle()
  const changes: boolean[] = []
  simulation.log.onWritable((writable) => changes.push(writable))
  while (simulation.log.writable) {
    simulation.append([500])
    simulation.settle()
  }
  t.is(simulation.unanswered, 0)
  t.deepEqual(changes, [false])
  t.regex(simulation.log.reason!, /'\/log' is full; free some space, 1 MiB are enough/)
  const [draft] = simulation.history.plan([200]).drafts
  const answers: unknown[] = []
  const error = t.throws(() => simulation.log.append([draft!], [0], () => {}), {
    instanceOf: BrokerError,
  })
  t.is(error?.code, 'READ_ONLY')
  for (let i = 0; i < 5; i++) {
    simulation.log.append([draft!], [0], (failure) => answers.push(failure), true)
    simulation.settle()
  }
  t.deepEqual(answers, Array(5).fill(undefined))
  simulation.clock.advance(5000)
  simulation.settle()
  t.false(simulation.log.writable, 'there is still no room for the reserve')
  simulation.disk.capacityBytes = 80_000
  simulation.clock.advance(1000)
  simulation.settle()
  t.true(simulation.log.writable)
  t.deepEqual(changes, [false, true])
  t.is(simulation.append([500])?.fate, 'open')
  simulation.settle()
  t.is(simulation.unanswered, 0)
})

test('A log that finds the disk full at its opening is readable and resumes later', (t) => {
  const simulation = opened({ capacityBytes: 26_000 })
  while (simulation.log.writable) {
    simulation.append([500])
    simulation.settle()
  }
  simulation.disk.capacityBytes = 0
  simulation.restart('kill')
  simulation.open()
  t.false(simulation.log.writable)
  simulation.checkReadable()
  simulation.disk.capacityBytes = 80_000
  simulation.clock.advance(1000)
  simulation.settle()
  t.true(simulation.log.writable)
  simulation.append([100])
  simulation.settle()
  simulation.restart('power')
  simulation.open()
  simulation.judge()
})

for (const code of ['EMFILE', 'ENFILE']) {
  test(`A process short of descriptors (${code}) stops at the next segment and goes on once it has some`, (t) => {
    const simulation = opened()
    simulation.append([700])
    simulation.settle()
    simulation.disk.openFault = code
    for (let i = 0; simulation.log.writable; i++) {
      t.true(i < 100)
      simulation.append([700])
      simulation.settle()
    }
    t.true(simulation.log.end > 4000, 'it went on to the end of the segment')
    t.regex(simulation.log.reason!, /raise the limit of open files, writing goes on by itself/)
    t.is(simulation.unanswered, 0)
    simulation.clock.advance(3000)
    simulation.settle()
    t.false(simulation.log.writable)
    simulation.disk.openFault = undefined
    simulation.checkReadable()
    simulation.clock.advance(1000)
    simulation.settle()
    t.true(simulation.log.writable)
    for (let i = 0; i < 20; i++) {
      simulation.append([700])
      simulation.settle()
    }
    simulation.restart('power')
    simulation.open()
    simulation.judge()
  })
}

test('A log without room for a reserve goes on after a shortage of descriptors as it was before', (t) => {
  const simulation = opened({ seed: 1, capacityBytes: 1_000_000 })
  const { disk } = simulation
  const stop = (): void => {
    disk.openFault = 'EMFILE'
    for (let i = 0; simulation.log.writable; i++) {
      t.true(i < 100)
      simulation.append([700])
      simulation.settle()
    }
  }
  const probe = (): void => {
    simulation.clock.advance(1000)
    simulation.settle()
  }
  stop()
  disk.openFault = undefined
  disk.capacityBytes -= disk.freeBytes() - 8000
  probe()
  t.true(simulation.log.writable)
  disk.capacityBytes = 1_000_000
  stop()
  t.regex(simulation.log.reason!, /EMFILE/)
  disk.openFault = undefined
  // Not even the zeros of a new segment fit: from here on it is the space that must come back.
  disk.capacityBytes -= disk.freeBytes() - 1000
  probe()
  disk.capacityBytes += 8000
  probe()
  t.false(simulation.log.writable)
  disk.capacityBytes += 8000
  probe()
  t.true(simulation.log.writable)
  simulation.checkReadable()
  simulation.restart('power')
  simulation.open()
  simulation.judge()
})

for (const spare of [0, 1, 2, 3, 4, 5]) {
  test(`A log that waits for descriptors while ${spare} can be had loses none of them`, async (t) => {
    const simulation = opened()
    const { disk } = simulation
    simulation.append([700])
    simulation.settle()
    const before = disk.openFiles
    disk.openFault = 'EMFILE'
    disk.openFilesMax = before
    for (let i = 0; simulation.log.writable; i++) {
      t.true(i < 100)
      simulation.append([700])
      simulation.settle()
    }
    for (let probe = 0; probe < 5; probe++) {
      const open = disk.openFiles
      disk.openFilesMax = open + spare
      simulation.clock.advance(1000)
      simulation.settle()
      t.true(disk.openFiles <= before)
    }
    disk.openFault = undefined
    simulation.clock.advance(1000)
    simulation.settle()
    t.true(simulation.log.writable)
    simulation.checkReadable()
    await simulation.close()
    t.is(disk.openFiles, 0)
  })
}

test('Records are only ever written over zeros that are in the file already', (t) => {
  const simulation = new LogSimulation({ seed: 3 })
  const { disk } = simulation
  const open = disk.open.bind(disk)
  let records = 0
  disk.open = (path, mode) => {
    const file = open(path, mode)
    const { write } = file
    return Object.assign(file, {
      write(bytes: Uint8Array, at: number, length: number, position: number) {
        const before = disk.contentOf(path).subarray(position, position + length)
        t.is(before.length, length, 'the file does not grow')
        t.true(before.every((byte) => byte === 0))
        records++
        return write.call(file, bytes, at, length, position)
      },
    })
  }
  simulation.open()
  for (let i = 0; i < 60; i++) {
    simulation.append([700])
    simulation.settle()
  }
  t.true(records > 50)
  t.true(simulation.log.segments().length > 3)
})

test('While the log closes, an append from a callback is refused and none waits for ever', async (t) => {
  const simulation = opened({ flush: 'async' })
  const [draft] = simulation.history.plan([10]).drafts
  const answers: string[] = []
  simulation.log.append([draft!], [0], () => {
    answers.push('done')
    const error = t.throws(() => simulation.log.append([draft!], [1], () => {}), {
      instanceOf: BrokerError,
    })
    answers.push(error!.code)
  })
  await simulation.close()
  t.deepEqual(answers, ['done', 'CLOSED'])
})
