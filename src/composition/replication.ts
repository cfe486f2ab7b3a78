// The master in a server whose role is configured: what its acknowledgements wait for, and what
// operators see of its slaves.
import { unlessAborted } from '../abort.ts'
import { BrokerError } from '../errors.ts'
import { firstListener } from '../listeners.ts'
import type { ReplicationControl } from '../port/gateway.ts'
import type { MessageStore } from '../store/store.ts'
import type { Composition } from './composition.ts'

/**
 * Where there may be slaves. Comes before the first append: nothing is acknowledged without those
 * that it is to wait for.
 */
export async function composeReplication(
  composition: Composition,
  store: MessageStore,
): Promise<ReplicationControl | undefined> {
  const { config, log, clock, parts, numbers, listeners, signal } = composition
  const { role } = config.broker
  const listener = firstListener(listeners, 'replication')
  if (listener === undefined) return undefined
  const [{ Replicas }, { serveSlaves }] = await Promise.all([
    import('../replication/replicas.ts'),
    import('./slaves.ts'),
  ])
  const { replication } = store
  const mode = role === 'SLAVE' ? config.replication.promotedTo : role
  const options = { ...config.replication, isSync: mode === 'SYNC_MASTER' }
  const replicas = new Replicas({ replication, clock, log, numbers }, options)
  parts.add('replicas', async () => replicas.close())
  const slaves = serveSlaves(composition, store, replicas)
  parts.add('replication', async () => {
    listener.stopAccepting()
    await slaves?.close()
  })
  // One that was promoted serves at once: its former master is gone, and other slaves may be.
  if (role === 'SYNC_MASTER') await unlessAborted(replicas.tailSettled(), signal)
  return {
    status: () => ({
      ...{ isMaster: true, epoch: replication.epoch, syncedEnd: replication.syncedEnd },
      inSync: replicas.inSync,
      replicas: replicas.all.map((replica) => ({
        brokerId: replica.brokerId,
        address: replica.address,
        confirmedTo: replica.confirmedTo,
        isInSync: replicas.isInSync(replica),
      })),
    }),
    promote: async () => {
      throw new BrokerError('NOT_SUPPORTED', 'this broker is the master')
    },
  }
}
