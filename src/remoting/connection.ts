// The client side of one native connection: dials, correlates requests with responses, sends
// one-way commands, and hands the peer's own requests (pushes) to its owner. The owner reconnects.
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import type { Clock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { BODY_BYTES_MAX } from '../model/limits.ts'
import { Output } from '../output.ts'
import { tlsFailureText } from '../tls-failure.ts'
import { RESPONSE } from './codes.ts'
import {
  type Command,
  decodeCommand,
  encodeCommand,
  isOneWay,
  isResponse,
  NO_BODY,
  requestHeader,
  responseHeader,
} from './command.ts'
import { CODEC_JSON, FRAME_BYTES_MAX, FrameSplitter, type HeaderCodec } from './frame.ts'
import { type Fields, NO_FIELDS } from './header/header.ts'
import { PendingRequests } from './pending-requests.ts'
import { type Credentials, signFields } from './signature.ts'

const CONNECT_TIMEOUT_MS = 3000
const REQUEST_TIMEOUT_MS = 3000
/** The largest answer of Apache's brokers, and one message of our largest size. */
const ANSWER_BYTES_MAX = FRAME_BYTES_MAX + BODY_BYTES_MAX

/** The answer of a push's receiver; without, a push that wants one is told that it is unknown. */
export interface PushAnswer {
  readonly code: number
  readonly fields?: Fields
  readonly body?: Uint8Array
  readonly remark?: string
}

export interface DialOptions {
  readonly host: string
  readonly port: number
  readonly clock: Clock
  readonly connectTimeoutMs?: number | undefined
  readonly tls?: ConnectionOptions | undefined
  /** Signs every request. */
  readonly credentials?: Credentials | undefined
  readonly codec?: HeaderCodec | undefined
  readonly language?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Bytes are read into it, one piece after the other. Not over TLS. */
  readonly readInto?: Buffer | undefined
  /** A request of the peer. Its body is the owner's to keep. */
  readonly onPush?: ((command: Command) => PushAnswer | undefined) | undefined
}

export interface RequestOptions {
  readonly fields?: Fields | undefined
  readonly body?: Uint8Array | undefined
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Rejects with UNREACHABLE, or the signal's reason. */
export async function dial(options: DialOptions): Promise<RemotingConnection> {
  const socket = await openSocket(options)
  return new RemotingConnection(socket, options)
}

export class RemotingConnection {
  /** 'host:port' as dialled. */
  readonly address: string
  /**
   * Resolves, never rejects, when the connection is gone; with the reason unless `close` was
   * called.
   */
  readonly closed: Promise<BrokerError | undefined>
  readonly #socket: Socket
  readonly #options: DialOptions
  readonly #output: Output
  readonly #pending: PendingRequests
  readonly #splitter: FrameSplitter
  /** What is read at present. */
  #chunk: Buffer | undefined
  #isClosed = false
  #hasHeard = false
  #settleClosed: (reason: BrokerError | undefined) => void = () => {}

  /** Use `dial`. */
  constructor(socket: Socket, options: DialOptions) {
    this.address = `${options.host}:${options.port}`
    this.#socket = socket
    this.#options = options
    this.#pending = new PendingRequests(options.clock)
    this.#output = new Output({
      get unsentBytes() {
        return socket.writableLength
      },
      write: (bytes) => socket.write(bytes),
      end: () => socket.destroySoon(),
    })
    this.#splitter = new FrameSplitter(this.#onFrame, ANSWER_BYTES_MAX)
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve
    })
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#onData(chunk))
    socket.on('error', (error) => this.#onGone(this.#unreachable(error)))
    socket.on('close', () => this.#onGone(this.#unreachable()))
  }

  /** This machine's address on the connection. */
  get localAddress(): string {
    return this.#socket.localAddress ?? ''
  }

  get isOpen(): boolean {
    return !this.#isClosed
  }

  /** Bytes given and not yet taken by the kernel; a sender that cares waits while it is high. */
  get unsentBytes(): number {
    return this.#output.unsentBytes
  }

  /** Requests that wait for their answer. */
  get pendingRequests(): number {
    return this.#pending.size
  }

  /** A request ran out of its time, and the peer has answered none since it went out. */
  get isSilent(): boolean {
    return this.#pending.isSilent
  }

  /**
   * The response, whatever its code; its body is the caller's. Rejects with TIMED_OUT, UNREACHABLE,
   * CLOSED, BUSY.
   */
  request(code: number, options: RequestOptions = {}): Promise<Command> {
    if (this.#isClosed) return Promise.reject(this.#closedError())
    const opaque = this.#pending.nextOpaque()
    const answer = this.#pending.wait(opaque, {
      timeoutMs: options.timeoutMs ?? REQUEST_TIMEOUT_MS,
      signal: options.signal,
      what: `request ${code} to ${this.address}`,
    })
    // Refused at once, nothing must go out: the caller may try again.
    if (this.#pending.has(opaque)) this.#send(code, opaque, options, false)
    return answer
  }

  /** No answer comes, whatever happens to it. @throws BrokerError CLOSED */
  oneWay(code: number, options: RequestOptions = {}): void {
    if (this.#isClosed) throw this.#closedError()
    this.#send(code, this.#pending.nextOpaque(), options, true)
  }

  /**
   * Sends gathered commands, then closes. Requests that wait for an answer fail with CLOSED.
   * Idempotent.
   */
  close(): void {
    if (this.#isClosed) return
    this.#output.end()
    this.#finish(this.#closedError(), undefined)
  }

  #send(code: number, opaque: number, options: RequestOptions, oneWay: boolean): void {
    const { credentials, codec, language } = this.#options
    const body = options.body ?? NO_BODY
    let fields = options.fields ?? NO_FIELDS
    if (credentials) fields = signFields(credentials, fields, body)
    const header = requestHeader({ code, opaque, fields, oneWay, language })
    this.#output.push(encodeCommand(header, body, codec ?? CODEC_JSON))
  }

  /**
   * The next answer that comes in pieces and fits is gathered in it; its body is a part of it then.
   * Asked for where there is none from an earlier call.
   */
  lend(buffer: () => Buffer): void {
    this.#splitter.spare ??= buffer()
  }

  #onData(chunk: Buffer): void {
    this.#hasHeard = true
    this.#chunk = chunk
    try {
      this.#splitter.push(chunk)
    } catch (error) {
      this.#onGone(this.#unreadable(BrokerError.from(error)))
    }
    this.#chunk = undefined
  }

  #unreadable(error: BrokerError): BrokerError {
    const text = `what listens at ${this.address} sent something else than RocketMQ's protocol`
    return new BrokerError(error.code, `${text}: ${error.message}`, { cause: error })
  }

  readonly #onFrame = (
    bytes: Buffer,
    headerAt: number,
    bodyAt: number,
    end: number,
    codec: HeaderCodec,
  ): void => {
    const command = decodeCommand(bytes, headerAt, bodyAt, end, codec)
    // A chunk is read over, or holds many answers; what was gathered is of this one alone.
    const body = bytes === this.#chunk ? Buffer.from(command.body) : command.body
    const owned = { ...command, body }
    if (isResponse(command)) this.#pending.settle(owned)
    else this.#onPush(owned)
  }

  #onPush(command: Command): void {
    const answer = this.#options.onPush?.(command)
    if (isOneWay(command)) return
    const { code, fields, remark, body } = answer ?? notSupported(command)
    const header = responseHeader(command.opaque, code, fields, remark)
    this.#output.push(encodeCommand(header, body, command.codec))
  }

  #onGone(reason: BrokerError): void {
    if (this.#isClosed) return
    this.#output.close()
    this.#socket.destroy()
    this.#finish(reason, reason)
  }

  #finish(pending: BrokerError, reason: BrokerError | undefined): void {
    this.#isClosed = true
    this.#pending.failAll(pending)
    this.#settleClosed(reason)
  }

  #unreachable(cause?: Error): BrokerError {
    const closed = this.#hasHeard ? 'the peer closed it' : this.#closedAtOnce()
    const text = cause === undefined ? closed : cause.message
    return new BrokerError('UNREACHABLE', `the connection to ${this.address} is gone: ${text}`, {
      cause,
    })
  }

  #closedAtOnce(): string {
    const guess = this.#options.tls ? 'a certificate from its clients' : 'TLS'
    return `the peer closed it before its first answer; it may ask for ${guess}`
  }

  #closedError(): BrokerError {
    return new BrokerError('CLOSED', `the connection to ${this.address} is closed`)
  }
}

const notSupported = ({ code }: Command): PushAnswer => ({
  code: RESPONSE.requestCodeNotSupported,
  remark: ` request type ${code} not supported`,
})

function openSocket(options: DialOptions): Promise<Socket> {
  const { host, port, signal } = options
  if (signal?.aborted) return Promise.reject(signal.reason)
  return new Promise((resolve, reject) => {
    const timeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS
    const onread = (buffer: Buffer) => ({
      buffer,
      callback: (count: number): boolean => {
        socket.emit('data', buffer.subarray(0, count))
        return true
      },
    })
    const socket = options.tls
      ? connectTls({ host, port, ...(isIP(host) === 0 && { servername: host }), ...options.tls })
      : connectTcp({ host, port, ...(options.readInto && { onread: onread(options.readInto) }) })
    const settle = (finish: () => void): void => {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
      socket.off('error', onError).off('close', onClose).off(opened, onOpen)
      finish()
    }
    const fail = (reason: unknown): void =>
      settle(() => {
        socket.on('error', () => {})
        socket.destroy()
        reject(reason)
      })
    const opened = options.tls ? 'secureConnect' : 'connect'
    const onOpen = (): void => settle(() => resolve(socket))
    const onError = (cause: Error): void =>
      fail(unreachable(options, tlsFailureText(cause) ?? cause.message, cause))
    const onClose = (): void => fail(unreachable(options, 'the peer closed it'))
    const onAbort = (): void => fail(signal?.reason)
    const timer = options.clock.after(timeoutMs, () =>
      fail(unreachable(options, `no answer within ${timeoutMs} ms`)),
    )
    signal?.addEventListener('abort', onAbort, { once: true })
    socket.on('error', onError).on('close', onClose).on(opened, onOpen)
  })
}

function unreachable({ host, port }: DialOptions, text: string, cause?: Error): BrokerError {
  return new BrokerError('UNREACHABLE', `cannot connect to ${host}:${port}: ${text}`, { cause })
}
