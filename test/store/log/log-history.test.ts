// The judge of the crash tests is judged itself: each kind of broken promise, planted, must be
// found.
import test from 'ava'
import { NO_HOST } from '../../../src/model/host.ts'
import { logPosition } from '../../../src/model/positions.ts'
import { RecordView, recordBytes, writeRecord } from '../../../src/model/record.ts'
import { type Found, foundRecord, LogHistory } from '../../support/simulation/log-history.ts'

/**
 * Five calls of two records, the last two unanswered, and all that a perfect log would show of
 * them.
 */
function perfect(): { history: LogHistory; found: Found[] } {
  const history = new LogHistory()
  const found: Found[] = []
  let position = 0
  for (let i = 0; i < 5; i++) {
    const call = history.plan([20, 30])
    const positions = call.drafts.map((draft, index) => {
      const at = logPosition(position)
      const bytes = Buffer.alloc(recordBytes(draft))
      const queueOffset = call.queueOffsets[index]!
      const place = { queueOffset, position, storeTimestamp: 1, storeHost: NO_HOST }
      position += writeRecord(bytes, 0, draft, place)
      found.push(foundRecord(new RecordView(bytes)))
      return at
    })
    call.appending = { positions, storeTimestamp: 1 }
    history.calls.push(call)
  }
  for (const call of history.calls.slice(0, 3)) history.answered(call, 'acknowledged')
  return { history, found }
}

const BROKEN: Record<string, [spoil: (found: Found[]) => Found[], message: RegExp]> = {
  'an acknowledged record that is lost': [
    (found) => found.toSpliced(2, 2),
    /acknowledged and is lost/,
  ],
  'half of an append': [(found) => found.slice(0, -1), /without its record 1/],
  'the first half missing': [(found) => found.toSpliced(8, 1), /without its record 0/],
  'two appends that changed places': [
    (found) => [...found.slice(2, 4), ...found.slice(0, 2), ...found.slice(4)],
    /comes after/,
  ],
  'an append that is there twice': [(found) => [...found, ...found.slice(8)], /there twice/],
  'a later append without the one before it': [
    (found) => found.toSpliced(6, 2),
    /before it is not/,
  ],
  'a record that was not sent': [(found) => [...found, { ...found[9]!, callId: 77 }], /invented/],
  'a record at another place than was told': [
    (found) => found.with(0, { ...found[0]!, position: 5 }),
    /told was/,
  ],
  'a record with other bytes': [
    (found) => {
      const bytes = Buffer.from(found[0]!.bytes)
      bytes[100] = bytes[100]! ^ 1
      return found.with(0, { ...found[0]!, bytes })
    },
    /not what was appended/,
  ],
}

test('A log that shows all, or all but the newest unanswered appends, keeps its promises', (t) => {
  for (const records of [10, 8, 6]) {
    const { history, found } = perfect()
    t.notThrows(() => history.judge(found.slice(0, records)))
  }
})

for (const [what, [spoil, message]] of Object.entries(BROKEN)) {
  test(`Found out: ${what}`, (t) => {
    const { history, found } = perfect()
    t.throws(() => history.judge(spoil(found)), { message })
  })
}

test('Found out: a refused append that is there, and a cut one that comes back', (t) => {
  const { history, found } = perfect()
  history.answered(history.calls[3]!, 'refused')
  t.throws(() => history.judge(found), { message: /was refused and is there/ })
  const other = perfect()
  other.history.judge(other.found.slice(0, 6))
  t.throws(() => other.history.judge(other.found), { message: /was gone and is back/ })
})

test('Found out: answers out of order', (t) => {
  const { history } = perfect()
  t.throws(() => history.answered(history.calls[4]!, 'acknowledged'), { message: /before call 3/ })
})
