// From an AMQP message to what a record is made of. The message's bytes are scanned, not decoded;
// only the sections with names are, and those only when they differ from the previous message's.
import { partOf } from '../../../model/bytes.ts'
import { encodeProperties, PROPERTY } from '../../../model/properties.ts'
import { FieldList } from '../codec/control-frames.ts'
import { ElementCounts } from '../codec/element-counts.ts'
import { OWN_ANNOTATION } from '../codec/performatives.ts'
import { listFields } from '../codec/scalar-list.ts'
import { BODY, isShortest, Sections } from '../codec/sections.ts'
import { AmqpSymbol, ValueReader } from '../codec/value-reader.ts'
import { checkItemBytes, eachEntry, encodeWire, PLAIN_WIRE } from '../codec/wire-form.ts'
import {
  type Properties,
  takeAnnotations,
  takeApplication,
  takeHeader,
  takeProperties,
} from '../message.ts'

/** Sections before the body longer than this are not compared with the previous message's. */
const REMEMBERED_BYTES_MAX = 1024
const NOTHING = Buffer.alloc(0)

/** Reads the messages of one link, one at a time; the fields hold until the next. */
export class InboundMessage {
  /** A view of the bytes read. */
  body: Uint8Array = NOTHING
  /** Encoded as in properties.ts. */
  properties: Buffer = NOTHING
  orderingKey: string | undefined
  /** Where the message itself says it goes. */
  to: string | undefined
  readonly #sections = new Sections()
  readonly #tagDefault: string | undefined
  /** Everything before the content of the previous message, when its body had the shortest form. */
  #lastHead: Buffer = NOTHING
  #lastForm = -1

  constructor(tagDefault: string | undefined) {
    this.#tagDefault = tagDefault
  }

  /** @throws AmqpError or BrokerError for which this message alone is refused */
  read(bytes: Buffer, at: number, end: number, format: number): void {
    if (format !== 0) this.#foreign(bytes.subarray(at, end), format)
    else this.#known(bytes, at, end)
  }

  #known(bytes: Buffer, at: number, end: number): void {
    const s = this.#sections
    s.scan(bytes, at, end)
    this.body = partOf(bytes, s.contentAt, s.contentEnd)
    const isPlainBody = isShortest(s) && s.bodyEnd === end
    const isSame = isPlainBody && this.#isSameHead(bytes, at, s)
    // A repeated head was checked before, and a body of one length has no elements.
    const from = isSame ? s.bodyAt : at
    const to = s.form === BODY.encoded || s.bodyEnd < end ? end : s.bodyAt
    if (from < to) new ElementCounts().check(bytes, from, to)
    if (isSame) return
    this.#lastForm = -1
    this.#decode(bytes)
    if (isPlainBody && s.bodyAt - at <= REMEMBERED_BYTES_MAX) {
      this.#lastForm = s.form
      this.#lastHead = Buffer.from(bytes.subarray(at, s.bodyAt))
    }
  }

  #isSameHead(bytes: Buffer, at: number, s: Sections): boolean {
    const head = this.#lastHead
    const length = s.bodyAt - at
    if (s.form !== this.#lastForm || length !== head.length) return false
    return length === 0 || bytes.compare(head, 0, length, at, s.bodyAt) === 0
  }

  /** A message of a format we do not know is passed on whole, to AMQP readers as it came. */
  #foreign(payload: Buffer, format: number): void {
    this.#lastForm = -1
    this.body = payload
    this.orderingKey = this.to = undefined
    const wire = encodeWire({ ...PLAIN_WIRE, form: BODY.encoded, format })
    this.properties = encodeProperties([
      ...(this.#tagDefault === undefined ? [] : [[PROPERTY.tags, this.#tagDefault] as const]),
      [PROPERTY.native, wire],
    ])
  }

  #decode(bytes: Buffer): void {
    const s = this.#sections
    // Before a large one is decoded for nothing.
    checkItemBytes(s.annotationsEnd - s.annotationsAt)
    checkItemBytes(s.propertiesEnd - s.propertiesAt)
    const properties: Properties = new Map()
    const annotations = this.#annotations(bytes, properties)
    if (s.applicationAt < s.applicationEnd) {
      const map = new ValueReader(bytes, s.applicationAt, s.applicationEnd).read()
      if (map instanceof Map) takeApplication(map, properties)
    }
    if (s.headerAt < s.headerEnd) takeHeader(headerFields(bytes, s.headerAt), properties)
    this.to = undefined
    if (s.propertyListAt > s.propertiesAt) {
      const list = new ValueReader(bytes, s.propertyListAt, s.propertiesEnd).read()
      this.to = takeProperties(new FieldList('properties', list), properties)
    }
    this.orderingKey = properties.get(PROPERTY.orderingKey)
    if (this.#tagDefault !== undefined && !properties.has(PROPERTY.tags)) {
      properties.set(PROPERTY.tags, this.#tagDefault)
    }
    properties.set(
      PROPERTY.native,
      encodeWire({
        form: s.form,
        header: bytes.subarray(s.headerAt, s.headerEnd),
        annotations,
        sections: bytes.subarray(s.propertiesAt, s.propertiesEnd),
        bodyHead: bodyHeadOf(bytes, s),
        suffix: bytes.subarray(s.bodyEnd, s.end),
        format: 0,
      }),
    )
    this.properties = encodeProperties(properties)
  }

  /** Takes the orders among the message annotations; answers the entries that are kept. */
  #annotations(bytes: Buffer, into: Properties): Buffer {
    const s = this.#sections
    if (s.annotationsAt === s.annotationsEnd) return NOTHING
    const map = new ValueReader(bytes, s.annotationsAt, s.annotationsEnd).read()
    if (map instanceof Map) takeAnnotations(map, into)
    return this.#keptAnnotations(bytes)
  }

  #keptAnnotations(bytes: Buffer): Buffer {
    const s = this.#sections
    const from = s.annotationsAt + (bytes[s.annotationsAt] === 0xc1 ? 3 : 9)
    const kept: Buffer[] = []
    eachEntry(bytes, from, s.annotationsEnd, (keyAt, valueAt, next) => {
      const key = new ValueReader(bytes, keyAt, valueAt).read()
      const isOwn = key instanceof AmqpSymbol && key.text.startsWith(OWN_ANNOTATION)
      if (!isOwn) kept.push(bytes.subarray(keyAt, next))
    })
    return Buffer.concat(kept)
  }
}

const HEADER_FIELDS = 5

/** None of a header that is no list of such: it is passed on as it is. */
function headerFields(bytes: Buffer, at: number): readonly Buffer[] {
  try {
    return listFields(bytes, at, HEADER_FIELDS, 'header')
  } catch {
    return []
  }
}

/** Descriptor and type code of a body whose length is not encoded the short way. */
const bodyHeadOf = (bytes: Buffer, s: Sections): Buffer =>
  isShortest(s) ? NOTHING : bytes.subarray(s.bodyAt, s.contentAt - s.lengthBytes)
