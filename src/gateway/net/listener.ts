// The one place that owns listening sockets: binds, counts and limits connections, reads them into
// one shared buffer and hands each to its gateway as a GatewaySocket. Knows bytes; no protocol, no
// broker.
import { connect, createServer, type Server, Socket } from 'node:net'
import type { Clock, Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { Numbers } from '../../numbers/numbers.ts'
import type { Gateway, GatewaySocket } from '../../port/gateway.ts'
import { NetworkCounts } from '../access/network-counts.ts'
import type { ConnectionBudget } from './connection-budget.ts'
import { CONNECTIONS, CONNECTIONS_REFUSED, type ConnectionLimit } from './numbers.ts'
import type { TurnBudget } from './turn-budget.ts'

export interface ListenerLimits {
  readonly connectionsMax: number
  readonly connectionsPerAddressMax: number
  /** Bytes waiting in one connection for a slow reader; beyond, it is closed. */
  readonly unsentBytesMax: number
  /** A connection that takes none of its waiting bytes for this long is closed. */
  readonly writeStallMs: number
  /** A new connection that sends nothing for this long is closed. */
  readonly silentMs: number
}

export interface ListenerOptions {
  readonly host: string
  /** 0 = any free port; `Listener.port` tells which. */
  readonly port: number
  /** Section of the configuration, for messages: 'mqtt'. */
  readonly name: string
  readonly limits: ListenerLimits
  /** Connections that all listeners of the process share; absent: only `limits` bounds this one. */
  readonly budget?: ConnectionBudget | undefined
  /** Time that listeners with bulk work share; absent: each chunk is handled as it comes. */
  readonly turn?: TurnBudget | undefined
  readonly log: Logger
  readonly clock: Clock
  /** Of the process; default: numbers that are not read. */
  readonly numbers?: Numbers
}

/** Pending connections the kernel keeps; Linux caps it at net.core.somaxconn. */
const BACKLOG = 4096
/** Read buffer of the whole process: a chunk is valid only during its callback. */
const READ_BUFFER_BYTES = 256 * 1024
const readBuffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES)
const KEEP_ALIVE_MS = 60_000
const SWEEP_MS = 1_000
/** Refusals are logged at most this often, so that a flood costs no log. */
const REFUSAL_LOG_MS = 10_000

/** The limit that all listeners share. */
const OPEN_FILES: ConnectionLimit = 'openFiles'

/** Undocumented fields of node:net's sockets; every use has a fallback. */
interface SocketInside {
  _handle?: { useUserBuffer?: unknown; writeQueueSize?: number } | null
  _server?: unknown
}

export class Listener {
  readonly host: string
  readonly port: number
  /** As it was opened. */
  readonly options: ListenerOptions
  readonly #server: Server
  readonly #sockets = new Set<TcpSocket>()
  readonly #perNetwork = new NetworkCounts()
  /** Accepted before there was a gateway: unread, in the order they came. */
  #early: TcpSocket[] = []
  #gateway: Gateway | undefined
  readonly #numbers: Numbers
  readonly #shown: Disposable
  #sweep: Timer | undefined
  #refusalLoggedMs = Number.NEGATIVE_INFINITY

  /** @throws BrokerError CONFIG_INVALID when the address cannot be bound, with what to do */
  static async open(options: ListenerOptions): Promise<Listener> {
    const server = createServer({
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      pauseOnConnect: true,
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(bindError(options, error)))
      server.listen({ host: options.host, port: options.port, backlog: BACKLOG }, resolve)
    })
    return new Listener(options, server)
  }

  private constructor(options: ListenerOptions, server: Server) {
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('not a TCP listener')
    this.host = address.address
    this.port = address.port
    this.options = options
    this.#server = server
    const labels = { protocol_type: options.name, listener: `${this.host}:${this.port}` }
    this.#numbers = options.numbers ?? new Numbers()
    this.#numbers.declare(CONNECTIONS_REFUSED)
    this.#shown = this.#numbers.gauge(CONNECTIONS, () => this.connections, labels)
    server.maxConnections = options.limits.connectionsMax
    server.removeAllListeners('error')
    server.on('error', (error) => {
      const fields = { evt: 'listener.error', listener: options.name, error: error.message }
      options.log.warn(fields, 'accepting a connection failed')
    })
    server.on('drop', () => this.#refuse('connectionsMax', options.limits.connectionsMax))
    server.on('connection', (socket) => this.#accept(socket))
  }

  get connections(): number {
    return this.#sockets.size
  }

  /** Ports are taken early and served once the parts behind them are ready. */
  serve(gateway: Gateway): void {
    this.#gateway = gateway
    this.#sweep = this.options.clock.every(SWEEP_MS, () => this.#sweepSockets())
    const early = this.#early
    this.#early = []
    for (const socket of early) this.#hand(socket, gateway)
  }

  /** No new connection from now on; the open ones stay with their gateway. */
  stopAccepting(): void {
    this.#server.close()
  }

  /** Destroys whatever is still open; settles when every socket is gone. */
  async close(): Promise<void> {
    this.#sweep?.cancel()
    this.#shown[Symbol.dispose]()
    const closed = new Promise<void>((resolve) => {
      // Answers ERR_SERVER_NOT_RUNNING when stopAccepting came first and all is gone already.
      this.#server.close(() => resolve())
    })
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #accept(accepted: Socket): void {
    // An error without a listener would end the process, so this comes before anything else.
    accepted.on('error', ignoreError)
    const remoteAddress = accepted.remoteAddress
    if (remoteAddress === undefined) {
      accepted.destroy()
      return
    }
    const { limits, log, clock, name, budget, turn } = this.options
    if (!this.#perNetwork.take(remoteAddress, limits.connectionsPerAddressMax)) {
      accepted.destroy()
      this.#refuse('connectionsPerAddressMax', limits.connectionsPerAddressMax)
      return
    }
    if (budget?.take(name) === false) {
      this.#perNetwork.give(remoteAddress)
      accepted.destroy()
      this.#refuse(OPEN_FILES, budget.total)
      return
    }
    const failed = (error: unknown): void => {
      const fields = { evt: 'listener.failed', listener: name, remote: remoteAddress, err: error }
      log.error(fields, 'a connection failed and was closed')
    }
    const { unsentBytesMax } = limits
    const options = { unsentBytesMax, turn, nowMs: clock.monotonic(), failed }
    const socket = new TcpSocket(accepted, options)
    this.#sockets.add(socket)
    socket.onGone(() => {
      budget?.give(name)
      this.#sockets.delete(socket)
      this.#perNetwork.give(remoteAddress)
    })
    if (this.#gateway === undefined) this.#early.push(socket)
    else this.#hand(socket, this.#gateway)
  }

  #hand(socket: TcpSocket, gateway: Gateway): void {
    try {
      gateway.accept(socket)
    } catch (error) {
      const { log, name } = this.options
      const fields = { evt: 'listener.failed', listener: name, remote: socket.remoteAddress }
      log.error({ ...fields, err: error }, 'a connection could not be taken and was closed')
      socket.destroy()
    }
  }

  #refuse(limit: ConnectionLimit, value: number): void {
    const { name, log } = this.options
    const labels = { protocol_type: name, reason: limit }
    const refused = this.#numbers.counter(CONNECTIONS_REFUSED, labels)
    refused.value++
    const now = this.options.clock.monotonic()
    if (now - this.#refusalLoggedMs < REFUSAL_LOG_MS) return
    this.#refusalLoggedMs = now
    const fields = { evt: 'listener.refused', listener: name, limit, value, refused: refused.value }
    const remedy = limit === OPEN_FILES ? 'the limit of open files (ulimit -n)' : `${name}.${limit}`
    log.warn(fields, `connections are refused; raise ${remedy} if that is wrong`)
  }

  #sweepSockets(): void {
    const { limits, clock, log, name } = this.options
    const now = clock.monotonic()
    for (const socket of this.#sockets) {
      const reason = socket.overdue(now, limits)
      if (reason === undefined) continue
      const fields = { evt: 'listener.overdue', listener: name, remote: socket.remoteAddress }
      log.debug(fields, reason)
      socket.destroy()
    }
  }
}

/** Whether a connection to the address comes about in time. */
export function canDial(
  host: string,
  port: number,
  timeoutMs: number,
  clock: Clock,
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const late = clock.after(timeoutMs, () => answer(false))
    const answer = (isOpen: boolean): void => {
      late.cancel()
      socket.destroy()
      resolve(isOpen)
    }
    socket.on('error', () => answer(false))
    socket.once('connect', () => answer(true))
  })
}

function ignoreError(): void {
  // Every failure also closes the socket, and 'close' is what is listened to.
}

function bindError(options: ListenerOptions, error: NodeJS.ErrnoException): BrokerError {
  const { name } = options
  const at = `${options.host}:${options.port}`
  // As the command line spells it.
  const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
  const fix: Record<string, string> = {
    EADDRINUSE: `another process listens there; stop it or choose another port with ${flag}.port`,
    EADDRNOTAVAIL: `this machine has no such address; set ${flag}.host to one of its own`,
    EACCES: `this user may not bind it; choose a port above 1023 with ${flag}.port`,
    ENOTFOUND: `the host name is unknown; set ${flag}.host to an address of this machine`,
  }
  const known = error.code !== undefined && Object.hasOwn(fix, error.code)
  return new BrokerError(
    'CONFIG_INVALID',
    `${name} cannot listen on ${at}: ${known ? fix[error.code!] : error.message}`,
    { cause: error },
  )
}

interface TcpSocketOptions {
  readonly unsentBytesMax: number
  readonly turn: TurnBudget | undefined
  readonly nowMs: number
  readonly failed: (error: unknown) => void
}

/** A GatewaySocket over node:net, read through the shared buffer where node lets us. */
class TcpSocket implements GatewaySocket {
  readonly remoteAddress: string
  readonly remotePort: number
  readonly localAddress: string
  readonly #socket: Socket
  readonly #unsentBytesMax: number
  readonly #turn: TurnBudget | undefined
  readonly #failed: (error: unknown) => void
  readonly #openedMs: number
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

  constructor(accepted: Socket, { unsentBytesMax, turn, nowMs, failed }: TcpSocketOptions) {
    this.remoteAddress = accepted.remoteAddress ?? ''
    this.remotePort = accepted.remotePort ?? 0
    this.localAddress = accepted.localAddress ?? ''
    this.#unsentBytesMax = unsentBytesMax
    this.#turn = turn
    this.#openedMs = nowMs
    this.#failed = failed
    const socket = withSharedBuffer(accepted, (chunk) => this.#receive(chunk))
    this.#socket = socket
    socket.on('error', (error) => {
      this.#error = error
    })
    // The other side ended: pending output is still sent, then the socket closes by itself.
    socket.on('close', () => this.#close())
    socket.on('drain', () => this.#guard(this.#drain))
  }

  get unsentBytes(): number {
    return this.#socket.writableLength
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
    this.#socket.pause()
  }

  resume(): void {
    this.#isPaused = false
    if (this.#kept === undefined) this.#socket.resume()
    else this.#handleLater(this.#kept)
  }

  handBack(rest: Buffer): void {
    if (this.#isClosed || this.#socket.destroyed) return
    this.#keep(rest)
  }

  write(bytes: Buffer): boolean {
    if (!this.#socket.writable) return true
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
    if (bytes === undefined) this.#socket.end()
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
    const unsent = this.#socket.writableLength
    if (unsent === 0) {
      this.#progressMs = nowMs
      return undefined
    }
    const sent = this.#written - unsent
    const queued = (this.#socket as SocketInside)._handle?.writeQueueSize ?? 0
    if (sent !== this.#sent || queued !== this.#queued) {
      this.#sent = sent
      this.#queued = queued
      this.#progressMs = nowMs
    } else if (nowMs - this.#progressMs >= limits.writeStallMs) {
      return `took none of ${unsent} waiting bytes for ${limits.writeStallMs} ms`
    }
    return undefined
  }

  #receive(chunk: Buffer): void {
    this.#hasRead = true
    if (this.#kept === undefined && this.#turn?.isSpent(chunk.length) !== true) {
      this.#handle(chunk)
      return
    }
    this.#keep(chunk)
  }

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

/**
 * net.Server cannot make sockets with `onread`, so the accepted handle moves into a second socket
 * that has it. That saves a buffer and an event per chunk; on a node without these insides the
 * accepted socket is used as it is.
 */
function withSharedBuffer(accepted: Socket, received: (chunk: Buffer) => void): Socket {
  const from = accepted as Socket & SocketInside
  const handle = from._handle
  if (typeof handle?.useUserBuffer !== 'function' || from._server === undefined) {
    accepted.on('data', received)
    accepted.pause()
    return accepted
  }
  const socket = new Socket({
    handle,
    pauseOnCreate: true,
    onread: {
      buffer: readBuffer,
      callback: (bytes: number, buffer: Buffer) => {
        received(buffer.subarray(0, bytes))
        return true
      },
    },
  } as object) as Socket & SocketInside
  // The server counts its open connections through this field.
  socket._server = from._server
  from._server = null
  from._handle = null
  return socket
}
