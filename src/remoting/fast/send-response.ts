// The answer to an accepted SEND, prefabricated: a JSON header with blanks where the numbers go.
// Copying it and patching digits costs a twentieth of building the header anew. JSON allows blanks
// after a value, so every answer has the same length.
import type { Host } from '../../model/host.ts'
import { offsetMessageId } from '../../model/message-id.ts'
import { logPosition } from '../../model/positions.ts'
import { FLAG_RESPONSE, LANGUAGE_DEFAULT, VERSION } from '../codes.ts'
import { Template } from './template.ts'

const INT_DIGITS = 10
const LONG_DIGITS = 16
const POSITION_DIGITS = 16
const HEX = Buffer.from('0123456789ABCDEF')

export class SendResponses {
  readonly #template: Template
  readonly #positionAt: number
  readonly #queueAt: number
  readonly #offsetAt: number
  readonly #opaqueAt: number

  /** Message ids name the store host. */
  constructor(storeHost: Host) {
    const template = new Template()
    template.text('{"code":0,"extFields":{"MSG_REGION":"DefaultRegion","TRACE_ON":"true","msgId":"')
    template.text(offsetMessageId(storeHost, logPosition(0)).slice(0, -POSITION_DIGITS))
    this.#positionAt = template.blanks(POSITION_DIGITS)
    template.text('","queueId":"')
    this.#queueAt = template.blanks(INT_DIGITS + 1)
    template.text(',"queueOffset":"')
    this.#offsetAt = template.blanks(LONG_DIGITS + 1)
    template.text(`},"flag":${FLAG_RESPONSE},"language":"${LANGUAGE_DEFAULT}","opaque":`)
    this.#opaqueAt = template.blanks(INT_DIGITS + 1)
    template.text(`,"serializeTypeCurrentRPC":"JSON","version":${VERSION.v5_3_3}}`)
    this.#template = template
  }

  /** Bytes of one answer. */
  get bytes(): number {
    return this.#template.length
  }

  /** Writes the answer at `target[at]`, which must have room for `bytes`. */
  write(
    target: Buffer,
    at: number,
    opaque: number,
    queueId: number,
    queueOffset: number,
    position: number,
  ): void {
    const template = this.#template
    template.copyTo(target, at)
    putHex(target, at + this.#positionAt, position)
    template.quoted(target, at + this.#queueAt, queueId)
    template.quoted(target, at + this.#offsetAt, queueOffset)
    template.decimal(target, at + this.#opaqueAt, opaque)
  }
}

/** 16 upper-case hex digits of a number below 2^53. */
function putHex(target: Buffer, at: number, value: number): void {
  let low = value >>> 0
  let high = Math.floor(value / 4_294_967_296)
  for (let i = 15; i >= 8; i--) {
    target[at + i] = HEX[low & 15]!
    low >>>= 4
  }
  for (let i = 7; i >= 0; i--) {
    target[at + i] = HEX[high & 15]!
    high >>>= 4
  }
}
