// The one list of what a role listens on by its configuration. The exposure check, the listeners
// and the banner derive from it.
import type { Config } from './config.ts'

export type ServerRole = 'start' | 'namesrv' | 'broker'

/**
 * Protocols with a section of the configuration, in the order in which they are opened and shown.
 */
export const PROTOCOLS = ['nameServer', 'remoting', 'mqtt', 'amqp'] as const
export type ListeningProtocol = (typeof PROTOCOLS)[number]

export interface PlannedListener {
  readonly protocol: ListeningProtocol
  readonly host: string
  /** 0: a free one. */
  readonly port: number
  /** The setting that names the host: 'mqtt.host'. */
  readonly hostSetting: string
}

const PROTOCOLS_OF: Readonly<Record<ServerRole, readonly ListeningProtocol[]>> = {
  start: PROTOCOLS,
  namesrv: ['nameServer'],
  broker: ['remoting', 'mqtt', 'amqp'],
}

/**
 * Each protocol's own address, and behind it the further ones. A protocol that is not enabled has
 * none.
 */
export function plannedListeners(role: ServerRole, config: Config): readonly PlannedListener[] {
  const protocols = PROTOCOLS_OF[role].filter((protocol) => config[protocol].enabled)
  return protocols.flatMap((protocol) => {
    const { host, port } = config[protocol]
    const further = config.listeners.flatMap((one, index) =>
      one.protocol === protocol ? [{ ...one, hostSetting: `listeners.${index}.host` }] : [],
    )
    return [{ protocol, host, port, hostSetting: `${protocol}.host` }, ...further]
  })
}
