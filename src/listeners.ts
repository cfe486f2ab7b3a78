// The listeners that a role has by its configuration: which, on which addresses, and with how many
// connections. Knows no protocol.
import type { Clock } from './clock.ts'
import { type Config, type ListeningConfig, openFilesLimit } from './config.ts'
import { isWildcard } from './exposure.ts'
import { canDial, Listener } from './gateway/listener.ts'
import type { Logger } from './log.ts'
import type { Parts } from './parts.ts'

export type ServerRole = 'start' | 'namesrv' | 'broker'

export type ListenerName = 'nameServer' | 'remoting' | 'mqtt' | 'amqp'

export type Listeners = ReadonlyMap<ListenerName, Listener>

export interface ServerAddress {
  readonly name: ListenerName
  readonly host: string
  readonly port: number
  /** host:port as clients are told; undefined: whatever they dialled. */
  readonly advertised: string | undefined
}

/** Files of the store and what node itself keeps open. */
const FILES_RESERVED = 512
/** Below, an operator should know at every start. */
const CONNECTIONS_FEW = 1000

const LISTENERS: Readonly<Record<ServerRole, readonly ListenerName[]>> = {
  start: ['nameServer', 'remoting', 'mqtt', 'amqp'],
  namesrv: ['nameServer'],
  broker: ['remoting', 'mqtt', 'amqp'],
}

/** Takes the ports; nothing is served yet. @throws BrokerError CONFIG_INVALID when one cannot be bound */
export async function openListeners(
  role: ServerRole,
  config: Config,
  log: Logger,
  clock: Clock,
  parts: Parts,
): Promise<Listeners> {
  const listeners = new Map<ListenerName, Listener>()
  const names = LISTENERS[role].filter((name) => config[name].enabled)
  const affordable = connectionsLimit(names, config, log)
  for (const name of names) {
    const { host, port, connectionsMax } = config[name]
    const limits = { ...config[name], connectionsMax: Math.min(connectionsMax, affordable) }
    const listener = await Listener.open({ host, port, name, limits, log, clock })
    parts.add(`${name} listener`, () => listener.close())
    listeners.set(name, listener)
  }
  return listeners
}

/**
 * What each listener may have when all are full: connections beyond the limit of open files would be
 * dropped by the kernel without a word, and the store could not open its files.
 */
function connectionsLimit(names: readonly ListenerName[], config: Config, log: Logger): number {
  const files = openFilesLimit()
  if (files === undefined || names.length === 0) return Number.POSITIVE_INFINITY
  const reserved = Math.min(FILES_RESERVED, Math.floor(files / 2))
  const each = Math.floor((files - reserved) / names.length)
  const asked = Math.max(...names.map((name) => config[name].connectionsMax))
  if (asked > each) {
    const fields = { evt: 'server.open_files', openFiles: files, connectionsMax: each }
    const level = each < CONNECTIONS_FEW ? 'warn' : 'debug'
    log[level](fields, `each listener takes ${each} connections at most; raise it with ulimit -n`)
  }
  return each
}

export function addressesOf(listeners: Listeners, config: Config): readonly ServerAddress[] {
  return [...listeners].map(([name, { host, port }]) => {
    const told = advertisedHost(config[name])
    const advertised = told === undefined ? undefined : `${bracketed(told)}:${port}`
    return { name, host, port, advertised }
  })
}

/** undefined: nobody said how clients reach this machine, so they are told what they dialled. */
export function advertisedHost(config: ListeningConfig): string | undefined {
  return config.advertisedHost ?? (isWildcard(config.host) ? undefined : config.host)
}

const DIAL_TIMEOUT_MS = 3_000

/** Clients come by the advertised address, so a wrong one shows here first, as a line of the log. */
export async function dialAdvertised(
  listeners: Listeners,
  config: Config,
  log: Logger,
  clock: Clock,
): Promise<void> {
  for (const [name, { port }] of listeners) {
    const host = config[name].advertisedHost
    if (host === undefined || (await canDial(host, port, DIAL_TIMEOUT_MS, clock))) continue
    log.warn(
      {
        evt: 'server.advertised_unreachable',
        listener: name,
        address: `${bracketed(host)}:${port}`,
      },
      `this machine does not reach itself as clients are told to; check ${name}.advertisedHost`,
    )
  }
}

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)
