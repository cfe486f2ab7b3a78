// The outside of a performative's list, for the readers that take its fields one by one.
import { getU32 } from '../../model/bytes.ts'
import { decodeError } from './errors.ts'

/** Elements of the list at `at`, which is known to be whole. @throws AmqpError when there are too many */
export function listCount(bytes: Buffer, at: number, most: number, what: string): number {
  const code = bytes[at]
  const count =
    code === 0xc0 ? bytes[at + 2]! : code === 0xd0 ? getU32(bytes, at + 5) : code === 0x45 ? 0 : -1
  if (count < 0 || count > most) throw decodeError(`${what} is no list of at most ${most} fields`)
  return count
}

/** Where the first element begins. */
export function listStart(bytes: Buffer, at: number): number {
  const code = bytes[at]
  return at + (code === 0xc0 ? 3 : code === 0xd0 ? 9 : 1)
}
