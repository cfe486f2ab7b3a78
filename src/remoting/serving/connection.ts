// The server side of one native connection, for the front-end and the name server alike: cuts the
// peer's bytes into frames, reads no more while much is under way or unsent, writes the answers,
// and knows when the peer should go. What a frame asks for is served by the class that extends it.
import type { Clock, Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { Leaving } from '../../net/connections.ts'
import { PARTIAL_BYTES_PER_MS, PartialFrames } from '../../net/partial-frames.ts'
import { Output } from '../../output.ts'
import type { GatewaySocket } from '../../port/gateway.ts'
import { FLAG_ONE_WAY, RESPONSE } from '../codes.ts'
import { type Command, encodeCommand, responseHeader } from '../command.ts'
import {
  FRAME_BYTES_MAX_UNAUTHENTICATED,
  type FrameSink,
  FrameSplitter,
  REQUEST_HEADER_BYTES_MAX,
} from '../frame.ts'
import type { Fields } from '../header/header.ts'
import { LargeFrames } from './large-frames.ts'

/** Answers that the peer has not taken; beyond, it is not read. */
export const UNSENT_BYTES_MAX = 4 * 1024 * 1024
/** Answers to requests read before the reading stopped; no real client asks for so much ahead. */
const ANSWERED_BYTES_MAX = 64 * 1024 * 1024
const IDLE_MS = 120_000
const INTRODUCTION_MS = 10_000

export interface ServingOptions {
  /** Longest body of a message, as the broker has it. */
  readonly bodyBytesMax?: number | undefined
  /** Of frames that are not whole yet, of all connections together. */
  readonly partialBytesMax?: number | undefined
  /** A connection without a byte for this long is closed. Clients send something every 30 s. */
  readonly idleMs?: number | undefined
  /**
   * From the first byte until the peer is known; more for a large first command that comes. Bytes
   * that make no command show nothing.
   */
  readonly introductionMs?: number | undefined
}

/** What the connections of one server share. */
export class Serving {
  readonly clock: Clock
  readonly log: Logger
  readonly largeFrames: LargeFrames
  readonly partialFrames: PartialFrames
  readonly idleMs: number
  readonly introductionMs: number

  constructor({ clock, log }: Pick<Serving, 'clock' | 'log'>, options: ServingOptions) {
    this.clock = clock
    this.log = log
    this.largeFrames = new LargeFrames(clock, options.bodyBytesMax)
    this.partialFrames = new PartialFrames(options.partialBytesMax)
    this.idleMs = options.idleMs ?? IDLE_MS
    this.introductionMs = options.introductionMs ?? INTRODUCTION_MS
  }
}

/** The fields of a request that its answer needs: the request itself holds its whole frame. */
export type Asked = Pick<Command, 'code' | 'opaque' | 'codec' | 'flag'>

export const askedOf = ({ code, opaque, codec, flag }: Command): Asked => {
  return { code, opaque, codec, flag }
}

export interface Answer {
  /** Default: success. */
  readonly code?: number
  readonly fields?: Fields | undefined
  readonly remark?: string | undefined
  readonly body?: Uint8Array | undefined
  /** The answer as whole frames, in place of all the above: from a prefabricated head. */
  readonly frames?: readonly Buffer[]
}

/** The client waits for nothing, or until its time is over. */
export const NO_ANSWER: Answer = {}

/**
 * Of a request that brings neither messages nor a broker's table: 1,800 subscriptions of a
 * heartbeat, or 5,000 queues to lock, have room. Such a body is parsed as a whole, and everything
 * in it served, in one turn of the event loop.
 */
const REQUEST_BODY_BYTES_MAX = 256 * 1024
/** Told by the commas: each value costs up to 2 us, however few bytes it has. */
const REQUEST_VALUES_MAX = 32_768

/** @throws BrokerError ARGUMENT_INVALID */
export function checkRequestBody(body: Buffer): void {
  checkMost(body.length, REQUEST_BODY_BYTES_MAX, 'bytes')
  if (body.length > REQUEST_VALUES_MAX) checkMost(commasOf(body) + 1, REQUEST_VALUES_MAX, 'values')
}

function checkMost(count: number, most: number, what: string): void {
  if (count <= most) return
  throw new BrokerError(
    'ARGUMENT_INVALID',
    `a request with a body of ${count} ${what}; ${most} are the most for its kind`,
  )
}

function commasOf(body: Buffer): number {
  let count = 0
  for (let at = 0; at < body.length; at++) if (body[at] === COMMA) count++
  return count
}

const COMMA = 44

export abstract class ServerConnection implements Leaving {
  readonly output: Output
  /** When the peer was last heard, monotonic ms. */
  heardMs: number
  hasSentFrame = false
  isClosed = false
  readonly #socket: GatewaySocket
  readonly #serving: Serving
  readonly #splitter: FrameSplitter
  /** Once the peer is trusted. */
  readonly #frameBytesMax: number
  /** When its first byte came; the listener closes one that sends nothing at all. */
  #firstHeardMs: number | undefined
  #isPaused = false
  /** Nothing more is looked at, because a wrong signature is answered late. */
  #isDeaf = false
  #lateAnswer: Timer | undefined

  /** `isTrusted`: large frames may come before a signature. */
  constructor(
    socket: GatewaySocket,
    serving: Serving,
    frames: { readonly bytesMax: number; readonly isTrusted: boolean },
  ) {
    this.#socket = socket
    this.#serving = serving
    this.#frameBytesMax = frames.bytesMax
    this.heardMs = serving.clock.monotonic()
    this.output = new Output(socket, () => {
      this.output.flush()
      this.#onSent()
    })
    const drop = (): void => socket.destroy()
    this.#splitter = new FrameSplitter(
      (bytes, headerAt, bodyAt, end, codec) => {
        serving.largeFrames.leave(this)
        this.hasSentFrame = true
        this.onFrame(bytes, headerAt, bodyAt, end, codec)
      },
      frames.isTrusted ? frames.bytesMax : FRAME_BYTES_MAX_UNAUTHENTICATED,
      REQUEST_HEADER_BYTES_MAX,
      (bytes) => serving.largeFrames.admit(this, bytes, drop),
      (bytes) => serving.partialFrames.hold(this, bytes, drop),
    )
    socket.onData((chunk) => this.#onData(chunk))
    socket.onDrain(() => this.#onSent())
    socket.onClose(() => this.#onClose())
    socket.resume()
  }

  /** Enough is under way: the peer is not read. */
  abstract readonly isFull: boolean
  abstract onFrame(...frame: Parameters<FrameSink>): void
  abstract onClose(): void

  get isBusy(): boolean {
    return false
  }

  /**
   * All frames of a chunk came, or the last one before a `stop`. Answers go at once, ahead of those
   * that producers and consumers get at the end of the turn.
   */
  onChunkEnd(): void {
    this.output.flush()
  }

  shutDown(): void {
    this.end()
  }

  /** Answers were handed over, or taken by the peer. */
  onSent(): void {}

  /** The peer has shown what it is. */
  get isKnown(): boolean {
    return this.hasSentFrame
  }

  get remoteAddress(): string {
    return this.#socket.remoteAddress
  }

  get unsentBytes(): number {
    return this.output.unsentBytes
  }

  /** The peer has signed: it may send large frames. */
  trust(): void {
    this.#splitter.frameBytesMax = this.#frameBytesMax
  }

  /** The rest of the chunk waits for a later turn. */
  stop(): void {
    this.#splitter.stop()
  }

  answer(asked: Asked, answer: Answer): void {
    if ((asked.flag & FLAG_ONE_WAY) !== 0 || answer === NO_ANSWER) return
    if (this.unsentBytes > ANSWERED_BYTES_MAX) {
      const text = `${this.unsentBytes} bytes of answers wait; ${ANSWERED_BYTES_MAX} is the most`
      this.refuse(new BrokerError('QUOTA_EXCEEDED', text))
      return
    }
    const { code = RESPONSE.success, fields, remark, body, frames } = answer
    if (frames === undefined) {
      const header = responseHeader(asked.opaque, code, fields, remark)
      this.output.push(encodeCommand(header, body, asked.codec))
    } else for (const piece of frames) this.output.push(piece)
    this.balance()
  }

  /**
   * A wrong signature is answered late, and is the peer's last command: guessing at a key is to
   * take long. The caller throws, so that nothing else that came with it is looked at.
   */
  answerLate(delayMs: number, answer: () => void): void {
    this.#isDeaf = true
    this.#setPaused(true)
    this.#lateAnswer = this.#serving.clock.after(delayMs, () => {
      answer()
      this.end()
      // Of a paused socket the end of the peer is not seen either.
      this.#setPaused(false)
    })
  }

  /** Reads the peer only while its work and its answers stay within bounds. */
  balance(): void {
    if (this.#isDeaf) return
    this.#setPaused(this.isFull || this.unsentBytes > UNSENT_BYTES_MAX)
  }

  /** The bytes are no command, so there is no request to answer: the connection ends. */
  refuse(error: BrokerError): void {
    const fields = { evt: 'remoting.refused', remote: this.remoteAddress, reason: error.message }
    this.#serving.log.debug(fields, 'a peer sent bytes that are no native command')
    this.destroy()
  }

  /** Ends a peer that is silent, or has not shown in time what it is. */
  sweep(nowMs: number): void {
    const reason = this.#overdue(nowMs)
    if (reason === undefined) return
    const fields = { evt: 'remoting.overdue', remote: this.remoteAddress }
    this.#serving.log.debug(fields, `a peer ${reason} and is let go`)
    this.destroy()
  }

  end(): void {
    this.output.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #onData(chunk: Buffer): void {
    if (this.#isDeaf) return
    this.heardMs = this.#serving.clock.monotonic()
    this.#firstHeardMs ??= this.heardMs
    try {
      const taken = this.#splitter.push(chunk)
      if (taken < chunk.length) this.#socket.handBack(chunk.subarray(taken))
    } catch (error) {
      if (!this.#isDeaf) this.refuse(BrokerError.from(error))
    }
    this.onChunkEnd()
    this.balance()
  }

  #onSent(): void {
    this.balance()
    this.onSent()
  }

  #onClose(): void {
    this.isClosed = true
    this.#lateAnswer?.cancel()
    this.output.close()
    this.#splitter.close()
    this.#serving.largeFrames.leave(this)
    this.onClose()
  }

  #setPaused(isPaused: boolean): void {
    if (isPaused === this.#isPaused || this.isClosed) return
    this.#isPaused = isPaused
    if (isPaused) this.#socket.pause()
    else this.#socket.resume()
  }

  /** Why the peer should go, if it should. */
  #overdue(nowMs: number): string | undefined {
    const { idleMs, introductionMs } = this.#serving
    if (nowMs - this.heardMs >= idleMs) return `sent nothing for ${idleMs} ms`
    const allowedMs =
      introductionMs + Math.floor(this.#splitter.partialBytes / PARTIAL_BYTES_PER_MS)
    const isInTime = nowMs - (this.#firstHeardMs ?? nowMs) < allowedMs
    if (this.isKnown || isInTime) return undefined
    return `did not show what it is within ${introductionMs} ms`
  }
}
