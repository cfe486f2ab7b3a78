import test from 'ava'
import { Slice } from '../../src/clock.ts'
import { NO_HOST } from '../../src/model/host.ts'
import { lightQueueTopic } from '../../src/model/names.ts'
import type { CommitLog } from '../../src/store/log/commit-log.ts'
import { openCommitLog } from '../../src/store/log/segmented-log.ts'
import { carriedFilters } from '../../src/store/views/carried-filters.ts'
import { type Note, noteDraft } from '../../src/store/views/notes.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogLines } from '../support/log-lines.ts'
import { Random } from '../support/random.ts'
import { SimulatedDisk } from '../support/simulated-disk.ts'

/** A log with a frame for each note. */
async function logOf(notes: readonly Note[]): Promise<CommitLog> {
  const disk = new SimulatedDisk({ random: new Random(1), inPool: setImmediate })
  const log = openCommitLog({
    directory: '/log',
    disk,
    clock: new FakeClock(),
    log: new LogLines(),
    storeHost: NO_HOST,
    flush: 'sync',
  })
  for (const note of notes) {
    await new Promise<void>((resolve) => log.append([noteDraft([note], 1)], [0], () => resolve()))
  }
  return log
}

const queueEnd = (filter: string): Note => ({
  is: 'queueEnd',
  topic: lightQueueTopic(filter),
  queueId: 0,
  nextOffset: 7,
  position: 0,
})

test('a filter is carried when the first that the log says of it is where its queue ends', async (t) => {
  const log = await logOf([
    { is: 'bind', filter: 'bound' },
    queueEnd('bound'),
    queueEnd('carried'),
    { is: 'unbind', filter: 'gone' },
    queueEnd('gone'),
  ])
  const slice = new Slice(new FakeClock())
  t.deepEqual(await carriedFilters(log, log.start, slice, () => slice.rest()), ['carried'])
  await log.close()
})

test('a log that takes long is read in slices', async (t) => {
  const clock = new FakeClock()
  const log = await logOf(Array.from({ length: 20 }, (_, i) => queueEnd(`f${i}`)))
  const monotonic = clock.monotonic.bind(clock)
  let looks = 0
  clock.monotonic = () => monotonic() + looks++ * 10
  let rests = 0
  const slice = new Slice(clock)
  const rest = (): Promise<void> => {
    rests++
    return slice.rest()
  }
  t.is((await carriedFilters(log, log.start, slice, rest)).length, 20)
  t.is(rests, 20)
  await log.close()
})
