// Cuts a byte stream into MQTT packets. A packet that lies within one chunk is handed on where it
// lies; only one that straddles chunks is gathered. Memory follows the bytes that came, not the
// length claimed.
//
//   first byte: type << 4 | flags    1..4 bytes: remaining length, 7 bits each, low first
//   the rest
import { malformed, ProtocolError, REASON } from './protocol.ts'

export interface PacketSink {
  /** Called as soon as a packet's first byte is known, before its length. May throw. */
  packetBegins(first: number): void
  /**
   * The packet's variable header and payload lie in `bytes[start, end)`, valid during the call
   * only. False: hold what follows until `resume`.
   */
  packet(first: number, bytes: Buffer, start: number, end: number): boolean
  /**
   * A packet over the limit begins. Answers how many bytes behind its header `beginning` is to
   * have, if there are so many; the rest is passed over. Or throws, and nothing more is read.
   */
  oversized(first: number, packetBytes: number, bytesMax: number): number
  beginning(first: number, bytes: Buffer, start: number, end: number): void
}

const HEADER_BYTES_MAX = 5
const GATHER_BYTES_MIN = 4096
const NOTHING = Buffer.alloc(0)

export class FrameSplitter {
  readonly #sink: PacketSink
  #packetBytesMax: number
  /** Bytes of a packet that is not complete, header included. */
  #gathered: Buffer | undefined
  #gatheredBytes = 0
  /**
   * Bytes of that packet to hand on, its header included; 0 while the header itself is incomplete.
   */
  #wantedBytes = 0
  /** Bytes of it behind those: more than 0 where the packet is over the limit. */
  #restBytes = 0
  /** Bytes of the current packet that are still to be skipped. */
  #skipBytes = 0
  /** The bytes that came while held. */
  #held: Buffer | undefined
  #isHeld = false

  constructor(sink: PacketSink, packetBytesMax: number) {
    this.#sink = sink
    this.#packetBytesMax = packetBytesMax
  }

  /** Another limit for the packets to come (after CONNECT). */
  set packetBytesMax(bytes: number) {
    this.#packetBytesMax = bytes
  }

  get isHeld(): boolean {
    return this.#isHeld
  }

  /** Memory that waits: an incomplete packet, and the bytes that came while held. */
  get waitingBytes(): number {
    return (this.#gathered?.length ?? 0) + (this.#held?.length ?? 0)
  }

  /** The received bytes of an incomplete packet, its header included. */
  get incomplete(): Buffer {
    return this.#gathered?.subarray(0, this.#gatheredBytes) ?? NOTHING
  }

  /** @throws ProtocolError; the splitter must not be used afterwards */
  push(chunk: Buffer): void {
    if (this.#isHeld) {
      this.#held =
        this.#held === undefined ? Buffer.from(chunk) : Buffer.concat([this.#held, chunk])
      return
    }
    const at = this.#gathered === undefined ? 0 : this.#gather(chunk)
    if (at < chunk.length) this.#split(chunk, at)
  }

  /** Goes on with what was held; may be held again. */
  resume(): void {
    this.#isHeld = false
    const held = this.#held
    this.#held = undefined
    if (held !== undefined) this.push(held)
  }

  /** Nothing more is read: lets go of what waits. */
  discard(): void {
    this.#gathered = undefined
    this.#held = undefined
  }

  #split(chunk: Buffer, from: number): void {
    let at = from
    while (at < chunk.length) {
      if (this.#skipBytes > 0) {
        const skipped = Math.min(this.#skipBytes, chunk.length - at)
        this.#skipBytes -= skipped
        at += skipped
        continue
      }
      const first = chunk[at]!
      this.#sink.packetBegins(first)
      const header = this.#header(chunk, at, chunk.length)
      const end = at + this.#wantedBytes
      if (header === 0 || end > chunk.length) {
        this.#keep(chunk, at, header === 0 ? 0 : this.#wantedBytes)
        return
      }
      this.#wantedBytes = 0
      if (!this.#hand(first, chunk, at + header, end)) {
        this.#hold(chunk, end)
        return
      }
      at = end
    }
  }

  /**
   * Bytes of the header at `at`, with #wantedBytes and #restBytes set; 0 when incomplete.
   * @throws ProtocolError when the sink does not take a packet over the limit
   */
  #header(bytes: Buffer, at: number, end: number): number {
    let length = 0
    for (let i = 1; i < HEADER_BYTES_MAX; i++) {
      if (at + i >= end) return 0
      const byte = bytes[at + i]!
      length += (byte & 127) << (7 * (i - 1))
      if (byte < 128) {
        this.#measure(bytes[at]!, i + 1, length)
        return i + 1
      }
    }
    throw new ProtocolError(REASON.malformedPacket, 'the remaining length has five bytes', true)
  }

  #measure(first: number, headerBytes: number, length: number): void {
    const packetBytes = headerBytes + length
    const wanted =
      packetBytes <= this.#packetBytesMax
        ? length
        : this.#sink.oversized(first, packetBytes, this.#packetBytesMax)
    this.#wantedBytes = headerBytes + Math.min(length, wanted)
    this.#restBytes = packetBytes - this.#wantedBytes
  }

  #hand(first: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.#restBytes === 0) return this.#sink.packet(first, bytes, start, end)
    this.#skipBytes = this.#restBytes
    this.#sink.beginning(first, bytes, start, end)
    return true
  }

  /** Starts gathering a packet of `wanted` bytes, or of a size not known yet (0). */
  #keep(chunk: Buffer, at: number, wanted: number): void {
    const here = chunk.length - at
    const room =
      wanted === 0 ? HEADER_BYTES_MAX : Math.min(wanted, Math.max(GATHER_BYTES_MIN, here))
    const gathered = Buffer.allocUnsafe(room)
    chunk.copy(gathered, 0, at)
    this.#gathered = gathered
    this.#gatheredBytes = here
    this.#wantedBytes = wanted
  }

  /**
   * Adds to the gathered packet and hands it on when complete.
   * @returns how much of the chunk it took
   */
  #gather(chunk: Buffer): number {
    let at = 0
    if (this.#wantedBytes === 0) {
      while (at < chunk.length && this.#wantedBytes === 0) {
        this.#gathered![this.#gatheredBytes++] = chunk[at++]!
        this.#header(this.#gathered!, 0, this.#gatheredBytes)
      }
      if (this.#wantedBytes === 0) return at
    }
    const take = Math.min(this.#wantedBytes - this.#gatheredBytes, chunk.length - at)
    this.#makeRoom(this.#gatheredBytes + take)
    chunk.copy(this.#gathered!, this.#gatheredBytes, at, at + take)
    this.#gatheredBytes += take
    at += take
    if (this.#gatheredBytes < this.#wantedBytes) return at
    return this.#deliverGathered(chunk, at)
  }

  #deliverGathered(chunk: Buffer, at: number): number {
    const packet = this.#gathered!
    const end = this.#wantedBytes
    const header = this.#header(packet, 0, end)
    this.#gathered = undefined
    this.#wantedBytes = 0
    if (header === 0) throw malformed('a packet without a length')
    if (this.#hand(packet[0]!, packet, header, end)) return at
    this.#hold(chunk, at)
    return chunk.length
  }

  #makeRoom(bytes: number): void {
    const gathered = this.#gathered!
    if (gathered.length >= bytes) return
    const room = Math.min(this.#wantedBytes, Math.max(bytes, gathered.length * 2, GATHER_BYTES_MIN))
    const larger = Buffer.allocUnsafe(room)
    gathered.copy(larger, 0, 0, this.#gatheredBytes)
    this.#gathered = larger
  }

  #hold(chunk: Buffer, from: number): void {
    this.#isHeld = true
    this.#held = from < chunk.length ? Buffer.from(chunk.subarray(from)) : undefined
  }
}
