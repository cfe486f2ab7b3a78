// The records of the state topic. A key of the topic is a state or the claims of one, so that what
// a compaction keeps, the newest record of each key, says all there is to know of it:
//
//   0 u8 form   1 u8 kind   2 u48 number   8 u48 expected   14 u48 nonce   20 u8 length, gateway
//   . u16 length, id   . value
import { createHash } from 'node:crypto'
import type { RecordView } from '../../model/record.ts'

const FORM = 1
const HEAD_BYTES = 20
const U48_MAX = 2 ** 48 - 1

/** Their numbers are part of the form. */
export const KINDS = [
  'put',
  'remove',
  'kept',
  'claim',
  'claimFree',
  'take',
  'release',
  'owned',
  'beat',
  'layout',
  'snapshot',
  'snapshotEnd',
] as const

export type StateKind = (typeof KINDS)[number]

const OF_CLAIMS: ReadonlySet<StateKind> = new Set([
  'claim',
  'claimFree',
  'take',
  'release',
  'owned',
])

export interface StateRecord {
  readonly kind: StateKind
  /** The state; empty for the beat of a gateway and for the layout. */
  readonly id: string
  /** The process that wrote it. */
  readonly gateway: string
  /** By it the writer knows its record again. */
  readonly nonce: number
  /**
   * The claim that a change is made with or that is taken, released or owned; 0: none. Of what is
   * kept: the version that it has. Of a snapshot: the offset that it reaches.
   */
  readonly number: number
  /**
   * Of a change: the version that it replaces; `ANY_VERSION`: whichever. Of a part of a snapshot:
   * which part.
   */
  readonly expected: number
  readonly value: Buffer
}

export const ANY_VERSION = U48_MAX

/** The record's KEYS: the whole text is the key, and a state's id may be longer than one may be. */
export function keyOf({ kind, id, gateway, expected }: Omit<StateRecord, 'nonce'>): string {
  if (kind === 'beat') return `g-${gateway}`
  if (kind === 'layout') return 'layout'
  if (kind === 'snapshot') return `n-${expected}`
  if (kind === 'snapshotEnd') return `e-${id}`
  const digest = createHash('sha256').update(id).digest('base64url')
  return `${OF_CLAIMS.has(kind) ? 'c' : 's'}-${digest}`
}

export function encodeStateRecord(record: StateRecord): Buffer {
  const gateway = Buffer.from(record.gateway)
  const id = Buffer.from(record.id)
  const head = Buffer.alloc(HEAD_BYTES + 1 + gateway.length + 2 + id.length)
  head[0] = FORM
  head[1] = KINDS.indexOf(record.kind)
  head.writeUIntBE(record.number, 2, 6)
  head.writeUIntBE(record.expected, 8, 6)
  head.writeUIntBE(record.nonce, 14, 6)
  head[HEAD_BYTES] = gateway.length
  head.set(gateway, HEAD_BYTES + 1)
  head.writeUInt16BE(id.length, HEAD_BYTES + 1 + gateway.length)
  head.set(id, HEAD_BYTES + 3 + gateway.length)
  return Buffer.concat([head, record.value])
}

/** undefined: it is none of ours. The value is a copy. */
export function decodeStateRecord({ body }: Pick<RecordView, 'body'>): StateRecord | undefined {
  if (body.length < HEAD_BYTES + 3 || body[0] !== FORM) return undefined
  const kind = KINDS[body[1]!]
  const idLengthAt = HEAD_BYTES + 1 + body[HEAD_BYTES]!
  if (kind === undefined || idLengthAt + 2 > body.length) return undefined
  const idAt = idLengthAt + 2
  const valueAt = idAt + body.readUInt16BE(idLengthAt)
  if (valueAt > body.length) return undefined
  return {
    kind,
    number: body.readUIntBE(2, 6),
    expected: body.readUIntBE(8, 6),
    nonce: body.readUIntBE(14, 6),
    gateway: body.toString('utf8', HEAD_BYTES + 1, idLengthAt),
    id: body.toString('utf8', idAt, valueAt),
    value: ownBytes(body, valueAt),
  }
}

/** Not out of the pool: a state that is kept would keep the whole slab that it lies in. */
function ownBytes(bytes: Buffer, from: number): Buffer {
  if (from === bytes.length) return EMPTY
  const own = Buffer.allocUnsafeSlow(bytes.length - from)
  bytes.copy(own, 0, from)
  return own
}

const EMPTY = Buffer.alloc(0)
