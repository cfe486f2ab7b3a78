import test from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import { decodeNotes, type Note, noteDraft, noteSubject } from '../../src/store/views/notes.ts'

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
  fc.assert(
    fc.property(fc.array(note), (notes) => {
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
