import test from 'ava'
import fc from 'fast-check'
import { Slice } from '../../../src/clock.ts'
import { BrokerError } from '../../../src/errors.ts'
import { NO_HOST } from '../../../src/model/host.ts'
import { lightQueueTopic } from '../../../src/model/names.ts'
import type { CommitLog } from '../../../src/store/log/commit-log.ts'
import { openCommitLog } from '../../../src/store/log/segmented-log.ts'
import { carriedFilters } from '../../../src/store/views/carried-filters.ts'
import { decodeNotes, type Note, noteDraft, noteSubject } from '../../../src/store/views/notes.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { LogLines } from '../../support/log-lines.ts'
import { Random } from '../../support/random.ts'
import { SimulatedDisk } from '../../support/simulation/simulated-disk.ts'

const number = fc.nat(Number.MAX_SAFE_INTEGER)
const text = fc.string({ unit: 'grapheme' })
const value = fc.option(fc.uint8Array().map((bytes) => Buffer.from(bytes)))
const kind = fc.stringMatching(/^[a-z]{1,32}$/)
const queueId = fc.nat(2 ** 32 - 1)

const note: fc.Arbitrary<Note> = fc.oneof(
  fc.record({ is: fc.constant('fact' as const), kind, key: text, value }),
  fc.record({ is: fc.constant('record' as const), kind, key: text, back: fc.nat(2 ** 31 - 1) }),
  fc.record({ is: fc.constant('fired' as const), dueMs: number, position: number }),
  fc.record({ is: fc.constant('bind' as const), filter: text }),
  fc.record({ is: fc.constant('unbind' as const), filter: text }),
  fc.record({ is: fc.constant('drop' as const), topic: text }),
  fc.record({
    is: fc.constant('queueEnd' as const),
    topic: text,
    queueId,
    nextOffset: number,
    position: number,
  }),
)

test('notes are read back as they were written, in order', (t) => {
  const fired = fc.record({ is: fc.constant('fired' as const), dueMs: number, position: number })
  fc.assert(
    fc.property(fc.oneof(fc.array(note), fc.array(fired)), (notes) => {
      const body = Buffer.from(noteDraft(notes, 1).body)
      t.deepEqual([...decodeNotes(body)], notes)
    }),
  )
})

test('notes that end early are found out', (t) => {
  fc.assert(
    fc.property(note, fc.nat(), (one, cut) => {
      const body = Buffer.from(noteDraft([one], 1).body)
      const length = 1 + (cut % (body.length - 1))
      t.throws(() => [...decodeNotes(body.subarray(0, length))], { instanceOf: BrokerError })
    }),
  )
})

test('a note with an unknown tag is found out', (t) => {
  t.throws(() => [...decodeNotes(Buffer.of(99))], { code: 'STORE_CORRUPT' })
})

test('notes about one thing have one subject, about two things two', (t) => {
  const fact = (key: string): Note => ({ is: 'fact', kind: 'k', key, value: null })
  t.is(noteSubject(fact('a')), noteSubject({ ...fact('a'), value: Buffer.of(1) } as Note))
  t.not(noteSubject(fact('a')), noteSubject(fact('b')))
  t.is(noteSubject({ is: 'bind', filter: 'a' }), noteSubject({ is: 'unbind', filter: 'a' }))
  const end: Note = { is: 'queueEnd', topic: '%LMQ%a', queueId: 0, nextOffset: 1, position: 1 }
  t.is(noteSubject({ is: 'bind', filter: 'a' }), noteSubject(end))
})

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
