// What operators see of an elected broker, and what they may ask of it.
import type { Clock } from '../clock.ts'
import { sleep } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { ReplicationStatus } from '../model/status.ts'
import type { ReplicationControl } from '../port/gateway.ts'
import type { ElectedCopy } from '../replication/elected-copy.ts'
import type { Election } from '../replication/election/election.ts'
import type { Replicas } from '../replication/replicas.ts'
import type { MessageStore } from '../store/store.ts'

export interface ElectedControl {
  readonly store: MessageStore
  readonly copy: ElectedCopy
  /** undefined: it begins soon. */
  readonly election: () => Election | undefined
  readonly name: string
  readonly leaseMs: number
  readonly clock: Clock
  readonly replicas: () => Replicas | undefined
}

const LOOK_MS = 20
/** A forced election takes a step or two. */
const LEASES = 3

export function electedControl(context: ElectedControl): ReplicationControl {
  return { status: () => statusOf(context), promote: (isForced) => promote(context, isForced) }
}

function statusOf(context: ElectedControl): ReplicationStatus {
  const { store, copy, name, replicas } = context
  const election = context.election()
  const { epoch, syncedEnd } = store.replication
  const { state, holder } = election?.seen ?? {}
  const told = {
    copy: name,
    number: state?.election,
    master: holder?.name,
    inSync: state?.inSync ?? [],
    isReached: election?.isReached === true,
  }
  const isMaster = election?.election !== undefined
  if (isMaster) {
    const known = replicas()
    const all = (known?.all ?? []).map((replica) => ({
      ...{ brokerId: replica.brokerId, address: replica.address },
      ...{ confirmedTo: replica.confirmedTo, isInSync: known!.isInSync(replica) },
    }))
    const inSync = election.inSync.length
    return { isMaster, epoch, syncedEnd, inSync, replicas: all, election: told }
  }
  const slave = copy.slave?.state
  const master = {
    address: slave?.master ?? '',
    isConnected: slave?.isConnected ?? false,
    ...{ end: slave?.masterEnd, standing: slave?.standing },
  }
  return { isMaster, epoch, syncedEnd, inSync: 0, replicas: [], master, election: told }
}

/** Only where etcd has no copy left that it would elect. */
async function promote(context: ElectedControl, isForced: boolean): Promise<number> {
  const { clock, leaseMs, store } = context
  const election = context.election()
  if (election === undefined) throw new BrokerError('BUSY', 'this copy has only just been opened')
  if (election.election !== undefined) {
    throw new BrokerError('NOT_SUPPORTED', 'this broker is the master')
  }
  if (!isForced) {
    const text =
      'etcd elects the master: stop the present one, and a copy in sync takes over by itself'
    const forced =
      '--force makes this copy the master where none in sync is left, and what it lacks is lost'
    throw new BrokerError('NOT_SUPPORTED', `${text}; ${forced}`)
  }
  const { holder } = election.seen ?? {}
  if (holder !== undefined) {
    const text = `copy ${holder.name} is the master`
    throw new BrokerError('ABORTED', `${text}: stop that first`)
  }
  election.force()
  for (let leftMs = LEASES * leaseMs; leftMs > 0; leftMs -= LOOK_MS) {
    if (election.election !== undefined && !store.replication.isPassive) {
      return store.replication.epoch
    }
    await sleep(clock, LOOK_MS)
  }
  throw new BrokerError('TIMED_OUT', 'this copy was not elected: does etcd answer?')
}
