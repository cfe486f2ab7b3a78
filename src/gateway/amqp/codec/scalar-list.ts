// The outside of a performative's or a terminus' list, for the readers that take its fields one by
// one.
import { getU32 } from '../../../model/bytes.ts'
import { decodeError } from '../errors.ts'
import { descriptorBytes } from './performatives.ts'
import { skipValue } from './value-size.ts'

/**
 * Elements of the list at `at`, which is known to be whole.
 * @throws AmqpError when there are too many
 */
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

/**
 * The encoded fields of the described list at `at`, each as it came.
 * @throws AmqpError decode-error
 */
export const encodedFields = (bytes: Buffer, at: number, most: number, what: string): Buffer[] =>
  listFields(bytes, at + descriptorBytes(bytes, at, bytes.length), most, what)

/** The same of the list alone. @throws AmqpError decode-error */
export function listFields(bytes: Buffer, list: number, most: number, what: string): Buffer[] {
  const end = skipValue(bytes, list, bytes.length)
  const fields: Buffer[] = []
  let next = listStart(bytes, list)
  for (let left = listCount(bytes, list, most, what); left > 0; left--) {
    const after = skipValue(bytes, next, end)
    fields.push(bytes.subarray(next, after))
    next = after
  }
  return fields
}
