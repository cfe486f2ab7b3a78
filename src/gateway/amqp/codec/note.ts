// Annotations that a consumer adds to a message when it hands the message back (AMQP 3.4.5). The
// broker keeps them with the message as a text that only this front-end reads: base64 of keys and
// values, back to back. A native client can write such a property too, so reading checks every
// byte.
import { NOTE_BYTES_MAX } from '../limits.ts'
import { descriptorBytes, OWN_ANNOTATION } from './performatives.ts'
import { listCount, listStart } from './scalar-list.ts'
import { AmqpSymbol, ValueReader } from './value-reader.ts'
import { skipValue } from './value-size.ts'
import { eachEntry } from './wire-form.ts'

const MODIFIED_FIELDS = 3
const ANNOTATIONS_FIELD = 2
const NOTHING = Buffer.alloc(0)

/**
 * The note in the state `modified` at `at`, which is known to decode; undefined when it has none.
 */
export function noteIn(bytes: Buffer, at: number, end: number): string | undefined {
  const list = at + descriptorBytes(bytes, at, end)
  if (listCount(bytes, list, MODIFIED_FIELDS, 'modified') <= ANNOTATIONS_FIELD) return undefined
  let map = listStart(bytes, list)
  for (let field = 0; field < ANNOTATIONS_FIELD; field++) map = skipValue(bytes, map, end)
  const isMap = bytes[map] === 0xc1 || bytes[map] === 0xd1
  if (!isMap) return undefined
  const entries = new Map<string, Buffer>()
  collect(bytes, map + (bytes[map] === 0xc1 ? 3 : 9), skipValue(bytes, map, end), entries)
  for (const key of entries.keys()) if (key.startsWith(OWN_ANNOTATION)) entries.delete(key)
  return entries.size === 0 ? undefined : Buffer.concat([...entries.values()]).toString('base64')
}

/** Both, the later where they name the same; undefined when that is too much to keep. */
export function mergedNote(earlier: string | undefined, later: string): string | undefined {
  const merged = earlier === undefined ? later : withNote(entriesIn(earlier), later)
  const text = typeof merged === 'string' ? merged : merged.toString('base64')
  return text.length <= (NOTE_BYTES_MAX / 3) * 4 ? text : undefined
}

/** A message's own annotations, with the note's instead of those it names too. */
export function withNote(own: Buffer, note: string): Buffer {
  const entries = new Map<string, Buffer>()
  collect(own, 0, own.length, entries)
  const added = entriesIn(note)
  collect(added, 0, added.length, entries)
  return Buffer.concat([...entries.values()])
}

function entriesIn(note: string): Buffer {
  const bytes = Buffer.from(note, 'base64')
  try {
    let values = 0
    for (const reader = new ValueReader(bytes); reader.at < bytes.length; values++) reader.read()
    return values % 2 === 0 ? bytes : NOTHING
  } catch {
    return NOTHING
  }
}

/** Keys are symbols or, reserved, numbers (AMQP 3.2.10). */
function collect(bytes: Buffer, from: number, end: number, into: Map<string, Buffer>): void {
  eachEntry(bytes, from, end, (keyAt, valueAt, next) => {
    const key = new ValueReader(bytes, keyAt, valueAt).read()
    into.set(key instanceof AmqpSymbol ? key.text : String(key), bytes.subarray(keyAt, next))
  })
}
