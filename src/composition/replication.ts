// Replication in a server: a master's listener for slaves, and a slave's copy of the log.
import { BrokerError } from '../errors.ts'
import { firstListener } from '../listeners.ts'
import type { ReplicationControl } from '../port/gateway.ts'
import type { HelloAnswer, MasterAddress } from '../replication/master-link.ts'
import { EPOCHS_AHEAD, riskOfPromotion } from '../replication/promotion.ts'
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
): Promise<ReplicationControl | undefined> {
  const { config, log, clock, auth, parts, numbers, listeners } = composition
  const { clusterName, name: brokerName, role } = config.broker
  const listener = firstListener(listeners, 'replication')
  if (listener === undefined) return undefined
  const [{ Replicas }, { ReplicationServer }] = await Promise.all([
    import('../replication/replicas.ts'),
    import('../replication/server.ts'),
  ])
  const { replication } = store
  const mode = role === 'SLAVE' ? config.replication.promotedTo : role
  const options = { ...config.replication, isSync: mode === 'SYNC_MASTER' }
  const replicas = new Replicas({ replication, clock, log, numbers }, options)
  parts.add('replicas', async () => replicas.close())
  const context = { replication, replicas, clusterName, brokerName, auth, clock, log }
  const server = new ReplicationServer(context)
  listener.serve(server)
  parts.add('replication', () => {
    listener.stopAccepting()
    return server.close(Math.min(config.stopDeadlineMs, REPLICATION_STOP_MS))
  })
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
  const signal = AbortSignal.any([opening.signal, composition.signal ?? opening.signal])
  const store = await openCopy({
    ...{ identity, master, clock, log, signal, logId: logIdIn(config.dataDir) },
    open,
    empty: () => emptyDataDirectory(config.dataDir),
  })
  parts.add('store', () => store.close())
  return store
}

export interface SlaveTurns {
  /** Once the store takes appends; never rejects. */
  readonly becomeMaster: () => Promise<void>
  /** The store has to be opened once more, and is closed for that. */
  readonly beginAnew: (why: string) => void
}

export async function controlSlave(
  composition: Composition,
  identity: SlaveIdentity,
  store: MessageStore,
  { becomeMaster, beginAnew }: SlaveTurns,
): Promise<ReplicationControl> {
  const { replication } = store
  await refuseSlaves(composition, store)
  let slave = await followMaster(composition, identity, store, beginAnew)
  let isPromoting = false
  const promoted = async (isForced: boolean): Promise<number> => {
    const risk = riskOfPromotion(slave.state)
    if (risk !== undefined && !isForced) {
      const text = `this slave is not made the master, for ${risk}`
      throw new BrokerError(
        'ABORTED',
        `${text}; --force makes it the master all the same, and what it lacks is lost`,
      )
    }
    await slave.close()
    try {
      await replication.promote(replication.epoch + EPOCHS_AHEAD)
    } catch (error) {
      slave = await followMaster(composition, identity, store, beginAnew)
      throw error
    }
    const { epoch, syncedEnd: end } = replication
    // A log is in the epoch of its newest record: without one a restart would forget this one.
    const value = Buffer.from(String(epoch))
    const facts = [{ kind: 'broker', key: 'promoted', value }]
    await store.append({ messages: [], facts }).catch((err: unknown) => {
      const text =
        'the promotion could not be written as a record: do not start this broker as a slave'
      composition.log.error({ evt: 'replication.promotion_unwritten', err }, text)
    })
    const fields = { evt: 'replication.promoted', epoch, end, isForced, risk }
    composition.log.warn(fields, `this broker is the master from position ${end} on`)
    const { Herald } = await import('../replication/herald.ts')
    const { clock, log, parts } = composition
    const master = () => masterOf(composition)
    const herald = new Herald({ replication, identity, master, clock, log })
    parts.add('word to the former master', () => herald.close())
    // The answer goes out before its connection ends.
    setImmediate(() => void becomeMaster())
    return epoch
  }
  return {
    status: () => {
      const { epoch, syncedEnd } = replication
      const { master: address, isConnected, standing, masterEnd } = slave.state
      const master = { address, isConnected, end: masterEnd, standing }
      return { isMaster: false, epoch, syncedEnd, inSync: 0, replicas: [], master }
    },
    promote: async (isForced) => {
      if (isPromoting) throw new BrokerError('BUSY', 'this slave is being made the master')
      isPromoting = true
      try {
        return await promoted(isForced)
      } finally {
        isPromoting = !replication.isPassive
      }
    },
  }
}

/** A slave of a slave is sent to the master, in words. */
async function refuseSlaves(
  { config, clock, log, auth, parts, listeners }: Composition,
  { replication }: MessageStore,
): Promise<void> {
  const listener = firstListener(listeners, 'replication')
  if (listener === undefined) return
  const { ReplicationServer } = await import('../replication/server.ts')
  const { clusterName, name: brokerName } = config.broker
  const text = `this broker is a slave itself: follow its master ${config.replication.master}`
  const replicas = new BrokerError('NOT_SUPPORTED', text)
  const context = { replication, replicas, clusterName, brokerName, auth, clock, log }
  const server = new ReplicationServer(context)
  listener.serve(server)
  parts.add('refusal of slaves', () => server.close(REPLICATION_STOP_MS))
}

async function followMaster(
  composition: Composition,
  identity: SlaveIdentity,
  { replication }: MessageStore,
  beginAnew: SlaveTurns['beginAnew'],
): Promise<Slave> {
  const { clock, log, parts, numbers } = composition
  const [{ Slave }, { whyAnew }] = await Promise.all([
    import('../replication/slave.ts'),
    import('../replication/opening.ts'),
  ])
  const master = () => masterOf(composition)
  const isOver = (answer: HelloAnswer): boolean => {
    const why = whyAnew(replication, answer)
    if (why !== undefined) beginAnew(why)
    return why !== undefined
  }
  const slave = new Slave({ replication, identity, master, clock, log, numbers, isOver })
  parts.add('slave', () => slave.close())
  return slave
}

const masterOf = (composition: Composition): MasterAddress =>
  diallingMaster(composition)(composition.config.replication.master ?? '')

/** How a master is dialled now: certificates are renewed. */
export const diallingMaster =
  ({ config, certificates, clock }: Composition) =>
  (address: string): MasterAddress => {
    const { masterTls, accessKey, secretKey } = config.replication
    const credentials =
      accessKey === undefined || secretKey === undefined ? undefined : { accessKey, secretKey }
    const tls = masterTls ? certificates.dialling : undefined
    return { address, clock, tls, credentials }
  }
