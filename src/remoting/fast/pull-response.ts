// The head of an answer to a PULL, prefabricated like the answer to a SEND; the records follow as
// they came from the log. One template per outcome and codec, since code and remark differ.
import { FLAG_RESPONSE, LANGUAGE_DEFAULT, RESPONSE, VERSION } from '../codes.ts'
import { CODEC_JSON, type HeaderCodec } from '../frame.ts'
import { BinaryAnswer } from './binary-answer.ts'
import { LONG_DIGITS, putDecimal } from './decimal.ts'
import { Template } from './template.ts'

const INT_DIGITS = 10

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
  readonly #binary: BinaryAnswer

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
    const fields = new Map([['suggestWhichBrokerId', '0']])
    const numbers = ['maxOffset', 'minOffset', 'nextBeginOffset']
    this.#binary = new BinaryAnswer(code, remark, fields, numbers)
  }

  head(codec: HeaderCodec, opaque: number, offsets: PullOffsets, recordBytes: number): Buffer {
    if (codec !== CODEC_JSON) return this.#binaryHead(opaque, offsets, recordBytes)
    const template = this.#template
    const head = Buffer.allocUnsafe(template.length)
    template.copyTo(head, 0, recordBytes)
    template.quoted(head, this.#maxAt, offsets.maxOffset)
    template.quoted(head, this.#minAt, offsets.minOffset)
    template.quoted(head, this.#nextAt, offsets.nextOffset)
    putDecimal(head, this.#opaqueAt, opaque)
    return head
  }

  #binaryHead(opaque: number, offsets: PullOffsets, recordBytes: number): Buffer {
    const answer = this.#binary
    const head = Buffer.allocUnsafe(answer.bytesMax)
    let end = answer.begin(head, 0, opaque)
    end = answer.number(head, end, 0, offsets.maxOffset)
    end = answer.number(head, end, 1, offsets.minOffset)
    end = answer.number(head, end, 2, offsets.nextOffset)
    answer.finish(head, 0, end, recordBytes)
    return head.subarray(0, end)
  }
}

/** Outcome of a pull: response code and RocketMQ's name for the status, which clients log. */
const PULL_OUTCOME = {
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

/** The frame up to its body of `recordBytes`. */
export const pullResponseHead = (
  outcome: PullOutcome,
  codec: HeaderCodec,
  opaque: number,
  offsets: PullOffsets,
  recordBytes: number,
): Buffer => RESPONSES[outcome].head(codec, opaque, offsets, recordBytes)
