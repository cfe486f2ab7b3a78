// How a slave's copy of the log is opened: where there is none, it begins where the master's log
// starts; where it ends before that, for it was away too long, it begins anew.
import { type Clock, sleep } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { type LogPosition, logPosition } from '../model/positions.ts'
import { lastCommon } from '../store/log/epochs/history.ts'
import type { Followed, TailCut } from '../store/log/following.ts'
import type { Replication } from '../store/replication.ts'
import type { MessageStore } from '../store/store.ts'
import { type HelloAnswer, type MasterAddress, MasterLink } from './master-link.ts'
import { EPOCHS_AHEAD } from './promotion.ts'
import type { SlaveIdentity } from './slave.ts'
import { WIRE_VERSION } from './wire.ts'

const RETRY_MS = 1_000

export interface CopyContext {
  readonly identity: SlaveIdentity
  readonly master: () => MasterAddress
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
  /** Of the log that is there; undefined: none. */
  readonly logId: number | undefined
  readonly open: (follows: Followed) => Promise<MessageStore>
  /** Removes the log that is there, whose store is closed. */
  readonly empty: () => void
}

/** @throws BrokerError CONFIG_INVALID for another log, and what opening a store does */
export async function openCopy(context: CopyContext): Promise<MessageStore> {
  const { logId, log } = context
  if (logId === undefined) {
    const master = await firstAnswer(context)
    return context.open(beginningOf(master))
  }
  const store = await context.open({ logId, start: START })
  const end = store.replication.syncedEnd
  const master = await answerIfThere(context, store.replication.epoch)
  if (master === undefined) return store
  const cut = tailToCut(store.replication, master)
  if (cut !== undefined) {
    await store.close()
    return context.open({ logId, start: START, cut })
  }
  if (end >= master.logStart) return store
  const fields = { evt: 'replication.overtaken', end, masterStart: master.logStart }
  const text = `this copy ends at ${end} and the master's log starts at ${master.logStart} by now: it begins anew`
  log.warn(fields, text)
  await store.close()
  context.empty()
  return context.open(beginningOf(master))
}

export const START: LogPosition = logPosition(0)

/** Why a copy that follows has to be opened once more: as above, from its start or cut. */
export function whyAnew(own: Replication, master: HelloAnswer): string | undefined {
  const { syncedEnd: end } = own
  const cut = tailToCut(own, master)
  if (cut !== undefined) return `its master has another log from position ${cut.to} on`
  if (end >= master.logStart) return undefined
  return `it ends at ${end}, and its master's log starts at ${master.logStart} by now`
}

/**
 * What a former master has beyond the log of its successor is cut. Not what a slave has beyond a
 * master that merely started again: then it is the master that lost something.
 */
function tailToCut(own: Replication, master: HelloAnswer): TailCut | undefined {
  // It may have begun some epochs more before it was told.
  if (master.epoch < own.epoch + EPOCHS_AHEAD / 2) return undefined
  const to = lastCommon(own.history, master.history)
  if (to === undefined || to >= own.syncedEnd || to < master.logStart) return undefined
  return { to }
}

export const beginningOf = ({ logId, logStart }: HelloAnswer): Followed => ({
  logId,
  start: logPosition(logStart),
})

export type Asking = Pick<CopyContext, 'identity' | 'master' | 'logId' | 'signal'>

/** `epoch`: with a higher one than its master's the log was promoted, and is no copy to empty. */
export async function ask(
  { identity, master, logId, signal }: Asking,
  epoch?: number,
): Promise<HelloAnswer> {
  const link = await MasterLink.dial({ ...master(), signal })
  try {
    return await link.hello({ version: WIRE_VERSION, ...identity, logId, epoch }, signal)
  } finally {
    link.close()
  }
}

/** Without a master there is nothing to begin with. */
async function firstAnswer(context: CopyContext): Promise<HelloAnswer> {
  const { clock, log, signal, master } = context
  for (let failures = 0; ; failures++) {
    try {
      return await ask(context)
    } catch (thrown) {
      signal.throwIfAborted()
      const error = BrokerError.from(thrown)
      const { address } = master()
      if (error.code === 'INTERNAL') throw error
      if (!error.retryable) {
        const text = `replication.master ${address} does not take this slave: ${error.message.trim()}`
        throw new BrokerError(error.code, text, { cause: error })
      }
      if (failures === 0) {
        const fields = { evt: 'replication.waiting', master: address, reason: error.message }
        log.warn(fields, `an empty slave waits for its master ${address}`)
      }
    }
    await sleep(clock, RETRY_MS, signal)
  }
}

/** A master that is away, or refuses, is a matter of the slave that follows it from now on. */
async function answerIfThere(
  context: CopyContext,
  epoch: number,
): Promise<HelloAnswer | undefined> {
  try {
    return await ask(context, epoch)
  } catch (thrown) {
    const error = BrokerError.from(thrown)
    if (error.code === 'CONFIG_INVALID') throw error
    return undefined
  }
}
