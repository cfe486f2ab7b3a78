// A GatewaySocket over node:net: reads into one buffer that all sockets share, keeps a chunk whose
// turn is spent, bounds what waits for a slow reader, and becomes TLS at a client's hello and a
// WebSocket at a request of HTTP.
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { BrokerError } from '../errors.ts'
import type { GatewaySocket } from '../port/gateway.ts'
import { httpAnswer, isHello, isHttp, NO_TLS } from './first-bytes.ts'
import type { ListenerLimits } from './limits.ts'
import { type ProxyHeader, readProxyHeader } from './proxy-header.ts'
import { decryptToSharedBuffer, readToSharedBuffer, type SocketInside } from './shared-buffer.ts'
import type { TlsAcceptor } from './tls.ts'
import type { TurnBudget } from './turn-budget.ts'
import type { WebSocketAcceptor } from './websocket.ts'
import { WireStream } from './wire-stream.ts'

/** What a connection may begin with besides its protocol. */
export interface Transports {
  readonly tls?: ListenerTls | undefined
  readonly webSocket?: WebSocketAcceptor | undefined
}

export interface ListenerTls {
  readonly acceptor: TlsAcceptor
  /** Clients without TLS are turned away. */
  readonly isEnforced: boolean
}

interface TcpSocketOptions {
  readonly unsentBytesMax: number
  readonly turn: TurnBudget | undefined
  readonly nowMs: number
  readonly failed: (error: unknown) => void
  readonly transports: Transports
  /** Closed before its gateway saw a byte, for this reason. */
  readonly refused: (layer: Layer, reason: string) => void
  /** The protocol begins with this chunk. */
  readonly began: (chunk: Buffer) => void
  /**
   * It comes from a proxy, whose header is read first: called once the socket has the address of
   * the client.
   */
  readonly introduced?: (() => void) | undefined
}

/** What may be wrong beneath the protocol. */
export type Layer = keyof Transports | 'proxy'

const PROXY_HEADER_MS = 10_000
/** A client by a unix socket has no address. */
const LOOPBACK = '127.0.0.1'

export class TcpSocket implements GatewaySocket {
  readonly localAddress: string
  readonly localPort: number
  #remoteAddress: string
  #remotePort: number
  /** Of a proxy that has not said yet whose connection it is: the bytes so far. */
  #header: Buffer | undefined
  readonly #introduced: (() => void) | undefined
  /** The one that the kernel reads and writes, or that ends TLS. */
  #wire: Socket
  /** The one that carries the protocol: the wire, or a WebSocket on it. */
  #socket: Duplex
  /** Where the bytes of the wire go while it carries a WebSocket. */
  #stream: WireStream | undefined
  readonly #unsentBytesMax: number
  readonly #turn: TurnBudget | undefined
  readonly #failed: (error: unknown) => void
  readonly #openedMs: number
  readonly #transports: Transports
  readonly #refused: TcpSocketOptions['refused']
  readonly #began: TcpSocketOptions['began']
  /** The protocol has not begun. */
  #isNew = true
  #isSecured = false
  /** TLS or a WebSocket is between the protocol and the kernel. */
  #isLayered = false
  #certifiedUser: string | undefined
  #isHandshaking = false
  #handshakeMs = Number.POSITIVE_INFINITY
  /** When the handshake was first seen under way. */
  #handshakeSeenMs: number | undefined
  #isPaused = true
  /** The bytes that came when the turn was spent; the socket is not read until they are handled. */
  #kept: Buffer | undefined
  #isInLine = false
  #error: Error | undefined
  #hasRead = false
  #isClosed = false
  #data: ((chunk: Buffer) => void) | undefined
  #closed: ((error: Error | undefined) => void) | undefined
  #gone: (() => void) | undefined
  #drain: (() => void) | undefined
  #written = 0
  /** When the kernel was last seen to take bytes, and what was left then. */
  #progressMs = 0
  #sent = -1
  #queued = -1

  constructor(accepted: Socket, options: TcpSocketOptions) {
    this.#remoteAddress = accepted.remoteAddress ?? LOOPBACK
    this.#remotePort = accepted.remotePort ?? 0
    this.localAddress = accepted.localAddress ?? ''
    this.localPort = accepted.localPort ?? 0
    this.#unsentBytesMax = options.unsentBytesMax
    this.#turn = options.turn
    this.#openedMs = options.nowMs
    this.#failed = options.failed
    this.#transports = options.transports
    this.#refused = options.refused
    this.#began = options.began
    this.#wire = readToSharedBuffer(accepted, (chunk) => this.#read(chunk))
    this.#socket = this.#wire
    this.#follow(this.#wire)
    this.#introduced = options.introduced
    if (options.introduced === undefined) return
    this.#header = Buffer.alloc(0)
    this.#beginHandshake(PROXY_HEADER_MS)
    this.#wire.resume()
  }

  get remoteAddress(): string {
    return this.#remoteAddress
  }

  get remotePort(): number {
    return this.#remotePort
  }

  get certifiedUser(): string | undefined {
    return this.#certifiedUser
  }

  get unsentBytes(): number {
    return this.#socket.writableLength
  }

  get keepsBytes(): boolean {
    return this.#isLayered
  }

  onData(handler: (chunk: Buffer) => void): void {
    this.#data = handler
  }

  onClose(handler: (error: Error | undefined) => void): void {
    this.#closed = handler
    // It may have waited for its gateway until it was closed for its silence.
    if (this.#isClosed) queueMicrotask(() => this.#guard(() => handler(this.#error)))
  }

  onDrain(handler: () => void): void {
    this.#drain = handler
  }

  /** For the listener, apart from the gateway's handler. */
  onGone(handler: () => void): void {
    this.#gone = handler
  }

  pause(): void {
    this.#isPaused = true
    if (!this.#isHandshaking) this.#socket.pause()
  }

  resume(): void {
    this.#isPaused = false
    if (this.#isHandshaking) return
    if (this.#kept === undefined) this.#socket.resume()
    else this.#handleLater(this.#kept)
  }

  handBack(rest: Buffer): void {
    if (this.#isClosed || this.#socket.destroyed) return
    this.#keep(rest)
  }

  write(bytes: Buffer): boolean {
    if (!this.#socket.writable || this.#isHandshaking) return true
    this.#written += bytes.length
    const flushed = this.#socket.write(bytes)
    if (!flushed && this.#socket.writableLength > this.#unsentBytesMax) {
      this.#error ??= new BrokerError(
        'QUOTA_EXCEEDED',
        `${this.#socket.writableLength} bytes wait for a slow reader; ${this.#unsentBytesMax} is the most`,
      )
      this.#socket.destroy()
    }
    return flushed
  }

  end(bytes?: Buffer): void {
    // A goodbye in the clear would be a bad record to a client that expects TLS.
    if (this.#isHandshaking) this.destroy()
    else if (bytes === undefined) this.#socket.end()
    else this.#socket.end(bytes)
  }

  destroy(): void {
    this.#kept = undefined
    this.#socket.destroy()
  }

  /** Why the socket should go, if it should. Called about once a second. */
  overdue(nowMs: number, limits: ListenerLimits): string | undefined {
    if (!this.#hasRead && nowMs - this.#openedMs >= limits.silentMs) {
      return `sent nothing for ${limits.silentMs} ms after connecting`
    }
    if (this.#isHandshaking) {
      this.#handshakeSeenMs ??= nowMs
      if (nowMs - this.#handshakeSeenMs < this.#handshakeMs) return undefined
      return `its handshake was not done within ${this.#handshakeMs} ms`
    }
    const unsent = this.#socket.writableLength
    if (unsent === 0) {
      this.#progressMs = nowMs
      return undefined
    }
    const sent = this.#written - unsent
    const queued = (this.#wire as SocketInside)._handle?.writeQueueSize ?? 0
    if (sent !== this.#sent || queued !== this.#queued) {
      this.#sent = sent
      this.#queued = queued
      this.#progressMs = nowMs
    } else if (nowMs - this.#progressMs >= limits.writeStallMs) {
      return `took none of ${unsent} waiting bytes for ${limits.writeStallMs} ms`
    }
    return undefined
  }

  #read(chunk: Buffer): void {
    if (this.#header !== undefined) this.#readHeader(Buffer.concat([this.#header, chunk]))
    else if (this.#stream === undefined) this.#receive(chunk)
    else this.#stream.feed(chunk)
  }

  #readHeader(bytes: Buffer): void {
    this.#hasRead = true
    let header: ProxyHeader | undefined
    try {
      header = readProxyHeader(bytes)
    } catch (error) {
      this.#turnAway('proxy', (error as Error).message)
      return
    }
    this.#header = header === undefined ? bytes : undefined
    if (header === undefined) return
    if (header.client !== undefined) {
      this.#remoteAddress = header.client.address
      this.#remotePort = header.client.port
    }
    this.#endHandshake()
    this.#wire.pause()
    this.#introduced?.()
    const rest = bytes.subarray(header.bytes)
    if (rest.length > 0 && !this.#wire.destroyed) this.#receive(rest)
  }

  #receive(chunk: Buffer): void {
    this.#hasRead = true
    if (this.#isNew && !this.#begins(chunk)) return
    const mayHandle = this.#kept === undefined && !this.#isPaused
    if (mayHandle && this.#turn?.isSpent(chunk.length) !== true) {
      this.#handle(chunk)
      return
    }
    this.#keep(chunk)
  }

  /** Does the protocol begin with this chunk? As RocketMQ tells TLS apart, on one port. */
  #begins(chunk: Buffer): boolean {
    const { tls, webSocket } = this.#transports
    if (!this.#isSecured && isHello(chunk)) {
      if (tls === undefined) {
        this.#turnAway('tls', 'it came with TLS, which this address does not take', NO_TLS)
      } else void this.#secure(tls.acceptor, Buffer.from(chunk))
      return false
    }
    if (!this.#isSecured && tls?.isEnforced) {
      const text = 'it came without TLS, which this address enforces'
      const answer = isHttp(chunk) ? httpAnswer(400, 'Bad Request', text) : undefined
      this.#turnAway('tls', text, answer)
      return false
    }
    if (webSocket?.takes(chunk)) {
      void this.#upgrade(webSocket, chunk)
      return false
    }
    this.#isNew = false
    this.#began(chunk)
    return true
  }

  #turnAway(layer: Layer, reason: string, answer?: Buffer): void {
    this.#refused(layer, reason)
    if (answer === undefined) this.destroy()
    else this.#wire.end(answer, () => this.destroy())
  }

  async #secure(acceptor: TlsAcceptor, hello: Buffer): Promise<void> {
    const plain = this.#wire
    this.#isHandshaking = true
    plain.pause()
    await acceptor.turn()
    if (plain.destroyed) return
    this.#beginHandshake(acceptor.handshakeMs)
    try {
      const secured = await acceptor.secure(plain, hello)
      this.#certifiedUser = acceptor.userOf(secured)
      this.#isSecured = true
      this.#wire = secured
      const early = decryptToSharedBuffer(secured, (chunk) => this.#read(chunk))
      this.#goOn(secured)
      if (early !== null) this.#read(early)
    } catch (error) {
      this.#turnAway('tls', (error as Error).message)
    }
  }

  async #upgrade(acceptor: WebSocketAcceptor, request: Buffer): Promise<void> {
    const stream = new WireStream(this.#wire)
    this.#stream = stream
    this.#beginHandshake(acceptor.handshakeMs)
    stream.feed(request)
    try {
      const opened = await acceptor.open(stream)
      this.#isNew = false
      this.#goOn(opened)
      opened.on('data', (chunk) => this.#receive(chunk))
    } catch (error) {
      this.#turnAway('webSocket', (error as Error).message)
    }
  }

  /** Its time begins now: many others may have been before it. */
  #beginHandshake(handshakeMs: number): void {
    this.#isHandshaking = true
    this.#handshakeSeenMs = undefined
    this.#handshakeMs = handshakeMs
  }

  #endHandshake(): void {
    this.#isHandshaking = false
    // Silent so far: the bytes were the handshake's.
    this.#hasRead = false
  }

  /** With the socket that carries the protocol, or the next transport, from now on. */
  #goOn(socket: Duplex): void {
    this.#endHandshake()
    this.#socket.off('close', this.#onClose)
    this.#isLayered = true
    this.#socket = socket
    this.#follow(socket)
    if (this.#isPaused) socket.pause()
    else socket.resume()
  }

  #follow(socket: Duplex): void {
    socket.on('error', (error) => {
      this.#error = error
    })
    // The other side ended: pending output is still sent, then the socket closes by itself.
    socket.on('close', this.#onClose)
    socket.on('drain', () => this.#guard(this.#drain))
  }

  readonly #onClose = (): void => this.#close()

  /** A copy: chunks come in a buffer that all sockets share. */
  #keep(chunk: Buffer): void {
    this.#kept = this.#kept === undefined ? Buffer.from(chunk) : Buffer.concat([this.#kept, chunk])
    this.#socket.pause()
    this.#handleLater(this.#kept)
  }

  #handleLater(kept: Buffer): void {
    if (this.#isInLine) return
    this.#isInLine = true
    if (this.#turn === undefined) setImmediate(this.#handleKept)
    else this.#turn.handleLater(kept.length, this.#handleKept)
  }

  readonly #handleKept = (): void => {
    this.#isInLine = false
    const kept = this.#kept
    // Paused in between, it goes on when it is resumed.
    if (kept === undefined || this.#isPaused) return
    this.#kept = undefined
    this.#handle(kept)
    if (!this.#isPaused && this.#kept === undefined) this.#socket.resume()
  }

  #handle(chunk: Buffer): void {
    try {
      this.#data?.(chunk)
    } catch (error) {
      // A parser left half-fed cannot go on, but only this connection pays for it.
      this.#error ??= error instanceof Error ? error : new Error(String(error))
      this.#failed(error)
      this.#socket.destroy()
    }
  }

  #guard(handler: (() => void) | undefined): void {
    try {
      handler?.()
    } catch (error) {
      this.#failed(error)
      this.#socket.destroy()
    }
  }

  #close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    const kept = this.#kept
    this.#kept = undefined
    // It came before the end.
    if (kept !== undefined) this.#handle(kept)
    this.#gone?.()
    this.#guard(() => this.#closed?.(this.#error))
    this.#data = undefined
    this.#drain = undefined
  }
}
