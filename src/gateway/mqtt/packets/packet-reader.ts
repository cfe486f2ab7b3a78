// Reads the fields of one whole packet. Never goes beyond the packet's end: what is missing there
// is a malformed packet, never an exception of another kind.
import { malformed, ProtocolError, REASON } from './protocol.ts'
import { decodeName, decodeText } from './utf8.ts'

export class PacketReader {
  readonly bytes: Buffer
  at: number
  readonly end: number

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes
    this.at = start
    this.end = end
  }

  get left(): number {
    return this.end - this.at
  }

  u8(what: string): number {
    this.#need(1, what)
    return this.bytes[this.at++]!
  }

  u16(what: string): number {
    this.#need(2, what)
    const value = (this.bytes[this.at]! << 8) | this.bytes[this.at + 1]!
    this.at += 2
    return value
  }

  u32(what: string): number {
    const high = this.u16(what)
    return high * 65_536 + this.u16(what)
  }

  /** A variable byte integer in its shortest form (MQTT-1.5.5-1). */
  varint(what: string): number {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.u8(what)
      value |= (byte & 127) << shift
      if (byte < 128) {
        if (byte === 0 && shift > 0) throw malformed(`${what} is not encoded in its shortest form`)
        return value
      }
    }
    throw malformed(`${what} is longer than four bytes`)
  }

  /** A view, not a copy. */
  binary(what: string): Buffer {
    const length = this.u16(what)
    this.#need(length, what)
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  /** Passes over text or bytes that are not kept: a packet may be full of them. */
  skip(what: string): void {
    const length = this.u16(what)
    this.#need(length, what)
    this.at += length
  }

  /** Any text the standard allows. */
  text(what: string): string {
    const start = this.#string(what)
    const text = decodeText(this.bytes, start, this.at)
    if (text === undefined) throw malformed(`${what} is not valid UTF-8`)
    return text
  }

  /**
   * Text that names something: no control characters either. `bad` is the code for what is no name.
   */
  name(what: string, bad: number = REASON.malformedPacket): string {
    const start = this.#string(what)
    const text = decodeName(this.bytes, start, this.at)
    if (text === undefined) {
      throw new ProtocolError(bad, `${what} is not valid UTF-8 without control characters`)
    }
    return text
  }

  /** The packet ends here. */
  finish(what: string): void {
    if (this.at !== this.end) throw malformed(`${what} has ${this.left} bytes too many`)
  }

  #string(what: string): number {
    const length = this.u16(what)
    this.#need(length, what)
    const start = this.at
    this.at += length
    return start
  }

  #need(count: number, what: string): void {
    if (this.end - this.at < count) throw malformed(`the packet ends within ${what}`)
  }
}
