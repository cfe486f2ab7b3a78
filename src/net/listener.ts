// The one place that owns listening sockets: binds, counts and limits connections, reads them into
// one shared buffer and hands each to its gateway as a GatewaySocket. Knows bytes; no protocol, no
// broker.
import { statSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { NetworkCounts } from '../access/network-counts.ts'
import type { Clock, Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { LogFields, Logger } from '../log.ts'
import { Numbers } from '../numbers/numbers.ts'
import type { Gateway } from '../port/gateway.ts'
import type { ConnectionBudget } from './connection-budget.ts'
import { protocolOf, type ToldProtocol } from './first-bytes.ts'
import type { ListenerLimits } from './limits.ts'
import { CONNECTIONS, CONNECTIONS_REFUSED, type Refusal } from './numbers.ts'
import type { ProxyAddresses } from './proxy-header.ts'
import { type Layer, TcpSocket, type Transports } from './tcp-socket.ts'
import type { TurnBudget } from './turn-budget.ts'

export interface ListenerOptions extends Transports {
  readonly host: string
  /** 0 = any free port; `Listener.port` tells which. */
  readonly port: number
  /** Of a unix socket, in place of host and port. */
  readonly path?: string | undefined
  /** Section of the configuration, for messages: 'mqtt'. */
  readonly name: string
  readonly limits: ListenerLimits
  /** Those whose connections begin with a header of the PROXY protocol. */
  readonly proxies?: ProxyAddresses | undefined
  /** Connections that all listeners of the process share; absent: only `limits` bounds this one. */
  readonly budget?: ConnectionBudget | undefined
  /** Time that listeners with bulk work share; absent: each chunk is handled as it comes. */
  readonly turn?: TurnBudget | undefined
  readonly log: Logger
  readonly clock: Clock
  /** Of the process; default: numbers that are not read. */
  readonly numbers?: Numbers
}

type Taker = Pick<Gateway, 'accept'>

/** Pending connections the kernel keeps; Linux caps it at net.core.somaxconn. */
const BACKLOG = 4096
const KEEP_ALIVE_MS = 60_000
const SWEEP_MS = 1_000
/** Refusals are logged at most this often, so that a flood costs no log. */
const REFUSAL_LOG_MS = 10_000

const TURNED_AWAY = {
  tls: 'listener.tls',
  webSocket: 'listener.webSocket',
  proxy: 'listener.proxy',
} as const

/** Sections whose listeners take RocketMQ's protocol, or frames as it has them. */
const SPEAKS_NATIVE: ReadonlySet<string> = new Set(['nameServer', 'remoting', 'replication'])

const NAMES: Readonly<Record<ToldProtocol, string>> = {
  remoting: "RocketMQ's protocol",
  mqtt: 'MQTT',
  amqp: 'AMQP',
  http: 'HTTP',
}

/** The limit that all listeners share. */
const OPEN_FILES = 'openFiles'

export class Listener {
  readonly host: string
  readonly port: number
  /** As it was opened. */
  readonly options: ListenerOptions
  readonly #server: Server
  readonly #sockets = new Set<TcpSocket>()
  readonly #perNetwork = new NetworkCounts()
  /** By the address that each counts for; undefined: for none. */
  readonly #counted = new WeakMap<TcpSocket, string | undefined>()
  /** Accepted before there was a gateway: unread, in the order they came. */
  #early: TcpSocket[] = []
  #gateway: Taker | undefined
  readonly #numbers: Numbers
  readonly #shown: Disposable
  #sweep: Timer | undefined
  #refusalLoggedMs = Number.NEGATIVE_INFINITY

  /** @throws BrokerError CONFIG_INVALID when the address cannot be bound, with what to do */
  static async open(options: ListenerOptions): Promise<Listener> {
    if (options.path !== undefined) await removeStale(options.path)
    const server = createServer({
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      pauseOnConnect: true,
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(bindError(options, error)))
      const { host, port, path } = options
      const at = path === undefined ? { host, port } : { path }
      server.listen({ ...at, backlog: BACKLOG }, resolve)
    })
    return new Listener(options, server)
  }

  private constructor(options: ListenerOptions, server: Server) {
    const address = server.address()
    if (address === null) throw new Error('the listener does not listen')
    // A unix socket has its path in place of a host, and no port.
    this.host = typeof address === 'string' ? address : address.address
    this.port = typeof address === 'string' ? 0 : address.port
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

  /** Ports are taken early and served once there is a gateway; by the last one given. */
  serve(gateway: Taker): void {
    this.#gateway = gateway
    this.#sweep ??= this.options.clock.every(SWEEP_MS, () => this.#sweepSockets())
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
    const { remoteAddress } = accepted
    // A client by a unix socket has none.
    if (remoteAddress === undefined && this.options.path === undefined) {
      accepted.destroy()
      return
    }
    const { limits, log, clock, name, budget, turn, proxies } = this.options
    const isProxied = remoteAddress !== undefined && proxies?.has(remoteAddress)
    if (!isProxied && !this.#admit(remoteAddress)) {
      accepted.destroy()
      return
    }
    if (budget?.take(name) === false) {
      if (!isProxied) this.#letGo(remoteAddress)
      accepted.destroy()
      this.#refuse(OPEN_FILES, budget.total)
      return
    }
    const failed = (error: unknown): void => {
      const fields = { evt: 'listener.failed', listener: name, remote: remoteAddress, err: error }
      log.error(fields, 'a connection failed and was closed')
    }
    const { unsentBytesMax } = limits
    const socket = new TcpSocket(accepted, {
      unsentBytesMax,
      turn,
      nowMs: clock.monotonic(),
      failed,
      transports: this.options,
      refused: (layer, reason) => this.#turnAway(socket.remoteAddress, layer, reason),
      began: (chunk) => this.#checkProtocol(socket.remoteAddress, chunk),
      introduced: isProxied ? () => this.#introduce(socket) : undefined,
    })
    this.#sockets.add(socket)
    if (!isProxied) this.#counted.set(socket, remoteAddress)
    socket.onGone(() => {
      budget?.give(name)
      this.#sockets.delete(socket)
      if (this.#counted.has(socket)) this.#letGo(this.#counted.get(socket))
    })
    if (!isProxied) this.#handOn(socket)
  }

  /** Its proxy said whose connection it is. */
  #introduce(socket: TcpSocket): void {
    const { remoteAddress } = socket
    if (this.#admit(remoteAddress)) {
      this.#counted.set(socket, remoteAddress)
      this.#handOn(socket)
    } else socket.destroy()
  }

  #admit(address: string | undefined): boolean {
    const { connectionsPerAddressMax: most } = this.options.limits
    if (address === undefined || this.#perNetwork.take(address, most)) return true
    this.#refuse('connectionsPerAddressMax', most)
    return false
  }

  #letGo(address: string | undefined): void {
    if (address !== undefined) this.#perNetwork.give(address)
  }

  #handOn(socket: TcpSocket): void {
    if (this.#gateway === undefined) this.#early.push(socket)
    else this.#hand(socket, this.#gateway)
  }

  #hand(socket: TcpSocket, gateway: Taker): void {
    try {
      gateway.accept(socket)
    } catch (error) {
      const { log, name } = this.options
      const fields = { evt: 'listener.failed', listener: name, remote: socket.remoteAddress }
      log.error({ ...fields, err: error }, 'a connection could not be taken and was closed')
      socket.destroy()
    }
  }

  #refuse(limit: Exclude<Refusal, Layer>, value: number): void {
    const remedy =
      limit === OPEN_FILES ? 'the limit of open files (ulimit -n)' : `${this.options.name}.${limit}`
    const text = `connections are refused; raise ${remedy} if that is wrong`
    this.#countRefusal(limit, { evt: 'listener.refused', limit, value }, text)
  }

  #turnAway(remote: string, layer: Layer, reason: string): void {
    const fields = { evt: TURNED_AWAY[layer], remote }
    this.#countRefusal(layer, fields, `a connection was closed: ${reason}`)
  }

  /** Its gateway answers what it does not understand, or closes; here it is said. */
  #checkProtocol(remote: string, chunk: Buffer): void {
    const spoken = protocolOf(chunk)
    const { name } = this.options
    const own = SPEAKS_NATIVE.has(name) ? 'remoting' : name
    if (spoken === undefined || spoken === own || name === 'any') return
    const text = `a client of ${NAMES[spoken]} came to the address of ${name}: it has the wrong port`
    this.#countRefusal('protocol', { evt: 'listener.protocol', remote, spoken }, text)
  }

  #countRefusal(reason: Refusal, fields: LogFields, text: string): void {
    const { name, log } = this.options
    const refused = this.#numbers.counter(CONNECTIONS_REFUSED, { protocol_type: name, reason })
    refused.value++
    const now = this.options.clock.monotonic()
    if (now - this.#refusalLoggedMs < REFUSAL_LOG_MS) return
    this.#refusalLoggedMs = now
    log.warn({ ...fields, listener: name, refused: refused.value }, text)
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
  signal?: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, ...(signal && { signal }) })
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

/** The file of a process that was killed: no other is there to listen. */
async function removeStale(path: string): Promise<void> {
  const isStale = await new Promise<boolean>((resolve) => {
    const socket = connect({ path })
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'))
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
  })
  // Nothing else is taken away: a connection to a file that is no socket is refused as well.
  if (isStale && statSync(path).isSocket()) unlinkSync(path)
}

function bindError(options: ListenerOptions, error: NodeJS.ErrnoException): BrokerError {
  const { name, path } = options
  const at = path ?? `${options.host}:${options.port}`
  const fixes = path === undefined ? addressFixes(name) : PATH_FIXES
  const known = error.code !== undefined && Object.hasOwn(fixes, error.code)
  return new BrokerError(
    'CONFIG_INVALID',
    `${name} cannot listen on ${at}: ${known ? fixes[error.code!] : error.message}`,
    { cause: error },
  )
}

type Fixes = Readonly<Record<string, string>>

function addressFixes(name: string): Fixes {
  // As the command line spells it.
  const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
  return {
    EADDRINUSE: `another process listens there; stop it or choose another port with ${flag}.port`,
    EADDRNOTAVAIL: `this machine has no such address; set ${flag}.host to one of its own`,
    EACCES: `this user may not bind it; choose a port above 1023 with ${flag}.port`,
    ENOTFOUND: `the host name is unknown; set ${flag}.host to an address of this machine`,
  }
}

const PATH_FIXES: Fixes = {
  EADDRINUSE: 'another process listens there, or it is no socket; choose another path',
  // Node says so too where the folder is missing.
  EACCES: 'its folder is missing, or this user may not write there',
}
