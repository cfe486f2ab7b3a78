// Opens the planned listeners: takes their ports, and shares the connections and the turns of the
// event loop among them. Knows no protocol.
import type { Clock } from './clock.ts'
import type { Config, ListeningConfig } from './config.ts'
import { isWildcard } from './exposure.ts'
import {
  type ListenerName,
  type ListeningName,
  type PlannedListener,
  plannedListeners,
  type ServerAddress,
  type ServerRole,
} from './listening.ts'
import type { LiveCertificates } from './live-certificates.ts'
import type { Logger } from './log.ts'
import { ConnectionBudget } from './net/connection-budget.ts'
import { canDial, Listener } from './net/listener.ts'
import { CERTIFICATE_EXPIRY } from './net/numbers.ts'
import { PartialFrames } from './net/partial-frames.ts'
import { ProxyAddresses } from './net/proxy-header.ts'
import { TlsAcceptor } from './net/tls.ts'
import { TurnBudget } from './net/turn-budget.ts'
import { WebSocketAcceptor } from './net/websocket.ts'
import type { Numbers } from './numbers/numbers.ts'
import { openFilesLimit } from './open-files.ts'
import type { Parts } from './parts.ts'

export interface OpenListener {
  readonly name: ListenerName
  readonly protocol: ListeningName
  readonly listener: Listener
}

export type Listeners = readonly OpenListener[]

/** Files of the store and what node itself keeps open. */
const FILES_RESERVED = 512
/** Below, an operator should know at every start. */
const CONNECTIONS_FEW = 1000

/**
 * Of a turn, for the name server's requests: many that ask for whole tables must not hold up the
 * broker.
 */
const ROUTES_MS = 5

/** RocketMQ's VIP channel: clients that use it take this from the broker's port. */
const VIP_PORT_BELOW = 2

export interface ListenersContext {
  readonly config: Config
  readonly certificates: LiveCertificates
  readonly log: Logger
  readonly clock: Clock
  readonly parts: Parts
  readonly numbers: Numbers
}

/**
 * Takes the ports; nothing is served yet.
 * @throws BrokerError CONFIG_INVALID when one cannot be bound
 */
export async function openListeners(
  role: ServerRole,
  { config, certificates, log, clock, parts, numbers }: ListenersContext,
): Promise<Listeners> {
  const listeners: OpenListener[] = []
  const planned = plannedListeners(role, config)
  const budget = connectionBudget(planned, config, log)
  const bulk = new TurnBudget(clock)
  const routes = new TurnBudget(clock, { turnMs: ROUTES_MS, countsOwnOnly: true })
  const partial = new PartialFrames()
  const proxies = new ProxyAddresses(config.proxyProtocol.from)
  const acceptor = acceptorOf(config, certificates, clock)
  numbers.gauges([CERTIFICATE_EXPIRY], (set) => {
    for (const { setting, validToMs } of certificates.expiries) {
      set(CERTIFICATE_EXPIRY, validToMs / 1000, { setting })
    }
  })
  for (const { protocol, host, port, path, tls: mode } of planned) {
    const limits = config[protocol]
    // Routes are asked for by short requests, which must not wait behind all that the broker is
    // sent.
    const turn = protocol === 'nameServer' ? routes : bulk
    const name = protocol
    const takesTls = acceptor !== undefined && mode !== 'disabled'
    const tls = takesTls ? { acceptor, isEnforced: mode === 'enforcing' } : undefined
    const webSocket = webSocketOf(protocol, config, partial)
    const shared = { budget, turn, tls, webSocket, proxies, log, clock, numbers }
    const listener = await Listener.open({ host, port, path, name, limits, ...shared })
    parts.add(`${protocol} listener`, () => listener.close())
    listeners.push({ name, protocol, listener })
  }
  const native = firstListener(listeners, 'remoting')
  const vip = native && config.remoting.vipChannel ? await openVip(native) : undefined
  if (vip !== undefined) {
    parts.add('VIP listener', () => vip.close())
    listeners.push({ name: 'vip', protocol: 'remoting', listener: vip })
  }
  return listeners
}

function acceptorOf(
  config: Config,
  certificates: LiveCertificates,
  clock: Clock,
): TlsAcceptor | undefined {
  const { identity } = certificates
  if (identity === undefined) return undefined
  const acceptor = new TlsAcceptor({ ...config.tls, identity, clock })
  certificates.onChange((renewed) => acceptor.use(renewed))
  return acceptor
}

/** As the standards name them (MQTT 6, AMQP over WebSocket 1.0). */
const SUBPROTOCOLS: Readonly<Record<ListeningName, readonly string[]>> = {
  nameServer: [],
  remoting: [],
  mqtt: ['mqtt', 'mqttv3.1'],
  amqp: ['amqp'],
  http: [],
  replication: [],
  any: ['mqtt', 'mqttv3.1', 'amqp'],
}
/** The WebSocket's own bytes around the largest packet. */
const FRAME_HEAD_BYTES = 1024

function webSocketOf(
  protocol: ListeningName,
  config: Config,
  partial: PartialFrames,
): WebSocketAcceptor | undefined {
  const { enabled, ...options } = config.webSocket
  const subprotocols = SUBPROTOCOLS[protocol]
  if (!enabled || subprotocols.length === 0) return undefined
  const frameBytesMax = options.frameBytesMax ?? config.mqtt.packetBytesMax + FRAME_HEAD_BYTES
  const isBesideHttp = protocol === 'any' && config.http.enabled
  return new WebSocketAcceptor({ ...options, subprotocols, frameBytesMax, isBesideHttp }, partial)
}

/** The one at the protocol's own address; undefined where it has none. */
export const firstListener = (listeners: Listeners, name: ListeningName): Listener | undefined =>
  listeners.find(({ protocol }) => protocol === name)?.listener

export const allOf = (listeners: Listeners, name: ListeningName): readonly Listener[] =>
  listeners.flatMap(({ protocol, listener }) => (protocol === name ? listener : []))

/** The first by which clients of the protocol come: its own, else one for every protocol. */
export const listenerFor = (listeners: Listeners, name: ListeningName): OpenListener | undefined =>
  listeners.find(({ protocol }) => protocol === name) ??
  listeners.find(({ protocol }) => protocol === 'any')

/**
 * After all that is configured by its number. undefined, with a line of the log, where it cannot be
 * bound: few clients need it, and a start must not fail for it.
 */
async function openVip({ options, port: nativePort }: Listener): Promise<Listener | undefined> {
  const { host, log } = options
  const port = nativePort - VIP_PORT_BELOW
  try {
    if (port < 1) throw new RangeError(`there is no port ${port}`)
    return await Listener.open({ ...options, port })
  } catch (error) {
    const { message, cause = error } = error as Error
    const fields = { evt: 'server.vip_port', host, port, error: message, cause: String(cause) }
    log.warn(
      fields,
      `the VIP port ${port} cannot be bound, so clients with RocketMQ's VIP channel (Java before 4.5.1, ` +
        'rocketmq-dashboard) do not reach this broker: free it, choose another remoting.port, or set ' +
        'remoting.vipChannel to false',
    )
    return undefined
  }
}

/**
 * The listeners share one budget: connections beyond the limit of open files would be dropped by
 * the kernel without a word, and the store could not open its files.
 */
function connectionBudget(
  planned: readonly PlannedListener[],
  config: Config,
  log: Logger,
): ConnectionBudget | undefined {
  const files = openFilesLimit()
  if (files === undefined || planned.length === 0) return undefined
  const reserved = Math.min(FILES_RESERVED, Math.floor(files / 2))
  const all = files - reserved
  const asked = Math.max(...planned.map(({ protocol }) => config[protocol].connectionsMax))
  if (asked > all) {
    const fields = { evt: 'server.open_files', openFiles: files, connections: all }
    const level = all < CONNECTIONS_FEW ? 'warn' : 'debug'
    log[level](fields, `the listeners share ${all} connections; raise it with ulimit -n`)
  }
  // With the VIP port, which is opened with what the native one has.
  return new ConnectionBudget(all, planned.length + 1)
}

export function addressesOf(listeners: Listeners, config: Config): readonly ServerAddress[] {
  return listeners.map(({ name, protocol, listener: { host, port } }) => {
    const told = advertisedHost(config[protocol])
    const advertised = told === undefined ? undefined : `${bracketed(told)}:${port}`
    return { name, host, port, advertised }
  })
}

/**
 * undefined without a configured host on a wildcard bind: clients are told the address they
 * dialled.
 */
export function advertisedHost(config: ListeningConfig): string | undefined {
  return config.advertisedHost ?? (isWildcard(config.host) ? undefined : config.host)
}

const DIAL_TIMEOUT_MS = 3_000

/**
 * Clients come by the advertised address, so a wrong one shows here first, as a line of the log.
 */
export async function dialAdvertised(
  listeners: Listeners,
  config: Config,
  log: Logger,
  clock: Clock,
  signal?: AbortSignal,
): Promise<void> {
  for (const { name, protocol, listener } of listeners) {
    const host = config[protocol].advertisedHost
    const { port } = listener
    const isUnix = listener.options.path !== undefined
    if (host === undefined || isUnix) continue
    if (await canDial(host, port, DIAL_TIMEOUT_MS, clock, signal)) continue
    if (signal?.aborted) return
    log.warn(
      {
        evt: 'server.advertised_unreachable',
        listener: name,
        address: `${bracketed(host)}:${port}`,
      },
      `this machine does not reach itself as clients are told to; check ${protocol}.advertisedHost`,
    )
  }
}

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)
