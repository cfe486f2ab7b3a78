// The head of an answer to a PULL, prefabricated like the answer to a SEND; the records follow as
// they came from the log. One template per outcome, since code and remark differ.
import { FLAG_RESPONSE, LANGUAGE_DEFAULT, RESPONSE, VERSION } from '../codes.ts'
import { Template } from './template.ts'

const INT_DIGITS = 10
const LONG_DIGITS = 16

export interface PullOffsets {
  readonly nextOffset: number
  readonly minOffset: number
  readonly maxOffset: number
}

class PullResponse {
  readonly #template = new Template()
  readonly #maxAt: number
  readonly #minAt: number
  readonly #nextAt: number
  readonly #opaqueAt: number

  constructor(code: number, remark: string) {
    const template = this.#template
    template.text(`{"code":${code},"extFields":{"maxOffset":"`)
    this.#maxAt = template.blanks(LONG_DIGITS + 1)
    template.text(',"minOffset":"')
    this.#minAt = template.blanks(LONG_DIGITS + 1)
    template.text(',"nextBeginOffset":"')
    this.#nextAt = template.blanks(LONG_DIGITS + 1)
    template.text(
      `,"suggestWhichBrokerId":"0"},"flag":${FLAG_RESPONSE},"language":"${LANGUAGE_DEFAULT}","opaque":`,
    )
    this.#opaqueAt = template.blanks(INT_DIGITS + 1)
    template.text(
      `,"remark":"${remark}","serializeTypeCurrentRPC":"JSON","version":${VERSION.v5_3_3}}`,
    )
  }

  head(opaque: number, offsets: PullOffsets, recordBytes: number): Buffer {
    const template = this.#template
    const head = Buffer.allocUnsafe(template.length)
    template.copyTo(head, 0, recordBytes)
    template.quoted(head, this.#maxAt, offsets.maxOffset)
    template.quoted(head, this.#minAt, offsets.minOffset)
    template.quoted(head, this.#nextAt, offsets.nextOffset)
    template.decimal(head, this.#opaqueAt, opaque)
    return head
  }
}

/** Outcome of a pull: response code and RocketMQ's name for the status, which clients log. */
export const PULL_OUTCOME = {
  found: { code: RESPONSE.success, remark: 'FOUND' },
  'at-end': { code: RESPONSE.pullNotFound, remark: 'OFFSET_OVERFLOW_ONE' },
  'no-match': { code: RESPONSE.pullRetryImmediately, remark: 'NO_MATCHED_MESSAGE' },
  moved: { code: RESPONSE.pullOffsetMoved, remark: 'OFFSET_TOO_SMALL' },
  reset: { code: RESPONSE.pullOffsetMoved, remark: 'OFFSET_RESET' },
} as const

export type PullOutcome = keyof typeof PULL_OUTCOME

const prefabricated = (outcome: PullOutcome): PullResponse =>
  new PullResponse(PULL_OUTCOME[outcome].code, PULL_OUTCOME[outcome].remark)

const RESPONSES: Record<PullOutcome, PullResponse> = {
  found: prefabricated('found'),
  'at-end': prefabricated('at-end'),
  'no-match': prefabricated('no-match'),
  moved: prefabricated('moved'),
  reset: prefabricated('reset'),
}

/** The frame up to its body of `recordBytes`, in the JSON codec. */
export const pullResponseHead = (
  outcome: PullOutcome,
  opaque: number,
  offsets: PullOffsets,
  recordBytes: number,
): Buffer => RESPONSES[outcome].head(opaque, offsets, recordBytes)
