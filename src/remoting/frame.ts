// Cuts a byte stream into RocketMQ's frames, whatever the chunks, with a bound on what it keeps:
//
//   0 i32 total (bytes after this field)   4 u8 header codec   5 u24 header length
//   8 header   8 + header length: body, to 4 + total
//
// It knows nothing of what a header means. Bytes that do not arrive are never allocated: the space
// for a frame grows with the bytes that came, so a claimed length costs nothing.
import { getI32 } from '../model/bytes.ts'
import { protocolError } from './protocol-error.ts'

/** RocketMQ's own limit (com.rocketmq.remoting.frameMaxLength). */
export const FRAME_BYTES_MAX = 16 * 1024 * 1024
/** Before the connection has authenticated. */
export const FRAME_BYTES_MAX_UNAUTHENTICATED = 64 * 1024
/**
 * Of a request: the longest properties with every character escaped, and room for the other fields.
 * A header is parsed as a whole, so it must cost little. (Answers may be longer: a batch's has an
 * id for every message.)
 */
export const REQUEST_HEADER_BYTES_MAX = 256 * 1024
/** A frame above the limit: may this one come nevertheless? Asked once per frame. */
export type AdmitFrame = (bytes: number) => boolean
/** The bytes that the received part of a large frame takes now; 0 = it is whole, or let go. */
export type HoldFrame = (bytes: number) => void

/** Length word, codec and header length. */
export const FRAME_PREFIX_BYTES = 8

/** Of the largest message with the longest header. */
export const messageFrameBytes = (bodyBytes: number): number =>
  FRAME_PREFIX_BYTES + REQUEST_HEADER_BYTES_MAX + bodyBytes

export const CODEC_JSON = 0
export const CODEC_BINARY = 1
/** How a header is written: JSON, or RocketMQ's binary form. */
export type HeaderCodec = typeof CODEC_JSON | typeof CODEC_BINARY

/**
 * One frame: header in `bytes[headerAt, bodyAt)`, body in `bytes[bodyAt, end)`. The bytes are valid
 * until the `push` that brought the frame's end returns.
 */
export type FrameSink = (
  bytes: Buffer,
  headerAt: number,
  bodyAt: number,
  end: number,
  codec: HeaderCodec,
) => void

const PENDING_BYTES_MIN = 4096
/** Partial frames up to this size are not counted: HoldFrame is not called for them. */
const UNTOLD_BYTES_MAX = 64 * 1024
const NOTHING = Buffer.alloc(0)

export class FrameSplitter {
  /** May be raised between two chunks, after authentication. */
  frameBytesMax: number
  /** Where the next frame is gathered that comes in pieces and fits: taken once. */
  spare: Buffer | undefined
  readonly #sink: FrameSink
  /** The start of a frame that is not whole yet, at the front of a buffer that grows on demand. */
  #pending: Buffer = NOTHING
  #pendingBytes = 0
  readonly #admit: AdmitFrame | undefined
  readonly #hold: HoldFrame | undefined
  readonly #headerBytesMax: number
  /** Length of the frame that was admitted above the limit. */
  #admitted = 0
  #isStopped = false

  constructor(
    sink: FrameSink,
    frameBytesMax = FRAME_BYTES_MAX,
    headerBytesMax = FRAME_BYTES_MAX,
    admit?: AdmitFrame,
    hold?: HoldFrame,
  ) {
    this.#sink = sink
    this.frameBytesMax = frameBytesMax
    this.#headerBytesMax = headerBytesMax
    this.#admit = admit
    this.#hold = hold
  }

  /** From within the sink: what follows this frame in the chunk is left to the caller of `push`. */
  stop(): void {
    this.#isStopped = true
  }

  /**
   * Calls the sink for every frame that this chunk completes, or until it is stopped.
   * @returns how much of the chunk was taken @throws BrokerError PROTOCOL_ERROR
   */
  push(chunk: Buffer): number {
    let at = 0
    this.#isStopped = false
    while (this.#pendingBytes > 0 && at < chunk.length) {
      const wanted = this.#pendingBytes < 4 ? 4 : this.#frameBytes(this.#pending, 0)
      at += this.#keep(chunk, at, Math.min(chunk.length, at + wanted - this.#pendingBytes), wanted)
      if (this.#pendingBytes < wanted || wanted === 4) continue
      // Its bytes stay valid until the end of this call, so the next partial frame gets other
      // space.
      this.#deliver(this.#letGo(), 0, wanted)
    }
    while (!this.#isStopped && chunk.length - at >= 4) {
      const bytes = this.#frameBytes(chunk, at)
      if (chunk.length - at < bytes) break
      this.#deliver(chunk, at, bytes)
      at += bytes
    }
    if (this.#isStopped) return at
    if (at < chunk.length) {
      const wanted = chunk.length - at < 4 ? 4 : this.#frameBytes(chunk, at)
      this.#keep(chunk, at, chunk.length, wanted)
    }
    return chunk.length
  }

  /** The received bytes of a frame that is not whole yet. */
  get partialBytes(): number {
    return this.#pendingBytes
  }

  /** Lets go of a partial frame: its end will not come. */
  close(): void {
    this.#letGo()
  }

  /** Length of the frame at `bytes[at]`, its length word included. */
  #frameBytes(bytes: Buffer, at: number): number {
    const total = getI32(bytes, at)
    if (total < 4 || (total > this.frameBytesMax && !this.#isAdmitted(total))) {
      throw protocolError(
        `a frame claims ${total} bytes; 4 to ${this.frameBytesMax} are allowed here` +
          (this.frameBytesMax < FRAME_BYTES_MAX ? ' before authentication' : ''),
      )
    }
    return total + 4
  }

  #isAdmitted(total: number): boolean {
    if (total === this.#admitted) return true
    if (this.#admit?.(total) !== true) return false
    this.#admitted = total
    return true
  }

  #deliver(bytes: Buffer, at: number, frameBytes: number): void {
    this.#admitted = 0
    const codec = bytes[at + 4]!
    const headerBytes = getI32(bytes, at + 4) & 0xffffff
    if (codec !== CODEC_JSON && codec !== CODEC_BINARY) {
      throw protocolError(`a frame's header codec is ${codec}; 0 (JSON) and 1 (binary) are known`)
    }
    if (headerBytes > frameBytes - FRAME_PREFIX_BYTES) {
      throw protocolError(`a frame of ${frameBytes} bytes claims a header of ${headerBytes} bytes`)
    }
    if (headerBytes > this.#headerBytesMax) {
      throw protocolError(
        `a frame has a header of ${headerBytes} bytes; ${this.#headerBytesMax} are allowed here`,
      )
    }
    const headerAt = at + FRAME_PREFIX_BYTES
    this.#sink(bytes, headerAt, headerAt + headerBytes, at + frameBytes, codec)
  }

  #letGo(): Buffer {
    const held = this.#pending
    this.#pending = NOTHING
    this.#pendingBytes = 0
    if (held.length > UNTOLD_BYTES_MAX) this.#hold?.(0)
    return held
  }

  /**
   * Appends `chunk[from, to)` to the pending bytes of a frame of `wanted`; returns how many those
   * are.
   */
  #keep(chunk: Buffer, from: number, to: number, wanted: number): number {
    const needed = this.#pendingBytes + to - from
    if (needed > this.#pending.length) {
      const grown = this.#room(needed, wanted)
      this.#pending.copy(grown, 0, 0, this.#pendingBytes)
      this.#pending = grown
      if (grown.length > UNTOLD_BYTES_MAX) this.#hold?.(grown.length)
    }
    chunk.copy(this.#pending, this.#pendingBytes, from, to)
    this.#pendingBytes = needed
    return to - from
  }

  #room(needed: number, wanted: number): Buffer {
    const { spare } = this
    if (spare === undefined || needed < 4 || wanted > spare.length) {
      const doubled = Math.min(wanted, this.#pending.length * 2)
      return Buffer.allocUnsafe(Math.max(PENDING_BYTES_MIN, needed, doubled))
    }
    this.spare = undefined
    return spare
  }
}
