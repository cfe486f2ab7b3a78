// One connection that keeps its window full: of sends, or of pulls along one queue.
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { encodeProperties } from '../../src/model/properties.ts'
import { RESPONSE } from '../../src/remoting/codes.ts'
import { decodeCommand, encodeCommand, requestHeader } from '../../src/remoting/command.ts'
import {
  CODEC_BINARY,
  CODEC_JSON,
  FRAME_PREFIX_BYTES,
  type FrameSink,
  FrameSplitter,
  type HeaderCodec,
} from '../../src/remoting/frame.ts'
import { writeFields } from '../../src/remoting/layout.ts'
import { PULL } from '../../src/remoting/requests/pull.ts'
import { SEND_V2 } from '../../src/remoting/requests/send.ts'
import type { Histogram } from './histogram.ts'

export interface LoadOptions {
  readonly host: string
  readonly port: number
  readonly index: number
  readonly topic: string
  readonly queues: number
  readonly inFlight: number
  readonly bodyBytes: number
  readonly batch: number
  readonly codec: HeaderCodec
  readonly latency: Histogram
  /** One message in a hundred is selected, by a condition of SQL92. */
  readonly isSql: boolean
  /** Over TLS 1.3, whatever the certificate. */
  readonly isTls: boolean
}

export interface Load {
  readonly tally: Tally
  connect(): Promise<void>
  start(): void
  stop(): void
}

/** What one connection has done so far. */
export class Tally {
  messages = 0
  errors = 0
  firstError: string | undefined

  fail(reason: string): void {
    this.errors++
    this.firstError ??= reason
  }
}

const READ_BYTES = 256 * 1024
/** As wide as any correlation id that is used here; JSON allows blanks before and behind it. */
const OPAQUE_DIGITS = 7
export const OPAQUE_MAX = 10 ** (OPAQUE_DIGITS - 1)
const OPAQUE_MARK = Buffer.from('"opaque":')
const SUCCESS_MARK = Buffer.from('{"code":0,')
const QUOTE = 34

export function open(
  { host, port, isTls }: LoadOptions,
  tally: Tally,
  received: FrameSink,
  chunkDone: () => void,
): Promise<Socket> {
  const splitter = new FrameSplitter(received)
  const onread = {
    buffer: Buffer.allocUnsafe(READ_BYTES),
    callback: (count: number, buffer: Uint8Array): boolean => {
      splitter.push(Buffer.from(buffer.buffer, buffer.byteOffset, count))
      chunkDone()
      return true
    },
  }
  return new Promise((resolve, reject) => {
    const at = { host, port, noDelay: true, onread }
    const secured = { ...at, minVersion: 'TLSv1.3', rejectUnauthorized: false } as const
    const connected = (): void => resolve(socket)
    const socket: Socket = isTls ? connectTls(secured, connected) : connect(at, connected)
    socket.on('error', (error) => {
      tally.fail(error.message)
      reject(error)
    })
  })
}

export class SendLoad implements Load {
  readonly tally = new Tally()
  readonly #options: LoadOptions
  #socket: Socket | undefined
  #isStopped = false
  /** One frame per queue, or as many as give each queue one in a hundred. */
  readonly #frames: readonly Buffer[]
  readonly #opaqueAt: number
  readonly #sentAt: Float64Array
  /** Slots whose answer came in this chunk; a slot is a correlation id. */
  readonly #free: Int32Array
  #freed = 0
  #queue: number

  constructor(options: LoadOptions) {
    this.#options = options
    const { queues, isSql } = options
    const numberOf = (i: number): [string, string] => [
      'n',
      String(Math.floor(i / queues)).padStart(2, '0'),
    ]
    this.#frames = Array.from({ length: isSql ? 100 * queues : queues }, (_, i) =>
      sendFrame(options, i % queues, isSql ? [numberOf(i)] : []),
    )
    this.#opaqueAt = opaqueAt(this.#frames[0]!, options.codec)
    this.#sentAt = new Float64Array(options.inFlight)
    this.#free = Int32Array.from({ length: options.inFlight }, (_, slot) => slot)
    this.#freed = options.inFlight
    this.#queue = options.index % options.queues
  }

  async connect(): Promise<void> {
    this.#socket = await open(this.#options, this.tally, this.#received, () => this.#refill())
  }

  start(): void {
    this.#refill()
  }

  stop(): void {
    this.#isStopped = true
    this.#socket?.destroy()
  }

  readonly #received: FrameSink = (bytes, headerAt, bodyAt) => {
    const slot = this.#slotOf(bytes, headerAt, bodyAt)
    if (slot === -1) return
    this.#free[this.#freed++] = slot
  }

  /** Everything that was answered in this chunk is replaced in one write. */
  #refill(): void {
    const count = this.#freed
    if (count === 0 || this.#isStopped) return
    const nowMs = performance.now()
    const { latency } = this.#options
    const size = this.#frames[0]!.length
    const out = Buffer.allocUnsafe(count * size)
    for (let i = 0; i < count; i++) {
      const slot = this.#free[i]!
      const sentAt = this.#sentAt[slot]!
      if (sentAt > 0) {
        latency.add((nowMs - sentAt) * 1000)
        this.tally.messages++
      }
      this.#sentAt[slot] = nowMs
      out.set(this.#frames[this.#queue]!, i * size)
      if (++this.#queue === this.#frames.length) this.#queue = 0
      putOpaque(out, i * size + this.#opaqueAt, slot, this.#options.codec)
    }
    this.#freed = 0
    this.#socket!.write(out)
  }

  #slotOf(bytes: Buffer, headerAt: number, bodyAt: number): number {
    if (this.#options.codec !== CODEC_JSON) {
      const slot = bytes.readInt32BE(headerAt + 5)
      if (bytes.readInt16BE(headerAt) !== 0) {
        this.#refused(slot, decodeCommand(bytes, headerAt, bodyAt, bodyAt, CODEC_BINARY).remark)
      }
      return slot
    }
    let isSuccess = true
    for (let i = 0; i < SUCCESS_MARK.length; i++) {
      if (bytes[headerAt + i] !== SUCCESS_MARK[i]) isSuccess = false
    }
    const slot = opaqueOf(bytes, headerAt, bodyAt)
    if (slot === -1) return -1
    if (!isSuccess) this.#refused(slot, bytes.toString('utf8', headerAt, bodyAt))
    return slot
  }

  /** Not counted as sent. */
  #refused(slot: number, reason: string | undefined): void {
    this.tally.fail(reason ?? '')
    this.#sentAt[slot] = 0
  }
}

/** Of a header in JSON; -1 when it has none. */
export function opaqueOf(bytes: Buffer, headerAt: number, bodyAt: number): number {
  const mark = bytes.lastIndexOf(OPAQUE_MARK, bodyAt)
  if (mark < headerAt) return -1
  let opaque = 0
  for (let at = mark + OPAQUE_MARK.length; ; at++) {
    const digit = bytes[at]! - 48
    if (digit < 0 || digit > 9) return opaque
    opaque = opaque * 10 + digit
  }
}

export function sendFrame(
  options: LoadOptions,
  queueId: number,
  further: readonly (readonly [string, string])[] = [],
): Buffer {
  // What a Java client sends of itself: a tag, a key, its message id and the wish to wait.
  const properties = encodeProperties([
    ['UNIQ_KEY', '7F00000100002A9F000000000000ABCD'],
    ['WAIT', 'true'],
    ['TAGS', 'TagA'],
    ...further,
  ]).toString()
  const fields = writeFields(SEND_V2, {
    ...{ producerGroup: 'bench-producer', topic: options.topic, defaultTopic: 'TBW102' },
    ...{ defaultTopicQueueNums: 4, queueId, sysFlag: 0, bornTimestamp: Date.now(), flag: 0 },
    ...{ properties, reconsumeTimes: 0, unitMode: false, batch: false },
  })
  const body = Buffer.alloc(options.bodyBytes, 'x')
  // A correlation id of seven digits makes room for any.
  const header = requestHeader({ code: 310, opaque: OPAQUE_MAX, fields })
  return encodeCommand(header, body, options.codec)
}

export function opaqueAt(frame: Buffer, codec: HeaderCodec): number {
  if (codec !== CODEC_JSON) return FRAME_PREFIX_BYTES + 5
  return frame.indexOf(OPAQUE_MARK) + OPAQUE_MARK.length
}

/** Blanks, then digits: as wide as the hole. */
export function putOpaque(out: Buffer, at: number, opaque: number, codec: HeaderCodec): void {
  if (codec !== CODEC_JSON) {
    out.writeInt32BE(opaque, at)
    return
  }
  let rest = opaque
  for (let i = OPAQUE_DIGITS - 1; i >= 0; i--) {
    out[at + i] = rest > 0 || i === OPAQUE_DIGITS - 1 ? 48 + (rest % 10) : 32
    rest = Math.floor(rest / 10)
  }
}

/** Where the offset of a pull goes: as wide as any, with zeros ahead. */
const OFFSET = '111111111111111'
const NEXT_MARK = Buffer.from('"nextBeginOffset":"')

/** Reads one queue from its beginning, over and over, one pull under way. */
export class PullLoad implements Load {
  readonly tally = new Tally()
  readonly #options: LoadOptions
  readonly #frame: Buffer
  readonly #offsetAt: number
  #socket: Socket | undefined
  #isStopped = false
  #offset = 0
  #sentMs = 0

  constructor(options: LoadOptions) {
    this.#options = options
    this.#frame = pullFrame(options)
    this.#offsetAt = this.#frame.indexOf(OFFSET)
  }

  async connect(): Promise<void> {
    this.#socket = await open(this.#options, this.tally, this.#received, () => {})
  }

  start(): void {
    this.#pull()
  }

  stop(): void {
    this.#isStopped = true
    this.#socket?.destroy()
  }

  readonly #received: FrameSink = (...frame) => {
    const next = this.#foundTo(frame[0], frame[1], frame[2]) ?? this.#answeredTo(frame)
    this.#options.latency.add((performance.now() - this.#sentMs) * 1000)
    if (next > this.#offset) this.tally.messages += next - this.#offset
    this.#offset = next
    this.#pull()
  }

  /** Of an answer with messages, as nearly all are: nothing is built of it. */
  #foundTo(bytes: Buffer, headerAt: number, bodyAt: number): number | undefined {
    if (this.#options.codec !== CODEC_JSON) return undefined
    for (let i = 0; i < SUCCESS_MARK.length; i++) {
      if (bytes[headerAt + i] !== SUCCESS_MARK[i]) return undefined
    }
    const mark = bytes.indexOf(NEXT_MARK, headerAt)
    if (mark === -1 || mark >= bodyAt) return undefined
    let next = 0
    for (let at = mark + NEXT_MARK.length; bytes[at] !== QUOTE; at++) {
      next = next * 10 + bytes[at]! - 48
    }
    return next
  }

  /** Of any other; 0: from the beginning again. */
  #answeredTo(frame: Parameters<FrameSink>): number {
    const { code, fields, remark } = decodeCommand(...frame)
    if (code === RESPONSE.success || code === RESPONSE.pullRetryImmediately) {
      return Number(fields.get('nextBeginOffset'))
    }
    const isAtEnd = code === RESPONSE.pullNotFound || code === RESPONSE.pullOffsetMoved
    if (!isAtEnd) this.tally.fail(`${code} ${remark}`)
    return 0
  }

  #pull(): void {
    if (this.#isStopped) return
    this.#sentMs = performance.now()
    const frame = Buffer.from(this.#frame)
    frame.write(String(this.#offset).padStart(OFFSET.length, '0'), this.#offsetAt, 'latin1')
    this.#socket!.write(frame)
  }
}

function pullFrame({ topic, queues, index, batch, codec, isSql }: LoadOptions): Buffer {
  const fields = writeFields(PULL, {
    ...{ consumerGroup: 'bench-consumer', topic, queueId: index % queues, sysFlag: 4 },
    ...{ queueOffset: Number(OFFSET), maxMsgNums: batch, commitOffset: 0 },
    ...{ suspendTimeoutMillis: 0, subVersion: 0 },
    ...(isSql
      ? { subscription: 'n BETWEEN 0 AND 0', expressionType: 'SQL92' }
      : { subscription: '*' }),
  })
  return encodeCommand(requestHeader({ code: 11, opaque: 1, fields }), undefined, codec)
}
