// The name server: takes sockets like a front-end, answers every request at once, and forgets
// brokers whose connection ends or falls silent. Holds nothing on disk and knows of no other name
// server.
import { type Clock, nextTurn } from '../clock.ts'
import type { Logger } from '../log.ts'
import { Connections } from '../net/connections.ts'
import type { Gateway, GatewayContext, GatewaySocket } from '../port/gateway.ts'
import { tooLongForAnswer } from '../remoting/answer-bytes.ts'
import { REQUEST } from '../remoting/codes.ts'
import { type Command, decodeCommand, isResponse } from '../remoting/command.ts'
import { FRAME_BYTES_MAX, type FrameSink } from '../remoting/frame.ts'
import type { Aside } from '../remoting/serving/aside.ts'
import {
  type Answer,
  type Asked,
  askedOf,
  checkRequestBody,
  ServerConnection,
  Serving,
  type ServingOptions,
  UNSENT_BYTES_MAX,
} from '../remoting/serving/connection.ts'
import type { Credentials } from '../remoting/signature.ts'
import { checkCaller, delayOfRefusal } from './caller.ts'
import { FirstUse } from './first-use.ts'
import { KeyValues } from './key-values.ts'
import { reachableAddress } from './reachable-address.ts'
import { Registrations } from './registrations.ts'
import { failed, nameServerRequests, unsupported } from './requests.ts'
import { RouteTable } from './route-table.ts'

export interface NameServerContext {
  readonly clock: Clock
  readonly log: Logger
  /** Without one, everyone may register. */
  readonly auth?: GatewayContext['auth'] | undefined
}

export interface NameServerOptions extends Pick<ServingOptions, 'idleMs' | 'introductionMs'> {
  /** The broker of the same process signs with these, and needs no user. */
  readonly trusted?: Credentials | undefined
  /** How often silent brokers and idle connections are looked for. */
  readonly scanMs?: number
}

const SCAN_MS = 5_000
/** Lines about brokers that came or went, in one window; what is more is counted. */
const ANNOUNCED_MAX = 100
const ANNOUNCE_WINDOW_MS = 60_000
/** Requests of one chunk are served for so long; the rest waits its turn. */
const CHUNK_MS_MAX = 5

export class NameServer implements Gateway {
  readonly protocol = 'remoting'
  readonly routes: RouteTable
  readonly #values = new KeyValues()
  readonly #registrations = new Registrations()
  readonly #context: NameServerContext
  readonly #trusted: Credentials | undefined
  readonly #connections: Connections<NameServerConnection>
  readonly #serving: Serving
  #announced = 0
  #unannounced = 0
  #announcedMs = Number.NEGATIVE_INFINITY

  constructor(context: NameServerContext, options: NameServerOptions = {}) {
    this.#context = context
    this.routes = new RouteTable(undefined, context.clock)
    this.#trusted = options.trusted
    this.#serving = new Serving(context, options)
    this.#connections = new Connections(context.clock)
    this.#connections.every(options.scanMs ?? SCAN_MS, (nowMs) => {
      void this.#removeEach('namesrv.broker_expired', () => this.routes.expireOne(nowMs))
      for (const connection of this.#connections) connection.sweep(nowMs)
    })
  }

  get connections(): number {
    return this.#connections.size
  }

  accept(socket: GatewaySocket): void {
    this.#connections.accept(socket, (_serial, gone) => {
      const connection: NameServerConnection = new NameServerConnection(
        socket,
        this.#context,
        this.#serving,
        (command) => this.#serve(command, connection, socket),
        () => {
          this.#peerGone(connection)
          gone()
        },
      )
      return connection
    })
  }

  close(deadlineMs: number): Promise<void> {
    return this.#connections.close(deadlineMs)
  }

  /** `reachable`: how the clients of that address reach a broker; default: as at its own. */
  aside(socket: GatewaySocket, trust: () => void, reachable?: Reachable): Aside {
    const peer = { firstUse: new FirstUse(), isClosed: false, trust }
    return {
      serve: (command) => {
        if (!nameServerRequests.has(command.code)) return undefined
        const answer = this.#serve(kept(command), peer, socket, reachable)
        return answer instanceof Promise ? answer.catch(failed) : answer
      },
      close: () => {
        peer.isClosed = true
        this.#peerGone(peer)
      },
    }
  }

  #peerGone(peer: NameServerPeer): void {
    void this.#removeEach('namesrv.broker_disconnected', () => this.routes.unregisterOneOf(peer))
  }

  #serve(
    command: Command,
    connection: NameServerPeer,
    socket: GatewaySocket,
    reachable: Reachable = (address) => reachableAddress(address, socket.localAddress),
  ): Answer | Promise<Answer> {
    connection.firstUse.hear(command)
    const serve = nameServerRequests.get(command.code)
    if (serve === undefined) return unsupported(command.code)
    if (command.code !== REQUEST.registerBroker) checkRequestBody(command.body)
    const { certifiedUser } = socket
    if (checkCaller(command, this.#context.auth, this.#trusted, certifiedUser)) connection.trust()
    return serve({
      command,
      routes: this.routes,
      values: this.#values,
      clock: this.#context.clock,
      connection,
      registrations: this.#registrations,
      firstUse: connection.firstUse,
      reachable,
      announce: (evt, address) => this.#announce(evt, address),
    })
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

/** An address as a client can reach it. */
type Reachable = (address: string) => string

/** A connection, which is also the identity of the brokers that register on it. */
interface NameServerPeer {
  readonly firstUse: FirstUse
  readonly isClosed: boolean
  /** It has signed. */
  trust(): void
}

/** Its bytes are the chunk's; a table is read over several turns. */
const kept = (command: Command): Command =>
  command.code === REQUEST.registerBroker
    ? { ...command, body: Buffer.from(command.body) }
    : command

type Serve = (command: Command) => Answer | Promise<Answer>

/** One peer: its commands are served one after the other. */
class NameServerConnection extends ServerConnection {
  readonly firstUse = new FirstUse()
  readonly #context: NameServerContext
  readonly #serve: Serve
  readonly #gone: () => void
  /** A command takes its time; those behind it wait, and nothing more is read. */
  isFull = false

  constructor(
    socket: GatewaySocket,
    context: NameServerContext,
    serving: Serving,
    serve: Serve,
    gone: () => void,
  ) {
    const isTrusted = context.auth?.anonymousAllowed !== false
    super(socket, serving, { bytesMax: FRAME_BYTES_MAX, isTrusted })
    this.#context = context
    this.#serve = serve
    this.#gone = gone
  }

  /** In the order in which they came. */
  onFrame(...frame: Parameters<FrameSink>): void {
    const command = decodeCommand(...frame)
    if (isResponse(command)) return
    this.#take(kept(command))
    const servedMs = this.#context.clock.monotonic() - this.heardMs
    if (this.isFull || this.unsentBytes > UNSENT_BYTES_MAX || servedMs >= CHUNK_MS_MAX) {
      this.stop()
    }
  }

  onClose(): void {
    this.#gone()
  }

  #take(command: Command): void {
    let answer: Answer | Promise<Answer>
    try {
      answer = this.#serve(command)
    } catch (error) {
      answer = failed(error)
      this.#checkDelay(command, error, answer)
    }
    if (answer instanceof Promise) this.#serveLong(askedOf(command), answer)
    else this.answer(command, answer)
  }

  #serveLong(asked: Asked, work: Promise<Answer>): void {
    this.isFull = true
    void work.catch(failed).then((answer) => {
      this.isFull = false
      this.answer(asked, answer)
      this.output.flush()
      this.balance()
    })
  }

  /** A wrong signature is answered late: throws then. */
  #checkDelay(command: Command, error: unknown, answer: Answer): void {
    const delayMs = delayOfRefusal(command, error, this.#context.auth, this.remoteAddress)
    if (delayMs === 0) return
    const asked = askedOf(command)
    this.answerLate(delayMs, () => this.answer(asked, answer))
    throw error
  }

  override answer(asked: Asked, answer: Answer): void {
    const error = answer.body && tooLongForAnswer(answer.body)
    super.answer(asked, error === undefined ? answer : failed(error))
  }
}
