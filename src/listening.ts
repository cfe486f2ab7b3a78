// The one list of what a role listens on by its configuration. The exposure check, the listeners
// and the banner derive from it.
import { type Config, PROTOCOLS } from './config.ts'
import type { TlsMode } from './net/options.ts'

export type ServerRole = 'start' | 'namesrv' | 'broker' | 'gateway'

export { PROTOCOLS }
export type ListeningProtocol = (typeof PROTOCOLS)[number]
/** `replication`: slaves of this broker. `any`: every protocol at one address. */
export type ListeningName = ListeningProtocol | 'replication' | 'any'
/** `vip`: the native front-end's second port, which follows from its first. */
export type ListenerName = ListeningName | 'vip'

export interface ServerAddress {
  readonly name: ListenerName
  readonly host: string
  readonly port: number
  /** host:port as clients are told; undefined: the address they dialled. */
  readonly advertised: string | undefined
}

export interface PlannedListener {
  readonly protocol: ListeningName
  readonly host: string
  /** 0: a free one. */
  readonly port: number
  /** Of a unix socket, in place of both. */
  readonly path?: string | undefined
  /** The setting that names the host: 'mqtt.host'. */
  readonly hostSetting: string
  readonly tls: TlsMode
}

const PROTOCOLS_OF: Readonly<Record<ServerRole, readonly ListeningProtocol[]>> = {
  start: PROTOCOLS,
  namesrv: ['nameServer'],
  broker: ['remoting', 'mqtt', 'amqp', 'http'],
  gateway: ['mqtt', 'amqp', 'http'],
}

/** The protocols that a role serves, at whatever address. */
export const protocolsOf = (role: ServerRole, config: Config): readonly ListeningProtocol[] =>
  PROTOCOLS_OF[role].filter((protocol) => config[protocol].enabled)

/**
 * Each protocol's own address, or the one of all, and behind it the further ones. A protocol that
 * is not enabled has none.
 */
export function plannedListeners(role: ServerRole, config: Config): readonly PlannedListener[] {
  const mode = config.tls.certificate === undefined ? 'disabled' : 'permissive'
  const isOnePort = config.any.port !== undefined
  const takesSlaves = config.replication.enabled && (role === 'start' || role === 'broker')
  const replication = takesSlaves ? (['replication'] as const) : []
  return [...protocolsOf(role, config), ...replication, 'any' as const].flatMap((protocol) => {
    const { host, port, tls = mode } = config[protocol]
    const further = config.listeners.flatMap((one, index) =>
      one.protocol === protocol
        ? [{ ...one, tls: one.tls ?? tls, hostSetting: `listeners.${index}.host` }]
        : [],
    )
    const isElsewhere = isOnePort && protocol !== 'any' && protocol !== 'replication'
    if (port === undefined || isElsewhere) return further
    return [{ protocol, host, port, tls, hostSetting: `${protocol}.host` }, ...further]
  })
}
