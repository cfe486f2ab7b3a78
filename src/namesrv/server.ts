// The name server: takes sockets like a front-end, answers every request at once, and forgets
// brokers whose connection ends or falls silent. Holds nothing on disk and knows of no other name
// server.
import { type Clock, nextTurn, type Timer } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { Gateway, GatewayContext, GatewaySocket } from '../port/gateway.ts'
import { tooLongForAnswer } from '../remoting/answer-bytes.ts'
import { FLAG_ONE_WAY, FLAG_RESPONSE, REQUEST } from '../remoting/codes.ts'
import { type Command, decodeCommand, encodeCommand, responseHeader } from '../remoting/command.ts'
import {
  FRAME_BYTES_MAX,
  FRAME_BYTES_MAX_UNAUTHENTICATED,
  FrameSplitter,
  REQUEST_HEADER_BYTES_MAX,
} from '../remoting/frame.ts'
import { LargeFrames } from '../remoting/large-frames.ts'
import { Outbox } from '../remoting/outbox.ts'
import { PARTIAL_BYTES_PER_MS, PartialFrames } from '../remoting/partial-frames.ts'
import type { Credentials } from '../remoting/signature.ts'
import { checkCaller, delayOfRefusal } from './caller.ts'
import { FirstUse } from './first-use.ts'
import { KeyValues } from './key-values.ts'
import { reachableAddress } from './reachable-address.ts'
import { Registrations } from './registrations.ts'
import {
  checkBody,
  failed,
  type NameServerAnswer,
  nameServerRequests,
  unsupported,
} from './requests.ts'
import { RouteTable } from './route-table.ts'

export interface NameServerContext {
  readonly clock: Clock
  readonly log: Logger
  /** Without one, everyone may register. */
  readonly auth?: GatewayContext['auth'] | undefined
}

export interface NameServerOptions {
  /** The broker of the same process signs with these, and needs no user. */
  readonly trusted?: Credentials | undefined
  /** How often silent brokers and idle connections are looked for. */
  readonly scanMs?: number
  /** A connection without a request for this long is closed. Clients poll routes every 30 s. */
  readonly idleMs?: number
  /** From the first byte to the first whole command; bytes that make none show nothing. */
  readonly introductionMs?: number
}

const SCAN_MS = 5_000
const IDLE_MS = 120_000
const INTRODUCTION_MS = 10_000
/** Lines about brokers that came or went, in one window; what is more is counted. */
const ANNOUNCED_MAX = 100
const ANNOUNCE_WINDOW_MS = 60_000
/** Answers that the peer has not taken; beyond, it is neither read nor served. */
const UNSENT_BYTES_MAX = 4 * 1024 * 1024
/** Requests of one chunk are served for so long; the rest waits its turn. */
const CHUNK_MS_MAX = 5

export class NameServer implements Gateway {
  readonly protocol = 'remoting'
  readonly routes: RouteTable
  readonly #values = new KeyValues()
  readonly #registrations = new Registrations()
  readonly #context: NameServerContext
  readonly #trusted: Credentials | undefined
  readonly #connections = new Set<NameServerConnection>()
  readonly #scan: Timer
  readonly #largeFrames: LargeFrames
  readonly #partialFrames = new PartialFrames()
  #announced = 0
  #unannounced = 0
  #announcedMs = Number.NEGATIVE_INFINITY
  #isClosing = false
  #allGone: (() => void) | undefined

  constructor(context: NameServerContext, options: NameServerOptions = {}) {
    this.#context = context
    this.routes = new RouteTable(undefined, context.clock)
    this.#trusted = options.trusted
    this.#largeFrames = new LargeFrames(context.clock)
    const { idleMs = IDLE_MS, introductionMs = INTRODUCTION_MS } = options
    this.#scan = context.clock.every(options.scanMs ?? SCAN_MS, () => {
      const now = context.clock.monotonic()
      void this.#removeEach('namesrv.broker_expired', () => this.routes.expireOne(now))
      for (const connection of this.#connections) {
        const { heardMs, firstHeardMs = now, hasSentFrame, partialBytes } = connection
        const allowedMs = introductionMs + Math.floor(partialBytes / PARTIAL_BYTES_PER_MS)
        const isLate = !hasSentFrame && now - firstHeardMs >= allowedMs
        if (isLate || now - heardMs >= idleMs) connection.destroy()
      }
    })
  }

  get connections(): number {
    return this.#connections.size
  }

  accept(socket: GatewaySocket): void {
    if (this.#isClosing) {
      socket.destroy()
      return
    }
    const connection: NameServerConnection = new NameServerConnection(socket, {
      context: this.#context,
      largeFrames: this.#largeFrames,
      partialFrames: this.#partialFrames,
      serve: (command) => this.#serve(command, connection, socket),
      onGone: () => this.#forget(connection),
    })
    this.#connections.add(connection)
  }

  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true
    this.#scan.cancel()
    if (this.#connections.size === 0) return
    const gone = new Promise<void>((resolve) => {
      this.#allGone = resolve
    })
    for (const connection of this.#connections) connection.end()
    const late = this.#context.clock.after(deadlineMs, () => {
      for (const connection of this.#connections) connection.destroy()
    })
    await gone
    late.cancel()
  }

  #serve(
    command: Command,
    connection: NameServerConnection,
    socket: GatewaySocket,
  ): NameServerAnswer | Promise<NameServerAnswer> {
    connection.firstUse.hear(command)
    const serve = nameServerRequests.get(command.code)
    if (serve === undefined) return unsupported(command.code)
    checkBody(command)
    if (checkCaller(command, this.#context.auth, this.#trusted)) connection.trust()
    return serve({
      command,
      routes: this.routes,
      values: this.#values,
      clock: this.#context.clock,
      connection,
      registrations: this.#registrations,
      firstUse: connection.firstUse,
      reachable: (address) => reachableAddress(address, socket.localAddress),
      announce: (evt, address) => this.#announce(evt, address),
    })
  }

  #forget(connection: NameServerConnection): void {
    this.#connections.delete(connection)
    void this.#removeEach('namesrv.broker_disconnected', () =>
      this.routes.unregisterOneOf(connection),
    )
    if (this.#connections.size === 0) this.#allGone?.()
  }

  /**
   * The first at once, the others each in a turn of its own: a broker may have very many topics.
   */
  async #removeEach(evt: string, removeOne: () => string | undefined): Promise<void> {
    for (let address = removeOne(); address !== undefined; address = removeOne()) {
      this.#announce(evt, address)
      await nextTurn()
    }
  }

  /** A peer may register as many brokers as the table takes: the log is not to be filled by it. */
  #announce(evt: string, address: string): void {
    const now = this.#context.clock.monotonic()
    if (now - this.#announcedMs >= ANNOUNCE_WINDOW_MS) {
      if (this.#unannounced > 0) {
        const fields = { evt: 'namesrv.brokers_unannounced', count: this.#unannounced }
        this.#context.log.warn(fields, 'so many brokers came and went that not each had its line')
      }
      this.#announcedMs = now
      this.#announced = 0
      this.#unannounced = 0
    }
    if (++this.#announced > ANNOUNCED_MAX) {
      this.#unannounced++
      return
    }
    this.#context.log.info(
      { evt, address },
      `broker ${address}: ${evt.slice('namesrv.broker_'.length)}`,
    )
  }
}

interface ConnectionOptions {
  readonly context: NameServerContext
  readonly largeFrames: LargeFrames
  readonly partialFrames: PartialFrames
  readonly serve: (command: Command) => NameServerAnswer | Promise<NameServerAnswer>
  readonly onGone: () => void
}

class NameServerConnection {
  readonly firstUse = new FirstUse()
  readonly #socket: GatewaySocket
  readonly #options: ConnectionOptions
  readonly #outbox: Outbox
  readonly #splitter: FrameSplitter
  /** When the peer was last heard, monotonic ms. */
  heardMs: number
  /** When its first byte came; the listener closes one that sends nothing at all. */
  firstHeardMs: number | undefined
  hasSentFrame = false
  isClosed = false
  /** A command takes its time; those behind it wait, and nothing more is read. */
  #isServing = false
  /** A wrong signature is answered then, and the connection ends. */
  #lateAnswer: Timer | undefined

  constructor(socket: GatewaySocket, options: ConnectionOptions) {
    this.#socket = socket
    this.#options = options
    this.#outbox = new Outbox(socket)
    const { auth, clock } = options.context
    this.heardMs = clock.monotonic()
    this.#splitter = new FrameSplitter(
      (...frame) => this.#take(decodeCommand(...frame)),
      auth?.anonymousAllowed === false ? FRAME_BYTES_MAX_UNAUTHENTICATED : FRAME_BYTES_MAX,
      REQUEST_HEADER_BYTES_MAX,
      (bytes) => options.largeFrames.admit(this, bytes, () => socket.destroy()),
      (bytes) => options.partialFrames.hold(this, bytes, () => socket.destroy()),
    )
    socket.onData((chunk) => this.#onData(chunk))
    socket.onDrain(() => this.#goOn())
    socket.onClose(() => {
      this.isClosed = true
      this.#lateAnswer?.cancel()
      this.#outbox.close()
      this.#splitter.close()
      options.largeFrames.release(this)
      options.onGone()
    })
    socket.resume()
  }

  get partialBytes(): number {
    return this.#splitter.partialBytes
  }

  /** A peer that signed as a broker or an operator may send large tables. */
  trust(): void {
    this.#splitter.frameBytesMax = FRAME_BYTES_MAX
  }

  end(): void {
    this.#outbox.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #onData(chunk: Buffer): void {
    // Commands behind a refused one are not served.
    if (this.#lateAnswer !== undefined) return
    this.heardMs = this.#options.context.clock.monotonic()
    this.firstHeardMs ??= this.heardMs
    try {
      const taken = this.#splitter.push(chunk)
      if (taken < chunk.length) this.#socket.handBack(chunk.subarray(taken))
      // At once: at the end of the turn it would be behind the answers to what producers and
      // consumers sent.
      this.#outbox.flush()
    } catch (error) {
      if (this.#lateAnswer !== undefined) return
      const fields = { evt: 'namesrv.refused', remote: this.#socket.remoteAddress, err: error }
      this.#options.context.log.debug(fields, 'a peer sent bytes that are no native command')
      this.#socket.destroy()
    }
    if (this.#isBusy) this.#socket.pause()
  }

  get #isBusy(): boolean {
    return this.#isServing || this.#outbox.unsentBytes > UNSENT_BYTES_MAX
  }

  /** Reads again, what was handed back first. */
  #goOn(): void {
    if (!this.isClosed && !this.#isBusy && this.#lateAnswer === undefined) this.#socket.resume()
  }

  /** In the order in which they came. */
  #take(command: Command): void {
    this.#options.largeFrames.release(this)
    this.hasSentFrame = true
    if ((command.flag & FLAG_RESPONSE) !== 0) return
    const isKept = command.code === REQUEST.registerBroker
    this.#serve(isKept ? { ...command, body: Buffer.from(command.body) } : command)
    const servedMs = this.#options.context.clock.monotonic() - this.heardMs
    if (this.#isBusy || servedMs >= CHUNK_MS_MAX) this.#splitter.stop()
  }

  #serve(command: Command): void {
    let answer: NameServerAnswer | Promise<NameServerAnswer>
    try {
      answer = this.#options.serve(command)
    } catch (error) {
      answer = failed(error)
      this.#checkDelay(command, error, answer)
    }
    if (answer instanceof Promise) this.#serveLong(command, answer)
    else this.#answer(command, answer)
  }

  #serveLong({ opaque, codec, flag }: Command, work: Promise<NameServerAnswer>): void {
    this.#isServing = true
    this.#socket.pause()
    void work.catch(failed).then((answer) => {
      this.#isServing = false
      if (this.isClosed) return
      this.#answer({ opaque, codec, flag }, answer)
      this.#outbox.flush()
      this.#goOn()
    })
  }

  /**
   * A wrong signature is answered late, and nothing else that came with it is looked at: throws
   * then.
   */
  #checkDelay(command: Command, error: unknown, answer: NameServerAnswer): void {
    const { auth, clock } = this.#options.context
    const delayMs = delayOfRefusal(command, error, auth, this.#socket.remoteAddress)
    if (delayMs === 0) return
    const { opaque, codec, flag } = command
    this.#socket.pause()
    this.#lateAnswer = clock.after(delayMs, () => {
      this.#answer({ opaque, codec, flag }, answer)
      this.end()
      // Of a paused socket the end of the peer is not seen either.
      this.#socket.resume()
    })
    throw error
  }

  #answer(command: Pick<Command, 'opaque' | 'codec' | 'flag'>, answer: NameServerAnswer): void {
    if ((command.flag & FLAG_ONE_WAY) !== 0) return
    const error = answer.body && tooLongForAnswer(answer.body)
    const { code = 0, fields, remark, body } = error === undefined ? answer : failed(error)
    const header = responseHeader(command.opaque, code, fields, remark)
    this.#outbox.push(encodeCommand(header, body, command.codec))
  }
}
