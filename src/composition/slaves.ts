// The address for slaves of a server: what takes them there, or refuses them in words.
import type { BrokerError } from '../errors.ts'
import { firstListener } from '../listeners.ts'
import type { Replicas } from '../replication/replicas.ts'
import { type Electorate, ReplicationServer } from '../replication/server.ts'
import type { MessageStore } from '../store/store.ts'
import type { Composition } from './composition.ts'

/** Slaves come back by themselves. */
const STOP_MS = 500

/** undefined: there is no address for slaves. */
export function serveSlaves(
  { config, clock, log, auth, listeners }: Composition,
  { replication }: MessageStore,
  replicas: Replicas | BrokerError,
  electorate?: Electorate,
): { close(): Promise<void> } | undefined {
  const listener = firstListener(listeners, 'replication')
  if (listener === undefined) return undefined
  const { clusterName, name: brokerName } = config.broker
  const identity = { clusterName, brokerName, electorate }
  const server = new ReplicationServer({ replication, replicas, ...identity, auth, clock, log })
  listener.serve(server)
  return { close: () => server.close(Math.min(config.stopDeadlineMs, STOP_MS)) }
}
