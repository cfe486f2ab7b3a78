// What a controller of AMQP transactions says, for a peer made of bytes.
import rhea from 'rhea'
import { CODE } from '../../../src/gateway/amqp/codec/performatives.ts'
import { ValueWriter } from '../../../src/gateway/amqp/codec/value-writer.ts'
import { frame, source } from './raw-amqp.ts'

/** rhea's typings leave them out. */
export const types = rhea.types as unknown as {
  described(descriptor: unknown, value: unknown): object
  wrap_ulong(value: number): unknown
  wrap_list(values: readonly unknown[]): unknown
  wrap_binary(value: Buffer): unknown
  wrap_symbol(value: string): unknown
}

export const described = (code: number, ...fields: unknown[]): object =>
  types.described(types.wrap_ulong(code), types.wrap_list(fields))

export const binary = (bytes: Buffer): unknown => types.wrap_binary(bytes)

export const inTransaction = (id: Buffer, outcome?: object): object =>
  described(0x34, binary(id), ...(outcome === undefined ? [] : [outcome]))

// rhea has no writer for the state of a transfer, and writes a described body without its
// descriptor.

Object.assign(types, { wrap_delivery_state: (state: object): object => state })

export function declare(globalId?: string): Buffer {
  const writer = new ValueWriter().descriptor(CODE.value).descriptor(CODE.declare)
  if (globalId === undefined) return writer.list(0, () => {}).take()
  return writer.list(1, () => writer.binary(Buffer.from(globalId))).take()
}

export function discharge(txn: Buffer, fail: boolean): Buffer {
  const writer = new ValueWriter().descriptor(CODE.value).descriptor(CODE.discharge)
  return writer.list(2, () => writer.binary(txn).boolean(fail)).take()
}

/** The peer controls transactions by it. */
export const coordinator = (handle: number, fields: object = {}): Buffer =>
  frame('attach', {
    name: 'coordinator',
    handle,
    role: false,
    source: source({}),
    target: described(0x30, types.wrap_symbol('amqp:local-transactions')),
    initial_delivery_count: 0,
    ...fields,
  })
