// Keys of the views, in byte order as their parts are ordered. The first byte says what a key is
// of:
//
//   'R'                                    the root: identity, mark, sums
//   'Q' topic 00 u32 queueId               a queue: its range, and the number its blocks go by
//   'B' u32 queueNumber u48 block          32 entries of a queue
//   'G' u32 queueNumber                    a number whose blocks are to be cleared
//   'F' kind 00 key                        a fact
//   'D' u48 dueMs u56 position             a parked message
//   'E' u48 minute                         how many of those are due in a minute, and their sum
//   'K' u56 runStart                       a run of the key index
//   'L' u56 runStart u8 bucket             the hashes of a run that begin alike
import { putU16, putU32 } from '../../model/bytes.ts'

const TWO_32 = 4_294_967_296

export const ROOT_KEY = Buffer.from('R')

export type KeyPrefix = 'Q' | 'B' | 'G' | 'F' | 'D' | 'E' | 'K' | 'L'

/** [from, to) of all keys with the prefix. */
export const prefixRange = (prefix: KeyPrefix): [Buffer, Buffer] => [
  Buffer.from(prefix),
  Buffer.of(prefix.charCodeAt(0) + 1),
]

export function queueKey(topic: string, queueId: number): Buffer {
  const name = Buffer.from(topic, 'utf8')
  const key = Buffer.alloc(name.length + 6)
  key[0] = 81
  key.set(name, 1)
  putU32(key, name.length + 2, queueId)
  return key
}

export function parseQueueKey(key: Buffer): { topic: string; queueId: number } {
  const end = key.length - 5
  return { topic: key.toString('utf8', 1, end), queueId: key.readUInt32BE(end + 1) }
}

export const BLOCK_KEY_BYTES = 11

/** Into a buffer of BLOCK_KEY_BYTES that the caller may use again. */
export function writeBlockKey(key: Buffer, queueNumber: number, block: number): Buffer {
  key[0] = 66
  putU32(key, 1, queueNumber)
  putU48(key, 5, block)
  return key
}

/** [from, to) of a queue's blocks before `beforeBlock`. */
export const blockRange = (queueNumber: number, beforeBlock: number): [Buffer, Buffer] => [
  writeBlockKey(Buffer.alloc(BLOCK_KEY_BYTES), queueNumber, 0),
  writeBlockKey(Buffer.alloc(BLOCK_KEY_BYTES), queueNumber, beforeBlock),
]

export const BLOCK_NUMBER_MAX = 2 ** 48 - 1

export function garbageKey(queueNumber: number): Buffer {
  const key = Buffer.alloc(5)
  key[0] = 71
  putU32(key, 1, queueNumber)
  return key
}

export const parseGarbageKey = (key: Buffer): number => key.readUInt32BE(1)

export const factKey = (kind: string, key: string): Buffer =>
  Buffer.from(`F${kind}\u0000${key}`, 'utf8')

export function parseFactKey(bytes: Buffer): { kind: string; key: string } {
  const end = bytes.indexOf(0)
  return { kind: bytes.toString('utf8', 1, end), key: bytes.toString('utf8', end + 1) }
}

export function dueKey(dueMs: number, position: number): Buffer {
  const key = Buffer.alloc(14)
  key[0] = 68
  putU48(key, 1, dueMs)
  putU56(key, 7, position)
  return key
}

export const parseDueKey = (key: Buffer): { dueMs: number; position: number } => ({
  dueMs: getU48(key, 1),
  position: getU56(key, 7),
})

export function minuteKey(minute: number): Buffer {
  const key = Buffer.alloc(7)
  key[0] = 69
  putU48(key, 1, minute)
  return key
}

export const parseMinuteKey = (key: Buffer): number => getU48(key, 1)

export function runKey(runStart: number): Buffer {
  const key = Buffer.alloc(8)
  key[0] = 75
  putU56(key, 1, runStart)
  return key
}

export const parseRunKey = (key: Buffer): number => getU56(key, 1)

export function bucketKey(runStart: number, bucket: number): Buffer {
  const key = Buffer.alloc(9)
  key[0] = 76
  putU56(key, 1, runStart)
  key[8] = bucket
  return key
}

function putU48(b: Uint8Array, at: number, value: number): void {
  putU16(b, at, Math.floor(value / TWO_32))
  putU32(b, at + 2, value >>> 0)
}

function putU56(b: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / TWO_32)
  b[at] = high >>> 16
  putU16(b, at + 1, high & 0xffff)
  putU32(b, at + 3, value >>> 0)
}

const getU48 = (b: Buffer, at: number): number => b.readUIntBE(at, 6)
const getU56 = (b: Buffer, at: number): number => b[at]! * 2 ** 48 + b.readUIntBE(at + 1, 6)
