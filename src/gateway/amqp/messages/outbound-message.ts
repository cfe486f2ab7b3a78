// From a record to an AMQP message. A record that came by AMQP gets its own sections and body back
// byte for byte; any other is rendered the same way every time. Header and message annotations are
// ours to write in both cases; they are no part of the bare message.
import { putU32, putU64 } from '../../../model/bytes.ts'
import { expiresMsOf } from '../../../model/expiry.ts'
import { PROPERTY } from '../../../model/properties.ts'
import type { RecordView } from '../../../model/record.ts'
import { ElementCounts } from '../codec/element-counts.ts'
import { withNote } from '../codec/note.ts'
import { CODE, OWN_ANNOTATION } from '../codec/performatives.ts'
import { BODY, type BodyForm, bodyHeadBytes, Sections } from '../codec/sections.ts'
import { ValueWriter } from '../codec/value-writer.ts'
import { decodeWire, eachEntry, isWide, PLAIN_WIRE, type WireForm } from '../codec/wire-form.ts'
import { annotationsOf, priorityOf, writeApplication, writeProperties } from '../message.ts'
import { headerAsSent, type OutboundHeader, OWN_HEADER, ownHeader } from './outbound-header.ts'
import { RecordMemory } from './record-memory.ts'

const HEX = Buffer.from('0123456789ABCDEF')
const MESSAGE_ID_CHARS = 32
const HOST_CHARS = 16

/**
 * The bytes that all messages with the same properties share: everything before the body, with gaps
 * for the fields that differ. Most streams of messages repeat their properties, so one is kept per
 * link.
 */
export class OutboundMessage {
  readonly #memory = new RecordMemory()
  #form: BodyForm = BODY.data
  #bodyHead: Buffer = PLAIN_WIRE.bodyHead
  #suffix: Buffer = PLAIN_WIRE.suffix
  #header: OutboundHeader = OWN_HEADER
  #expiresMs = Number.POSITIVE_INFINITY
  /** Message annotations, properties and application properties. */
  #head: Buffer = PLAIN_WIRE.sections
  #queueAt = 0
  #offsetAt = 0
  #storedAt = 0
  #idAt = 0
  /** -1 for a record that came by AMQP. */
  #createdAt = -1
  #messageIdAt = -1
  #host = { ip: -1, port: -1 }
  /** The transfer's message-format. */
  format = 0
  /** Additions of consumers to the annotations of the loaded message. */
  note: string | undefined
  #isNoteOurs = false
  /** Properties that the last `load` went through: none of a message like the one before it. */
  preparedBytes = 0

  #record!: RecordView
  #body!: Buffer
  #tailAt = 0
  #attempt = 1

  /** When the message was stored, epoch ms. */
  get storedMs(): number {
    return this.#record.storeTimestamp
  }

  /**
   * Makes this the next record's message. Answers its size in bytes. `note`: of the delivery, where
   * the record itself does not hold it.
   */
  load(record: RecordView, attempt: number, note?: string): number {
    this.#record = record
    this.#attempt = attempt
    this.#body = record.body
    // Topic and properties stand right behind the body.
    this.#tailAt = this.#body.byteOffset - record.bytes.byteOffset + this.#body.length
    const isRepeated =
      note === undefined &&
      !this.#isNoteOurs &&
      this.#memory.isRepeated(record, this.#tailAt) &&
      (this.#form !== BODY.encoded || this.format !== 0 || isBody(this.#body))
    this.preparedBytes = isRepeated ? 0 : record.propertiesEnd - record.propertiesStart
    if (!isRepeated) this.#prepare(record, note)
    if (this.format !== 0) return this.#body.length
    return (
      this.#header.bytes(this.#attempt) +
      this.#head.length +
      this.#bodyHeadBytes() +
      this.#body.length +
      this.#suffix.length
    )
  }

  /** Writes the loaded message at `out[at...]`; there is room for the size that `load` answered. */
  write(out: Buffer, at: number, nowMs: number): number {
    if (this.format !== 0) {
      out.set(this.#body, at)
      return at + this.#body.length
    }
    let p = this.#header.write(out, at, this.#attempt, this.#expiresMs - nowMs)
    out.set(this.#head, p)
    this.#fill(out, p)
    p = this.#writeBodyHead(out, p + this.#head.length)
    out.set(this.#body, p)
    p += this.#body.length
    if (this.#suffix.length > 0) out.set(this.#suffix, p)
    return p + this.#suffix.length
  }

  #prepare(record: RecordView, note: string | undefined): void {
    this.#memory.remember(record, this.#tailAt)
    const properties = record.properties()
    this.#isNoteOurs = note !== undefined
    this.note = note ?? properties.get(PROPERTY.note)
    const isAmqps = !properties.has(PROPERTY.mqttTopic)
    const wire = isAmqps ? wireOf(properties.get(PROPERTY.native), record.body) : undefined
    this.format = wire?.format ?? 0
    this.#form = wire?.form ?? BODY.data
    this.#bodyHead = wire?.bodyHead ?? PLAIN_WIRE.bodyHead
    this.#suffix = wire?.suffix ?? PLAIN_WIRE.suffix
    this.#expiresMs = expiresMsOf(record)
    const isExpiring = this.#expiresMs !== Number.POSITIVE_INFINITY
    this.#header =
      wire === undefined
        ? ownHeader(priorityOf(properties), isExpiring)
        : headerAsSent(wire.header, isExpiring)
    this.#host = { ip: -1, port: -1 }
    const writer = new ValueWriter()
    this.#annotate(writer, record, properties, wire)
    this.#createdAt = this.#messageIdAt = -1
    if (wire === undefined) {
      const holes = writeProperties(writer, record, properties, this.#expiresMs)
      this.#createdAt = holes.createdAt
      this.#messageIdAt = this.#memory.idBytes > 0 ? holes.messageIdAt : -1
      writeApplication(writer, properties)
    } else writer.raw(wire.sections)
    this.#head = writer.take()
  }

  #annotate(
    writer: ValueWriter,
    record: RecordView,
    properties: ReadonlyMap<string, string>,
    wire: WireForm | undefined,
  ): void {
    const texts = annotationsOf(record, properties)
    let theirs = 0
    const own = wire?.annotations ?? PLAIN_WIRE.annotations
    const raw = this.note === undefined ? own : withNote(own, this.note)
    eachEntry(raw, 0, raw.length, () => {
      theirs++
    })
    writer.descriptor(CODE.messageAnnotations).map(theirs + texts.length + 4, () => {
      writer.raw(raw)
      for (const [name, text] of texts) writer.symbol(name).string(text)
      writer.symbol(`${OWN_ANNOTATION}queue`).int(0)
      this.#queueAt = writer.length - 4
      writer.symbol(`${OWN_ANNOTATION}offset`).long(0)
      this.#offsetAt = writer.length - 8
      writer.symbol(`${OWN_ANNOTATION}store-time`).timestamp(0)
      this.#storedAt = writer.length - 8
      writer.symbol(`${OWN_ANNOTATION}msg-id`).string('0'.repeat(MESSAGE_ID_CHARS))
      this.#idAt = writer.length - MESSAGE_ID_CHARS
    })
  }

  /** The holes of the head that was copied to `out[at...]`. */
  #fill(out: Buffer, at: number): void {
    const record = this.#record
    putU32(out, at + this.#queueAt, record.queueId)
    putU64(out, at + this.#offsetAt, record.queueOffset)
    putU64(out, at + this.#storedAt, record.storeTimestamp)
    if (this.#createdAt >= 0) putU64(out, at + this.#createdAt, record.bornTimestamp)
    if (this.#messageIdAt >= 0) {
      const from = this.#memory.idAt(this.#tailAt)
      const end = from + this.#memory.idBytes
      record.bytes.copy(out, at + this.#messageIdAt, from, end)
    }
    const { ip, port } = record.storeHost
    const id = at + this.#idAt
    if (ip !== this.#host.ip || port !== this.#host.port) {
      this.#host = { ip, port }
      writeHex(this.#head, this.#idAt, ip)
      writeHex(this.#head, this.#idAt + 8, port)
      out.set(this.#head.subarray(this.#idAt, this.#idAt + HOST_CHARS), id)
    }
    const { position } = record
    writeHex(out, id + HOST_CHARS, Math.floor(position / 4_294_967_296))
    writeHex(out, id + HOST_CHARS + 8, position >>> 0)
  }

  #bodyHeadBytes(): number {
    if (this.#bodyHead.length === 0) return bodyHeadBytes(this.#form, this.#body.length)
    return this.#bodyHead.length + (isWide(this.#bodyHead) ? 4 : 1)
  }

  #writeBodyHead(out: Buffer, at: number): number {
    const length = this.#body.length
    let p = at
    let wide = length > 255
    if (this.#bodyHead.length > 0) {
      out.set(this.#bodyHead, p)
      p += this.#bodyHead.length
      wide = isWide(this.#bodyHead)
    } else if (this.#form === BODY.encoded) {
      return p
    } else {
      out[p] = 0
      out[p + 1] = 0x53
      out[p + 2] = this.#form === BODY.data ? CODE.data : CODE.value
      out[p + 3] = (wide ? 0xb0 : 0xa0) | (this.#form === BODY.string ? 1 : 0)
      p += 4
    }
    if (wide) putU32(out, p, length)
    else out[p] = length
    return p + (wide ? 4 : 1)
  }
}

/**
 * The record's own wire form, unless it is missing, another protocol's, forged or at odds with the
 * body.
 */
function wireOf(text: string | undefined, body: Buffer): WireForm | undefined {
  const wire = text === undefined ? undefined : decodeWire(text)
  if (wire === undefined || wire.format !== 0) return wire
  const fitsLength = wire.bodyHead.length === 0 || isWide(wire.bodyHead) || body.length < 256
  return fitsLength && (wire.form !== BODY.encoded || isBody(body)) ? wire : undefined
}

function isBody(body: Buffer): boolean {
  const sections = new Sections()
  try {
    sections.scan(body, 0, body.length)
    new ElementCounts().check(body, 0, body.length)
  } catch {
    return false
  }
  return sections.bodyAt === 0 && sections.bodyEnd === body.length
}

/** Eight upper-case digits of an unsigned 32-bit number, as in RocketMQ's offsetMsgId. */
function writeHex(out: Buffer, at: number, value: number): void {
  for (let i = 7; i >= 0; i--) {
    out[at + i] = HEX[value & 15]!
    value >>>= 4
  }
}
