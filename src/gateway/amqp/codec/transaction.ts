// Transactions on the wire (AMQP 4.5): what a controller asks of the coordinator, the state that
// ties a delivery to a transaction, and our answers.
import { decodeError } from '../errors.ts'
import { TRANSACTION_ID_BYTES_MAX } from '../limits.ts'
import { codeOf, FieldList } from './control-frames.ts'
import { CODE, descriptorBytes, descriptorCode } from './performatives.ts'
import { encodedFields } from './scalar-list.ts'
import { Described, ValueReader } from './value-reader.ts'
import { skipValue } from './value-size.ts'
import { ValueWriter } from './value-writer.ts'

/** The capabilities of our coordinator (AMQP 4.5.8). */
const COORDINATOR_CAPABILITIES = [
  'amqp:local-transactions',
  'amqp:multi-txns-per-ssn',
  'amqp:multi-ssns-per-txn',
]

export type CoordinatorRequest =
  /** `isGlobal`: a branch of a distributed transaction. */
  | { readonly kind: 'declare'; readonly isGlobal: boolean }
  | { readonly kind: 'discharge'; readonly txnId: Buffer; readonly fail: boolean }

/** The message for a coordinator that stands in `bytes`. @throws AmqpError decode-error */
export function readCoordinatorRequest(bytes: Buffer): CoordinatorRequest {
  for (let at = 0; at < bytes.length; ) {
    const code = descriptorCode(bytes, at, bytes.length)
    const value = at + descriptorBytes(bytes, at, bytes.length)
    const next = skipValue(bytes, value, bytes.length)
    if (code === CODE.value) return requestOf(new ValueReader(bytes, value, next).read())
    at = next
  }
  throw decodeError('a message for the coordinator without an amqp-value')
}

function requestOf(value: unknown): CoordinatorRequest {
  const code = value instanceof Described ? codeOf(value) : -1
  if (code === CODE.declare) {
    const fields = new FieldList('declare', (value as Described).value)
    return { kind: 'declare', isGlobal: fields.at(0) !== null }
  }
  if (code !== CODE.discharge) {
    throw decodeError('a message for the coordinator is neither declare nor discharge')
  }
  const fields = new FieldList('discharge', (value as Described).value)
  const txnId = fields.binary(0, 'txn-id')
  if (txnId === undefined) throw decodeError('discharge has no txn-id')
  return { kind: 'discharge', txnId, fail: fields.boolean(1, 'fail') }
}

export interface TransactionalState {
  /** A view of the frame. */
  readonly txnId: Buffer
  /** Encoded; undefined when there is none. */
  readonly outcome: Buffer | undefined
}

/** The transactional-state that stands in `bytes`. @throws AmqpError decode-error */
export function readTransactionalState(bytes: Buffer): TransactionalState {
  const [encodedId, outcome] = encodedFields(bytes, 0, 2, 'transactional-state')
  const txnId = encodedId && new ValueReader(encodedId, 0, encodedId.length).read()
  if (!Buffer.isBuffer(txnId)) throw decodeError('transactional-state without a txn-id')
  if (txnId.length > TRANSACTION_ID_BYTES_MAX) throw decodeError('a txn-id of more than 32 bytes')
  return { txnId, outcome: outcome?.[0] === 0x40 ? undefined : outcome }
}

export function transactionalState(txnId: Buffer, outcome: Buffer): Buffer {
  const writer = new ValueWriter()
  writer.descriptor(CODE.transactionalState).list(2, () => writer.binary(txnId).raw(outcome))
  return writer.take()
}

export function declaredState(txnId: Buffer): Buffer {
  const writer = new ValueWriter()
  writer.descriptor(CODE.declared).list(1, () => writer.binary(txnId))
  return writer.take()
}

export function coordinatorTarget(): Buffer {
  const writer = new ValueWriter()
  writer.descriptor(CODE.coordinator).list(1, () => writer.symbolArray(COORDINATOR_CAPABILITIES))
  return writer.take()
}
