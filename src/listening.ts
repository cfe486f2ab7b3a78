// The one list of what a role listens on by its configuration. The exposure check, the listeners
// and the banner derive from it.
import { type Config, PROTOCOLS } from './config.ts'
import type { TlsMode } from './gateway/net/options.ts'

export type ServerRole = 'start' | 'namesrv' | 'broker' | 'gateway'

export { PROTOCOLS }
export type ListeningProtocol = (typeof PROTOCOLS)[number]

export interface PlannedListener {
  readonly protocol: ListeningProtocol
  readonly host: string
  /** 0: a free one. */
  readonly port: number
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

/**
 * Each protocol's own address, and behind it the further ones. A protocol that is not enabled has
 * none.
 */
export function plannedListeners(role: ServerRole, config: Config): readonly PlannedListener[] {
  const protocols = PROTOCOLS_OF[role].filter((protocol) => config[protocol].enabled)
  const mode = config.tls.certificate === undefined ? 'disabled' : 'permissive'
  return protocols.flatMap((protocol) => {
    const { host, port, tls = mode } = config[protocol]
    const further = config.listeners.flatMap((one, index) =>
      one.protocol === protocol
        ? [{ ...one, tls: one.tls ?? tls, hostSetting: `listeners.${index}.host` }]
        : [],
    )
    return [{ protocol, host, port, tls, hostSetting: `${protocol}.host` }, ...further]
  })
}
