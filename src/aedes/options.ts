// Which broker the emitter and the persistence of an aedes stand on.

import { type ConnectOptions, checkOptions } from '../client/options.ts'
import { sleep, systemClock } from '../clock.ts'
import { type ClusterBroker, openClusterBroker } from '../cluster/broker.ts'
import { BrokerError } from '../errors.ts'
import type { Broker } from '../port/broker.ts'
import { lentBroker } from '../port/lent-brokers.ts'

/** A broker elsewhere, reached as the SDK reaches it. */
export type RemoteBroker = Pick<ConnectOptions, 'nameServers' | 'auth' | 'tls' | 'bodyBytesMax'>

/** A broker in this process. */
export interface LocalBroker {
  /** What `startServer` and `startTemporaryServer` of `trivetmq/server` answer. */
  readonly server: object
}

export interface BackgroundOptions {
  /**
   * Told of what fails while nothing waits for it: a broker that cannot be read now is tried again.
   * Default: `process.emitWarning`.
   */
  readonly onError?: ((error: BrokerError) => void) | undefined
}

/** Of what the memory of a process grows with. */
export interface AedesLimits {
  /** Topics that listeners of this process are given messages of. Default: 10,000. */
  readonly topicsMax?: number | undefined
  /** Sessions with subscriptions, of all processes before the broker. Default: 100,000. */
  readonly sessionsMax?: number | undefined
}

export const TOPICS_MAX = 10_000
export const SESSIONS_MAX = 100_000

export type AedesBroker = (RemoteBroker | LocalBroker) & BackgroundOptions & AedesLimits

export interface OpenPort {
  readonly broker: Broker
  close(): Promise<void>
}

const PATIENCE_MS = 30_000
const RETRY_MS = 500

const isLocal = (options: AedesBroker): options is LocalBroker & BackgroundOptions & AedesLimits =>
  'server' in options && options.server !== undefined

/** @throws BrokerError CLOSED for a server that serves no clients; what connecting answers */
export async function openPort(options: AedesBroker): Promise<OpenPort> {
  if (isLocal(options)) {
    const broker = lentBroker(options.server)
    if (broker !== undefined) return { broker, close: async () => {} }
    throw new BrokerError('CLOSED', 'the given server has no broker, or is closed')
  }
  const broker = await openPatiently(options)
  return { broker, close: () => broker.close() }
}

/** A broker that is not there yet is waited for: both may be started together. */
async function openPatiently(options: RemoteBroker & BackgroundOptions): Promise<ClusterBroker> {
  const untilMs = systemClock.monotonic() + PATIENCE_MS
  for (;;) {
    try {
      return await openRemote(options)
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      // Name servers that know no broker yet have their part of it.
      const isThereSoon = error.retryable || error.code === 'NO_ROUTE'
      if (!isThereSoon || systemClock.monotonic() >= untilMs) throw error
      troubleOf(options)(error)
      await sleep(systemClock, RETRY_MS)
    }
  }
}

async function openRemote({ nameServers, auth, tls, bodyBytesMax }: RemoteBroker) {
  const checked = checkOptions({ nameServers, auth, tls, bodyBytesMax })
  const broker: ClusterBroker = await openClusterBroker({
    clock: systemClock,
    name: 'aedes',
    options: {
      nameServers: checked.nameServers,
      credentials: checked.auth,
      tls: checked.tls,
      bodyBytesMax: checked.bodyBytesMax,
    },
  })
  return broker
}

/** Do both name one broker? Then an emitter and a persistence work together. */
export function isSameBroker(one: AedesBroker, other: AedesBroker): boolean {
  if (isLocal(one) || isLocal(other)) {
    return isLocal(one) && isLocal(other) && one.server === other.server
  }
  const names = (options: RemoteBroker): string =>
    [...checkOptions({ nameServers: options.nameServers }).nameServers].sort().join(';')
  return names(one) === names(other)
}

export const troubleOf =
  ({ onError }: BackgroundOptions) =>
  (error: BrokerError): void => {
    if (onError !== undefined) onError(error)
    else process.emitWarning(error.message, { type: 'TrivetWarning', code: error.code })
  }
