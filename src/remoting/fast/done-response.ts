// The answers of requests that need no more than SUCCESS, in JSON, many in one piece of memory.
import { FLAG_RESPONSE, LANGUAGE_DEFAULT, RESPONSE, VERSION } from '../codes.ts'
import { putDecimal } from './decimal.ts'
import { Template } from './template.ts'

const INT_DIGITS = 10

const template = new Template()
template.text(
  `{"code":${RESPONSE.success},"flag":${FLAG_RESPONSE},"language":"${LANGUAGE_DEFAULT}","opaque":`,
)
const opaqueAt = template.blanks(INT_DIGITS + 1)
template.text(`,"serializeTypeCurrentRPC":"JSON","version":${VERSION.v5_3_3}}`)

/** One frame for each of these correlation ids. */
export function doneResponses(opaques: readonly number[]): Buffer {
  const { length } = template
  const frames = Buffer.allocUnsafe(length * opaques.length)
  for (let i = 0; i < opaques.length; i++) {
    template.copyTo(frames, i * length)
    putDecimal(frames, i * length + opaqueAt, opaques[i]!)
  }
  return frames
}
