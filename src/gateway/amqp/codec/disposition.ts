// disposition and the states it carries (AMQP 2.7.6, 3.4): a range of deliveries and what became of
// them.
import { putU32 } from '../../../model/bytes.ts'
import { decodeError, type ErrorDescription, shortDescription } from '../errors.ts'
import { codeOf, FieldList, readError } from './control-frames.ts'
import { noteIn } from './note.ts'
import { CODE, descriptorBytes, descriptorCode } from './performatives.ts'
import { listCount, listStart } from './scalar-list.ts'
import { readTransactionalState } from './transaction.ts'
import { booleanAt, uintAt, writeFrameStart } from './transfer.ts'
import { type AmqpValue, Described, Timestamp, ValueReader } from './value-reader.ts'
import { skipValue } from './value-size.ts'
import { ValueWriter } from './value-writer.ts'

const FIELDS_MAX = 6
const NOTHING = Buffer.alloc(0)

/** A receiver's outcome for a delivery. */
export type Outcome =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'released' }
  | { readonly kind: 'rejected'; readonly reason: string }
  | {
      readonly kind: 'modified'
      readonly failed: boolean
      readonly isNotHere: boolean
      /** When to deliver again, epoch ms (annotation x-opt-delivery-time). */
      readonly deliverAtMs: number | undefined
      readonly delayMs: number | undefined
      /** The receiver's additions to the message's annotations, in the form of note.ts. */
      readonly note: string | undefined
    }

export const ACCEPTED: Outcome = { kind: 'accepted' }
export const RELEASED: Outcome = { kind: 'released' }
/** Modified with delivery-failed: counted, and delivered again after the group's delay. */
export const FAILED: Outcome & { kind: 'modified' } = {
  kind: 'modified',
  failed: true,
  isNotHere: false,
  deliverAtMs: undefined,
  delayMs: undefined,
  note: undefined,
}

export class Disposition {
  /** The peer speaks as receiver, of deliveries we sent. */
  isReceiver = false
  first = 0
  last = 0
  settled = false
  /** undefined: no state, or one that is no outcome. */
  outcome: Outcome | undefined
  /** The encoded state, a view of the frame. */
  state: Buffer = NOTHING
  /** Of the transaction that the outcome belongs to; a view of the frame. */
  txnId: Buffer | undefined

  /** @throws AmqpError decode-error */
  read(bytes: Buffer, at: number, end: number): void {
    this.outcome = this.txnId = undefined
    this.isReceiver = this.settled = false
    this.first = this.last = -1
    const list = at + descriptorBytes(bytes, at, end)
    if (skipValue(bytes, list, end) !== end) throw decodeError('bytes behind disposition')
    const count = listCount(bytes, list, FIELDS_MAX, 'disposition')
    let next = listStart(bytes, list)
    for (let field = 0; field < count; field++) {
      const after = skipValue(bytes, next, end)
      if (bytes[next] !== 0x40) this.#field(field, bytes, next, after)
      next = after
    }
    if (next !== end) throw decodeError("disposition's size does not match its fields")
    if (this.first < 0) throw decodeError('disposition without first')
    if (this.last < 0) this.last = this.first
  }

  #field(field: number, bytes: Buffer, at: number, end: number): void {
    switch (field) {
      case 0:
        this.isReceiver = booleanAt(bytes, at)
        break
      case 1:
        this.first = uintAt(bytes, at)
        break
      case 2:
        this.last = uintAt(bytes, at)
        break
      case 3:
        this.settled = booleanAt(bytes, at)
        break
      case 4:
        this.state = bytes.subarray(at, end)
        this.#readState(this.state)
        break
      default:
    }
  }

  #readState(state: Buffer): void {
    if (descriptorCode(state, 0, state.length) !== CODE.transactionalState) {
      this.outcome = readOutcome(state, 0, state.length)
      return
    }
    const { txnId, outcome } = readTransactionalState(state)
    this.txnId = txnId
    if (outcome !== undefined) this.outcome = readOutcome(outcome, 0, outcome.length)
  }
}

/** The outcome encoded at `at`; undefined for received or an unknown one. */
function readOutcome(bytes: Buffer, at: number, end: number): Outcome | undefined {
  const code = descriptorCode(bytes, at, end)
  if (code === CODE.accepted) return ACCEPTED
  if (code === CODE.released) return RELEASED
  if (code !== CODE.rejected && code !== CODE.modified) return undefined
  const value = new ValueReader(bytes, at, end).read()
  const outcome = value instanceof Described ? outcomeOf(value) : undefined
  return outcome?.kind === 'modified' ? { ...outcome, note: noteIn(bytes, at, end) } : outcome
}

/** For states inside other values: a source's default-outcome. */
export function outcomeOf(state: Described): Outcome | undefined {
  const code = codeOf(state)
  if (code === CODE.accepted) return ACCEPTED
  if (code === CODE.released) return RELEASED
  if (code === CODE.rejected) return rejectedOf(new FieldList('rejected', state.value))
  if (code === CODE.modified) return modifiedOf(new FieldList('modified', state.value))
  return undefined
}

function rejectedOf(fields: FieldList): Outcome {
  const error = readError(fields.described(0, 'error'))
  const parts = [error?.condition, error?.description].filter((part) => part)
  return { kind: 'rejected', reason: parts.join(': ') || 'rejected by the consumer' }
}

function modifiedOf(fields: FieldList): Outcome {
  const annotations = fields.map(2, 'message-annotations')
  return {
    kind: 'modified',
    failed: fields.boolean(0, 'delivery-failed'),
    isNotHere: fields.boolean(1, 'undeliverable-here'),
    deliverAtMs: millisecondsOf(annotations.get('x-opt-delivery-time')),
    delayMs: millisecondsOf(annotations.get('x-opt-delivery-delay')),
    note: undefined,
  }
}

/** A number or timestamp that is a time; anything else counts as absent. */
export function millisecondsOf(value: AmqpValue | undefined): number | undefined {
  const ms = value instanceof Timestamp ? value.ms : value
  return typeof ms === 'number' && Number.isSafeInteger(ms) && ms >= 0 ? ms : undefined
}

/** Encoded states, made once. */
export const STATE = {
  none: new ValueWriter().null().take(),
  accepted: new ValueWriter().descriptor(CODE.accepted).list(0, nothing).take(),
  released: new ValueWriter().descriptor(CODE.released).list(0, nothing).take(),
} as const

function nothing(): void {
  // An empty list has no elements to write.
}

/** A rejection and why. */
export function rejectedState(error: ErrorDescription): Buffer {
  const writer = new ValueWriter()
  return writer
    .descriptor(CODE.rejected)
    .list(1, () => {
      writer.descriptor(CODE.error).list(2, () => {
        writer.symbol(error.condition).string(shortDescription(error.description))
      })
    })
    .take()
}

/** Bytes of a disposition frame beside its state; a bound for buffer room. */
export const DISPOSITION_BYTES_MAX = 40

export interface DispositionRange {
  channel: number
  /** We speak as the receiver of these deliveries. */
  isReceiver: boolean
  first: number
  last: number
  settled: boolean
  state: Buffer
}

/** Writes a whole disposition frame at `out[at...]`. */
export function writeDisposition(out: Buffer, at: number, range: DispositionRange): number {
  const list = writeFrameStart(out, at, range.channel, CODE.disposition)
  let p = list + 9
  out[p++] = range.isReceiver ? 0x41 : 0x42
  out[p] = 0x70
  putU32(out, p + 1, range.first)
  out[p + 5] = 0x70
  putU32(out, p + 6, range.last)
  out[p + 10] = range.settled ? 0x41 : 0x42
  p += 11
  out.set(range.state, p)
  p += range.state.length
  out[list] = 0xd0
  putU32(out, list + 1, p - list - 5)
  putU32(out, list + 5, 5)
  putU32(out, at, p - at)
  return p
}
