// Cuts one peer's byte stream into protocol headers and whole frames, wherever the chunks end, and
// refuses what no frame may be before a byte of it is kept. Holds at most one incomplete frame.
// Knows no performative.
import { getU16, getU32 } from '../../../model/bytes.ts'
import { AmqpError, CONDITION } from '../errors.ts'
import { FRAME_AMQP, FRAME_HEADER_BYTES, FRAME_SASL } from './performatives.ts'

const PROTOCOL_HEADER_BYTES = 8
const MAGIC = Buffer.from('AMQP')
const NOTHING = Buffer.alloc(0)

/** Takes the pieces. A sink that answers false gets the next piece only after `resume`. */
export interface FrameSink {
  /** `id` is 0 for AMQP, 2 for TLS, 3 for SASL; -1 when it is no AMQP 1.0 header at all. */
  onHeader(id: number): boolean
  /** The frame's body is `bytes[at, end)`, empty for a heartbeat. */
  onFrame(type: number, channel: number, bytes: Buffer, at: number, end: number): boolean
}

export class FrameSplitter {
  readonly #sink: FrameSink
  #frameBytesMax: number
  #wantsHeader = true
  #isHeld = false
  /** An incomplete piece, or everything that came while the sink holds. */
  #kept: Buffer = NOTHING

  constructor(sink: FrameSink, frameBytesMax: number) {
    this.#sink = sink
    this.#frameBytesMax = frameBytesMax
  }

  set frameBytesMax(bytes: number) {
    this.#frameBytesMax = bytes
  }

  /** The next bytes are a protocol header again (AMQP 5.3.2, after the SASL outcome). */
  expectHeader(): void {
    this.#wantsHeader = true
  }

  get isHeld(): boolean {
    return this.#isHeld
  }

  /** Bytes waiting for their rest or for `resume`. */
  get keptBytes(): number {
    return this.#kept.length
  }

  /**
   * The chunk is handed on as it is: a caller that reuses its chunks passes copies.
   * @throws AmqpError
   */
  push(chunk: Buffer): void {
    const bytes = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk])
    this.#kept = NOTHING
    if (this.#isHeld) this.#keep(bytes, 0)
    else this.#cut(bytes)
  }

  /** Goes on after the sink answered false. @throws AmqpError */
  resume(): void {
    this.#isHeld = false
    const bytes = this.#kept
    this.#kept = NOTHING
    if (bytes.length > 0) this.#cut(bytes)
  }

  #cut(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length && !this.#isHeld) {
      const next = this.#wantsHeader ? this.#header(bytes, at) : this.#frame(bytes, at)
      if (next === at) break
      at = next
    }
    if (at < bytes.length) this.#keep(bytes, at)
  }

  /** A copy, so that a few bytes do not hold on to a whole chunk. */
  #keep(bytes: Buffer, at: number): void {
    this.#kept = Buffer.from(bytes.subarray(at))
  }

  #header(bytes: Buffer, at: number): number {
    const length = Math.min(PROTOCOL_HEADER_BYTES, bytes.length - at)
    for (let i = 0; i < Math.min(4, length); i++) {
      if (bytes[at + i] !== MAGIC[i]) return this.#took(this.#sink.onHeader(-1), bytes.length)
    }
    if (length < PROTOCOL_HEADER_BYTES) return at
    const isVersion1 = bytes[at + 5] === 1 && bytes[at + 6] === 0 && bytes[at + 7] === 0
    this.#wantsHeader = false
    const goesOn = this.#sink.onHeader(isVersion1 ? bytes[at + 4]! : -1)
    return this.#took(goesOn, at + PROTOCOL_HEADER_BYTES)
  }

  #frame(bytes: Buffer, at: number): number {
    const left = bytes.length - at
    if (left < 4) return at
    const size = getU32(bytes, at)
    if (size < FRAME_HEADER_BYTES || size > this.#frameBytesMax) {
      throw framingError(
        `a frame of ${size} bytes; ${FRAME_HEADER_BYTES} to ${this.#frameBytesMax} are allowed here`,
      )
    }
    if (left < size) return at
    const body = bytes[at + 4]! * 4
    const type = bytes[at + 5]!
    if (body < FRAME_HEADER_BYTES || body > size) {
      throw framingError(`a data offset of ${body} bytes in a frame of ${size}`)
    }
    if (type !== FRAME_AMQP && type !== FRAME_SASL) throw framingError(`frame type ${type}`)
    const channel = getU16(bytes, at + 6)
    const end = at + size
    return this.#took(this.#sink.onFrame(type, channel, bytes, at + body, end), end)
  }

  #took(goesOn: boolean, next: number): number {
    if (!goesOn) this.#isHeld = true
    return next
  }
}

const framingError = (message: string): AmqpError => new AmqpError(CONDITION.framingError, message)
