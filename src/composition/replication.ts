// Replication in a server: a master's listener for slaves, and a slave's copy of the log.
import { firstListener } from '../listeners.ts'
import type { MasterAddress } from '../replication/master-link.ts'
import type { Slave, SlaveIdentity } from '../replication/slave.ts'
import type { Followed } from '../store/log/following.ts'
import type { MessageStore } from '../store/store.ts'
import type { Composition } from './composition.ts'

/** Slaves come back by themselves. */
const REPLICATION_STOP_MS = 500

/** What slaves come for, where there may be some. */
export async function composeReplication(
  composition: Composition,
  store: MessageStore,
): Promise<void> {
  const { config, log, clock, auth, parts, numbers, listeners } = composition
  const { clusterName, name: brokerName, role } = config.broker
  const listener = firstListener(listeners, 'replication')
  if (listener === undefined) return
  const [{ Replicas }, { ReplicationServer }] = await Promise.all([
    import('../replication/replicas.ts'),
    import('../replication/server.ts'),
  ])
  const { replication } = store
  const options = { ...config.replication, isSync: role === 'SYNC_MASTER' }
  const replicas = new Replicas({ replication, clock, log, numbers }, options)
  parts.add('replicas', async () => replicas.close())
  const context = { replication, replicas, clusterName, brokerName, auth, clock, log }
  const server = new ReplicationServer(context)
  listener.serve(server)
  parts.add('replication', () => {
    listener.stopAccepting()
    return server.close(Math.min(config.stopDeadlineMs, REPLICATION_STOP_MS))
  })
}

/** The copy as it was left, or a new one. Waits for the master where there is none. */
export async function openCopyOf(
  composition: Composition,
  identity: SlaveIdentity,
  open: (follows: Followed) => Promise<MessageStore>,
): Promise<MessageStore> {
  const { config, clock, log, parts } = composition
  const [{ openCopy }, { logIdIn }, { emptyDataDirectory }] = await Promise.all([
    import('../replication/opening.ts'),
    import('../store/open.ts'),
    import('../store/disk/data-directory.ts'),
  ])
  const opening = new AbortController()
  parts.add('opening of the copy', async () => opening.abort())
  const master = () => masterOf(composition)
  const store = await openCopy({
    ...{ identity, master, clock, log, signal: opening.signal, logId: logIdIn(config.dataDir) },
    open,
    empty: () => emptyDataDirectory(config.dataDir),
  })
  parts.add('store', () => store.close())
  return store
}

export async function followMaster(
  composition: Composition,
  identity: SlaveIdentity,
  { replication }: MessageStore,
): Promise<Slave> {
  const { clock, log, parts, numbers } = composition
  const { Slave } = await import('../replication/slave.ts')
  const master = () => masterOf(composition)
  const slave = new Slave({ replication, identity, master, clock, log, numbers })
  parts.add('slave', () => slave.close())
  return slave
}

/** How the master is dialled now: certificates are renewed. */
function masterOf({ config, certificates, clock }: Composition): MasterAddress {
  const { master = '', masterTls, accessKey, secretKey } = config.replication
  const credentials =
    accessKey === undefined || secretKey === undefined ? undefined : { accessKey, secretKey }
  const tls = masterTls ? certificates.dialling : undefined
  return { address: master, clock, tls, credentials }
}
