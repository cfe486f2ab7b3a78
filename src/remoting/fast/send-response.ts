// The answer to an accepted SEND, prefabricated in both codecs: a header into which the numbers are
// written. Copying it and patching digits costs a twentieth of building the header anew. JSON
// allows blanks after a value, so every such answer has the same length.
import { putU32 } from '../../model/bytes.ts'
import type { Host } from '../../model/host.ts'
import { offsetMessageId } from '../../model/message-id.ts'
import { logPosition } from '../../model/positions.ts'
import { FLAG_RESPONSE, LANGUAGE_DEFAULT, RESPONSE, VERSION } from '../codes.ts'
import { CODEC_JSON, FRAME_PREFIX_BYTES, type HeaderCodec } from '../frame.ts'
import { BinaryAnswer } from './binary-answer.ts'
import { LONG_DIGITS, putDecimal } from './decimal.ts'
import { Template } from './template.ts'

const FIELDS_FROM = '{"code":0,"extFields":{'
const FIELDS_AT = FRAME_PREFIX_BYTES + FIELDS_FROM.length
/** What an id of a transaction takes beside its own characters. */
export const TRANSACTION_ID_BYTES = '"transactionId":"",'.length
const INT_DIGITS = 10
const POSITION_DIGITS = 16
const HEX = Buffer.from('0123456789ABCDEF')

export class SendResponses {
  readonly #template: Template
  readonly #positionAt: number
  readonly #queueAt: number
  readonly #offsetAt: number
  readonly #opaqueAt: number
  readonly #binary: BinaryAnswer

  /** Message ids name the store host. */
  constructor(storeHost: Host) {
    const firstId = offsetMessageId(storeHost, logPosition(0))
    const template = new Template()
    template.text(FIELDS_FROM)
    template.text('"MSG_REGION":"DefaultRegion","TRACE_ON":"true","msgId":"')
    template.text(firstId.slice(0, -POSITION_DIGITS))
    this.#positionAt = template.blanks(POSITION_DIGITS)
    template.text('","queueId":"')
    this.#queueAt = template.blanks(INT_DIGITS + 1)
    template.text(',"queueOffset":"')
    this.#offsetAt = template.blanks(LONG_DIGITS + 1)
    template.text(`},"flag":${FLAG_RESPONSE},"language":"${LANGUAGE_DEFAULT}","opaque":`)
    this.#opaqueAt = template.blanks(INT_DIGITS + 1)
    template.text(`,"serializeTypeCurrentRPC":"JSON","version":${VERSION.v5_3_3}}`)
    this.#template = template
    // The id last, where its position is found.
    const fields = new Map([['MSG_REGION', 'DefaultRegion']])
    fields.set('TRACE_ON', 'true').set('msgId', firstId)
    const numbers = ['queueId', 'queueOffset']
    this.#binary = new BinaryAnswer(RESPONSE.success, undefined, fields, numbers)
  }

  /** The most bytes that one answer has. */
  get bytesMax(): number {
    return Math.max(this.#template.length, this.#binary.bytesMax)
  }

  /**
   * Writes the answer at `target[at]`, which must have room for `bytesMax`.
   * @returns where it ends
   */
  write(
    target: Buffer,
    at: number,
    codec: HeaderCodec,
    opaque: number,
    queueId: number,
    queueOffset: number,
    position: number,
  ): number {
    if (codec !== CODEC_JSON) {
      return this.#writeBinary(target, at, opaque, queueId, queueOffset, position)
    }
    const template = this.#template
    template.copyTo(target, at)
    putHex(target, at + this.#positionAt, position)
    template.quoted(target, at + this.#queueAt, queueId)
    template.quoted(target, at + this.#offsetAt, queueOffset)
    putDecimal(target, at + this.#opaqueAt, opaque)
    return at + template.length
  }

  /** As `write`, of a half message in JSON, with the id of its transaction. */
  writeHalf(
    target: Buffer,
    at: number,
    opaque: number,
    queueId: number,
    queueOffset: number,
    position: number,
    transactionId: string,
  ): number {
    const added = `"transactionId":"${transactionId}",`
    const from = at + added.length
    const end = this.write(target, from, CODEC_JSON, opaque, queueId, queueOffset, position)
    target.copyWithin(at, from, from + FIELDS_AT)
    target.latin1Write(added, at + FIELDS_AT)
    putU32(target, at, end - at - 4)
    putU32(target, at + 4, (CODEC_JSON << 24) | (end - at - FRAME_PREFIX_BYTES))
    return end
  }

  #writeBinary(
    target: Buffer,
    at: number,
    opaque: number,
    queueId: number,
    queueOffset: number,
    position: number,
  ): number {
    const answer = this.#binary
    let end = answer.begin(target, at, opaque)
    putHex(target, end - POSITION_DIGITS, position)
    end = answer.number(target, end, 0, queueId)
    end = answer.number(target, end, 1, queueOffset)
    answer.finish(target, at, end)
    return end
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
