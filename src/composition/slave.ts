// The slave in a server whose role is configured: how its copy of the log is opened, what follows
// its master, and its promotion.
import { BrokerError } from '../errors.ts'
import type { ReplicationControl } from '../port/gateway.ts'
import { Herald } from '../replication/herald.ts'
import type { HelloAnswer, MasterAddress } from '../replication/master-link.ts'
import { openCopy, whyAnew } from '../replication/opening.ts'
import { EPOCHS_AHEAD, riskOfPromotion } from '../replication/promotion.ts'
import { Slave, type SlaveIdentity } from '../replication/slave.ts'
import { emptyDataDirectory } from '../store/disk/data-directory.ts'
import { logIdIn } from '../store/open.ts'
import type { MessageStore } from '../store/store.ts'
import type { Composition } from './composition.ts'
import { diallingMaster } from './dialling.ts'
import { serveSlaves } from './slaves.ts'
import { openStoreOf } from './store.ts'

/** The copy as it was left, or a new one. Waits for the master where there is none. */
export async function openCopyOf(
  composition: Composition,
  identity: SlaveIdentity,
): Promise<MessageStore> {
  const { config, clock, log, parts } = composition
  const opening = new AbortController()
  parts.add('opening of the copy', async () => opening.abort())
  const master = () => masterOf(composition)
  const signal = AbortSignal.any([opening.signal, composition.signal ?? opening.signal])
  const store = await openCopy({
    ...{ identity, master, clock, log, signal, logId: logIdIn(config.dataDir) },
    open: (follows) => openStoreOf(composition, follows),
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

export function controlSlave(
  composition: Composition,
  identity: SlaveIdentity,
  store: MessageStore,
  { becomeMaster, beginAnew }: SlaveTurns,
): ReplicationControl {
  const { replication } = store
  refuseSlaves(composition, store)
  let slave = followMaster(composition, identity, store, beginAnew)
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
      slave = followMaster(composition, identity, store, beginAnew)
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
function refuseSlaves(composition: Composition, store: MessageStore): void {
  const text = `this broker is a slave itself: follow its master ${composition.config.replication.master}`
  const server = serveSlaves(composition, store, new BrokerError('NOT_SUPPORTED', text))
  if (server !== undefined) composition.parts.add('refusal of slaves', () => server.close())
}

function followMaster(
  composition: Composition,
  identity: SlaveIdentity,
  { replication }: MessageStore,
  beginAnew: SlaveTurns['beginAnew'],
): Slave {
  const { clock, log, parts, numbers } = composition
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
