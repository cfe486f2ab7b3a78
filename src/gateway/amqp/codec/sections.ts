// Where the sections of an encoded message lie (AMQP 3.2), found by sizes alone: a body passes
// through without being decoded. One instance is reused for message after message.
//
//   [header] [delivery-annotations] [message-annotations] | [properties] [application-properties]
//   data* or sequence* or value [footer]                  | <- the bare message, kept byte for byte
import { AmqpError, CONDITION } from '../errors.ts'
import { SECTIONS_PER_MESSAGE_MAX } from '../limits.ts'
import { CODE, descriptorBytes, descriptorCode } from './performatives.ts'
import { skipValue } from './value-size.ts'

/** The form of the body for readers of another protocol. */
export const BODY = {
  /** One data section: its bytes. */
  data: 0,
  /** One value section with a string: its UTF-8 bytes. */
  string: 1,
  /** One value section with a binary: its bytes. */
  binary: 2,
  /** Anything else: the encoded sections as they are. */
  encoded: 3,
} as const

export type BodyForm = (typeof BODY)[keyof typeof BODY]

const VALUE_KIND: ReadonlyMap<number, string> = new Map([
  [CODE.header, 'list'],
  [CODE.deliveryAnnotations, 'map'],
  [CODE.messageAnnotations, 'map'],
  [CODE.properties, 'list'],
  [CODE.applicationProperties, 'map'],
  [CODE.data, 'binary'],
  [CODE.sequence, 'list'],
  [CODE.value, 'any'],
  [CODE.footer, 'map'],
])

/** Every field is a position in the scanned buffer; a section that is missing has start === end. */
export class Sections {
  start = 0
  end = 0
  /** The header's value, behind its descriptor. */
  headerAt = 0
  headerEnd = 0
  /** The annotations' map, behind its descriptor. */
  annotationsAt = 0
  annotationsEnd = 0
  /** Whole sections: properties and application properties stand back to back before the body. */
  propertiesAt = 0
  propertiesEnd = 0
  /** The properties' list and the application properties' map, behind their descriptors. */
  propertyListAt = 0
  applicationAt = 0
  applicationEnd = 0
  bodyAt = 0
  bodyEnd = 0
  form: BodyForm = BODY.encoded
  /** The bytes that are the message's body to others. */
  contentAt = 0
  contentEnd = 0
  /** Bytes of the content's length, 1 or 4, right before it; 0 for encoded sections. */
  lengthBytes = 0

  /** @throws AmqpError decode-error; the link and its connection can go on */
  scan(bytes: Buffer, start: number, end: number): void {
    this.#clear(start, end)
    let last = 0
    let left = SECTIONS_PER_MESSAGE_MAX
    for (let at = start; at < end; ) {
      if (left-- === 0) throw badMessage(`more than ${SECTIONS_PER_MESSAGE_MAX} sections`)
      const code = descriptorCode(bytes, at, end)
      const valueAt = at + descriptorBytes(bytes, at, end)
      checkPlace(code, last)
      checkKind(code, bytes[valueAt]!)
      const next = skipValue(bytes, valueAt, end)
      this.#place(code, at, valueAt, next)
      if (code >= CODE.data && code !== CODE.footer) this.#body(bytes, code, last, valueAt, next)
      last = code
      at = next
    }
    if (this.form === BODY.encoded) {
      this.lengthBytes = 0
      this.contentAt = this.bodyAt
      this.contentEnd = this.bodyEnd
    }
  }

  #clear(start: number, end: number): void {
    this.start = start
    this.end = end
    this.headerAt = this.headerEnd = start
    this.annotationsAt = this.annotationsEnd = start
    this.propertiesAt = this.propertiesEnd = this.propertyListAt = start
    this.applicationAt = this.applicationEnd = start
    this.bodyAt = this.bodyEnd = start
    this.form = BODY.encoded
  }

  #place(code: number, at: number, valueAt: number, next: number): void {
    switch (code) {
      case CODE.header:
        this.headerAt = valueAt
        this.headerEnd = next
        break
      case CODE.deliveryAnnotations:
        break
      case CODE.messageAnnotations:
        this.annotationsAt = valueAt
        this.annotationsEnd = next
        break
      case CODE.properties:
        this.propertiesAt = at
        this.propertyListAt = valueAt
        this.propertiesEnd = next
        break
      case CODE.applicationProperties:
        if (this.propertiesEnd !== at) this.propertiesAt = this.propertyListAt = at
        this.propertiesEnd = next
        this.applicationAt = valueAt
        this.applicationEnd = next
        break
    }
    if (code < CODE.data) this.bodyAt = this.bodyEnd = next
    else if (code !== CODE.footer) this.bodyEnd = next
  }

  #body(bytes: Buffer, code: number, last: number, valueAt: number, next: number): void {
    this.form = BODY.encoded
    if (last >= CODE.data || code === CODE.sequence) return
    const type = bytes[valueAt]!
    const isBinary = type === 0xa0 || type === 0xb0
    if (code === CODE.data) this.form = BODY.data
    else if (isBinary) this.form = BODY.binary
    else if (type === 0xa1 || type === 0xb1) this.form = BODY.string
    this.lengthBytes = type >= 0xb0 ? 4 : 1
    this.contentAt = valueAt + 1 + this.lengthBytes
    this.contentEnd = next
  }
}

function checkPlace(code: number, last: number): void {
  const isRepeated = code === last && (code === CODE.data || code === CODE.sequence)
  const isMixed = last >= CODE.data && code > last && code < CODE.footer
  if (code < CODE.header || code > CODE.footer || isMixed || (code <= last && !isRepeated)) {
    const after = last === 0 ? 'at the start' : `after section 0x${last.toString(16)}`
    const what = code < 0 ? 'an unknown section' : `section 0x${code.toString(16)}`
    throw badMessage(`${what} ${after} of a message (AMQP 3.2)`)
  }
}

function checkKind(code: number, type: number): void {
  const kind = VALUE_KIND.get(code)
  const high = type >>> 4
  const isCompound = high === 0xc || high === 0xd
  const isRight =
    kind === 'any' ||
    (kind === 'list' && (type === 0x45 || (isCompound && (type & 0xf) === 0))) ||
    (kind === 'map' && isCompound && (type & 0xf) === 1) ||
    (kind === 'binary' && (type === 0xa0 || type === 0xb0))
  if (!isRight) {
    throw badMessage(`section 0x${code.toString(16)} with a value of type 0x${type.toString(16)}`)
  }
}

const badMessage = (message: string): AmqpError =>
  new AmqpError(CONDITION.decodeError, message, 'link')

/** Does the body's constructor take the shortest form? Then its bytes need not be kept. */
export function isShortest(sections: Sections): boolean {
  const { bodyAt, contentAt, contentEnd, form } = sections
  return contentAt - bodyAt === bodyHeadBytes(form, contentEnd - contentAt)
}

/** Bytes of the shortest constructor of a body: descriptor, type code, length. */
export const bodyHeadBytes = (form: BodyForm, length: number): number =>
  form === BODY.encoded ? 0 : length < 256 ? 5 : 8
