// How the log of a broker whose role is elected is opened: as a copy, always. Where there is none
// it begins with what the master has, or, in the one copy that may found the group, with nothing.
// What a former master has beyond its successor is cut before anything reads it.
import { type Clock, sleep } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Coordinator } from '../replication/election/coordinator.ts'
import type { MasterAddress } from '../replication/master-link.ts'
import { ask, beginningOf, START } from '../replication/opening.ts'
import type { SlaveIdentity } from '../replication/slave.ts'
import type { NamedCopy } from '../store/disk/copy-name.ts'
import { type LogHistory, lastCommon } from '../store/log/epochs/history.ts'
import type { TailCut } from '../store/log/following.ts'
import { type FollowedStore, logIdIn } from '../store/open.ts'
import type { MessageStore } from '../store/store.ts'

const RETRY_MS = 500
/** A log is opened without its master when that does not answer by then. */
const COMPARED_MS_MAX = 2_000

export interface ElectedStoreContext {
  readonly directory: string
  readonly named: NamedCopy
  /** Where no group is known, and this copy was in none. */
  readonly founds: boolean
  readonly coordinator: Coordinator
  readonly identity: SlaveIdentity
  readonly dialling: (address: string) => MasterAddress
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
  readonly open: (follows?: FollowedStore) => Promise<MessageStore>
}

/** @throws BrokerError what opening a store does; the signal's reason */
export async function openElectedStore(context: ElectedStoreContext): Promise<MessageStore> {
  const { directory, open } = context
  const logId = logIdIn(directory)
  if (logId === undefined) return beginCopy(context)
  const compare = (mine: LogHistory) => tailToCut(context, logId, mine)
  return open({ logId, start: START, compare })
}

async function beginCopy(context: ElectedStoreContext): Promise<MessageStore> {
  const { clock, log, signal, open } = context
  let told: string | undefined
  for (;;) {
    try {
      if (await mayFound(context)) return await found(context)
      const master = await askMaster(context, undefined, signal)
      if (master !== undefined) return await open(beginningOf(master))
      throw new BrokerError('UNREACHABLE', 'no copy is the master')
    } catch (thrown) {
      signal.throwIfAborted()
      const error = BrokerError.from(thrown)
      if (!error.retryable && error.code !== 'UNREACHABLE') throw error
      const fields = { evt: 'election.waiting', reason: error.message }
      if (told !== error.message) log.warn(fields, 'an empty copy waits for its master')
      told = error.message
    }
    await sleep(clock, RETRY_MS, signal)
  }
}

async function mayFound({ founds, named, coordinator }: ElectedStoreContext): Promise<boolean> {
  return founds && !named.isMember && (await coordinator.read()).state === undefined
}

/** A log of its own: it has an id, and nothing in it. */
async function found({ directory, open }: ElectedStoreContext): Promise<MessageStore> {
  await (await open()).close()
  return open({ logId: logIdIn(directory)!, start: START })
}

/** undefined: another copy that is the master is not known, or it cannot be asked just now. */
async function tailToCut(
  context: ElectedStoreContext,
  logId: number,
  mine: LogHistory,
): Promise<TailCut | undefined> {
  const late = new AbortController()
  const timer = context.clock.after(COMPARED_MS_MAX, () => late.abort())
  try {
    const signal = AbortSignal.any([context.signal, late.signal])
    const master = await askMaster(context, logId, signal)
    const to = master && lastCommon(mine, master.history)
    return to === undefined || to >= mine.end || to < master!.logStart ? undefined : { to }
  } catch {
    // It is asked again before it is followed.
    return undefined
  } finally {
    timer.cancel()
  }
}

/** undefined: no other copy is the master. @throws BrokerError */
async function askMaster(
  { coordinator, identity, dialling, named }: ElectedStoreContext,
  logId: number | undefined,
  signal: AbortSignal,
) {
  const { holder, state, candidates } = await coordinator.read()
  const address = candidates.find(({ name }) => name === holder?.name)?.addresses?.replication
  if (holder === undefined || holder.name === named.name || address === undefined) return undefined
  if (state?.master !== holder.name) return undefined
  const asking = { ...identity, election: state.election }
  return ask({ identity: asking, master: () => dialling(address), logId, signal })
}
