// The copy of a log whose master is elected, from the opening of its store to the end of that: it
// follows one master after another, may become the master itself, and ends when the log has to be
// opened anew: because it was the master, or has what its master has not.
import { type Clock, sleep } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { logPosition } from '../model/positions.ts'
import type { Numbers } from '../numbers/numbers.ts'
import { lastCommon } from '../store/log/epochs/history.ts'
import type { AcknowledgementHold } from '../store/log/following.ts'
import type { MessageStore } from '../store/store.ts'
import type { LocalLog } from './election/election.ts'
import { type Candidate, electionOf } from './election/group-state.ts'
import type { MasterAddress } from './master-link.ts'
import { ask } from './opening.ts'
import { Slave, type SlaveIdentity } from './slave.ts'

const RETRY_MS_MIN = 50
const RETRY_MS_MAX = 1_000
const EVERYTHING = logPosition(Number.MAX_SAFE_INTEGER)

export interface ElectedCopyContext {
  readonly store: MessageStore
  /** The disk failed before, in this process: another copy is asked first. */
  readonly hasFailed: boolean
  /** Without an election. */
  readonly identity: SlaveIdentity
  readonly dialling: (address: string) => MasterAddress
  readonly clock: Clock
  readonly log: Logger
  readonly numbers: Numbers
  /** It belongs to a group from here on. Durable when it returns. */
  readonly joins: () => void
  /** It was elected, and nothing is acknowledged yet: copies that follow it may come. */
  readonly elected: () => void
  /** The log grew on this disk by then. */
  readonly synced: () => void
  /** It is the master, and may be read and written to. */
  readonly ready: () => void
  /** The log is to be opened anew. Called once; it follows nothing and acknowledges nothing. */
  readonly over: (end: CopyEnd) => void
}

export interface CopyEnd {
  readonly reason: string
  /** What the copy has is nothing that its master goes on from. */
  readonly isUseless?: boolean
  readonly hasFailed?: boolean
}

export class ElectedCopy implements LocalLog {
  readonly #context: ElectedCopyContext
  #following: Following | undefined
  #hold: AcknowledgementHold | undefined
  #isReady = false
  #isOver = false
  #letsGo = false

  constructor(context: ElectedCopyContext) {
    this.#context = context
  }

  get place(): LocalLog['place'] {
    const { store, hasFailed } = this.#context
    const { epoch, syncedEnd: end, disk } = store.replication
    return { epoch, end, disk, isDamaged: hasFailed || store.status().damage.length > 0 }
  }

  /** The master that it follows. */
  get slave(): Slave | undefined {
    return this.#following?.slave
  }

  follow({ name, addresses }: Candidate, election: number): void {
    if (this.#isOver || this.#hold !== undefined || addresses === undefined) return
    const { log, store, joins } = this.#context
    // What this log has of a later election comes from a later master.
    if (electionOf(store.replication.epoch) > election) return
    joins()
    const { replication: address } = addresses
    const fields = { evt: 'election.follows', master: name, address, election }
    log.info(fields, `copy ${name} at ${address} is the master`)
    const before = this.#following?.close()
    this.#following = new Following(this.#context, address, election, before, (end) =>
      this.#end(end),
    )
  }

  async stopFollowing(): Promise<void> {
    if (this.#isOver) throw new BrokerError('CLOSED', 'this copy is opened anew')
    const following = this.#following
    this.#following = undefined
    await following?.close()
  }

  async promote(epoch: number): Promise<void> {
    const { store, joins, synced, elected, log } = this.#context
    await this.stopFollowing()
    joins()
    await store.replication.promote(epoch)
    this.#hold = store.replication.hold(synced)
    elected()
    // A log is in the epoch of its newest record: without one a restart would forget this one.
    const facts = [{ kind: 'broker', key: 'promoted', value: Buffer.from(String(epoch)) }]
    store.append({ messages: [], facts }).catch((err: unknown) => {
      log.debug({ evt: 'election.unwritten', err }, 'the election could not be written as a record')
    })
  }

  acknowledge(to: number): void {
    if (this.#hold === undefined || this.#isOver) return
    this.#hold.confirm(logPosition(to))
    if (this.#isReady) return
    this.#isReady = true
    this.#context.ready()
  }

  /** Nothing is acknowledged from within this call on. */
  async demote(): Promise<void> {
    const hasFailed = this.#context.store.replication.disk === 'failed'
    const why = hasFailed ? 'its disk failed' : 'it is the master no more'
    this.#end({ reason: why, hasFailed })
  }

  /**
   * No client reads any more. What waits for other copies, once this one is no master, is answered
   * with an error: it stands in the log, and may be cut from it.
   */
  letGo(): void {
    this.#letsGo = true
    if (this.#isOver) this.#hold?.refuse(EVERYTHING, replaced())
  }

  async close(): Promise<void> {
    this.#isOver = true
    await this.#following?.close()
  }

  #end(end: CopyEnd): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#hold !== undefined) this.#context.store.replication.refuse(replaced(), 'all')
    if (this.#letsGo) this.letGo()
    this.#context.over(end)
  }
}

const replaced = (): BrokerError =>
  new BrokerError('READ_ONLY', 'this broker is the master no more: ask the new one')

/** One master, compared with once and then followed. */
class Following {
  readonly #context: ElectedCopyContext
  readonly #ending = new AbortController()
  readonly #running: Promise<void>
  slave: Slave | undefined

  constructor(
    context: ElectedCopyContext,
    address: string,
    election: number,
    before: Promise<void> | undefined,
    over: (end: CopyEnd) => void,
  ) {
    this.#context = context
    this.#running = this.#run(address, election, before, over)
  }

  /** Takes no more frames and confirms none; settles when those under way are synced. */
  async close(): Promise<void> {
    this.#ending.abort()
    await this.#running
    await this.slave?.close()
  }

  /** Never rejects. */
  async #run(
    address: string,
    election: number,
    before: Promise<void> | undefined,
    over: (end: CopyEnd) => void,
  ): Promise<void> {
    const { store, clock, log, numbers, dialling } = this.#context
    const { replication } = store
    const identity = { ...this.#context.identity, election }
    const master = () => dialling(address)
    await before
    const end = await this.#compare(identity, master)
    if (this.#ending.signal.aborted) return
    if (end !== undefined) over(end)
    else this.slave = new Slave({ replication, identity, master, clock, log, numbers })
  }

  /** Until the master has answered. */
  async #compare(
    identity: SlaveIdentity,
    master: () => MasterAddress,
  ): Promise<CopyEnd | undefined> {
    const { store, clock, log } = this.#context
    const { signal } = this.#ending
    const { logId, epoch } = store.replication
    let told: string | undefined
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        const answer = await ask({ identity, master, logId, signal }, epoch)
        return partingOf(store, answer)
      } catch (error) {
        if (signal.aborted) return undefined
        const { code, message } = BrokerError.from(error)
        const level = message === told ? 'debug' : 'warn'
        told = message
        const { address } = master()
        const fields = { evt: 'election.not_followed', master: address, code, reason: message }
        log[level](fields, `the master ${address} cannot be followed just now; trying again`)
      }
      const waitMs = Math.min(RETRY_MS_MIN * 2 ** failures, RETRY_MS_MAX)
      await sleep(clock, waitMs, signal).catch(() => {})
    }
    return undefined
  }
}

/** Why a log does not follow as it is. */
function partingOf(
  { replication }: MessageStore,
  { history, logStart }: Awaited<ReturnType<typeof ask>>,
): CopyEnd | undefined {
  const { syncedEnd } = replication
  const common = lastCommon(replication.history, history)
  if (common === undefined || common < logStart) {
    const reason = `it has nothing of the log of its master from ${logStart} on`
    return { reason, isUseless: true }
  }
  if (common >= syncedEnd) return undefined
  return { reason: `it has the log to ${syncedEnd}, and in common with its master to ${common}` }
}
