// A slave: follows its master's log for as long as it lives. It dials again and again while the
// master is away; what only an operator can mend it says once, and tries again seldom, for the
// operator may mend it at the master.
import { type Clock, sleep } from '../clock.ts'
import { BrokerError, type ErrorCode } from '../errors.ts'
import type { Logger } from '../log.ts'
import { logPosition } from '../model/positions.ts'
import type { Counter, Numbers } from '../numbers/numbers.ts'
import type { FrameBatch } from '../store/log/following.ts'
import type { Replication } from '../store/replication.ts'
import { type HelloAnswer, type MasterAddress, MasterLink } from './master-link.ts'
import { mendFrom } from './mender.ts'
import { BEHIND_BYTES, BEHIND_SECONDS, CONNECTED, RECONNECTS, STANDING } from './numbers.ts'
import { Pace } from './pace.ts'
import { CHECKED_BYTES_MAX, WIRE_VERSION } from './wire.ts'

const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 5_000
/** A connection that lasted so long was none of several that two slaves of one id take by turns. */
const STEADY_MS = 5_000
/** Where an operator is needed; what room on the disk mends is tried more often. */
const STANDING_MS = 30_000
/** Fetched and not yet synced: each of BATCH_BYTES_MAX, or one frame. */
const BATCHES_UNDER_WAY_MAX = 4

/** Another try will not help by itself. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'ABORTED',
  'CONFIG_INVALID',
  'NOT_SUPPORTED',
  'OFFSET_OUT_OF_RANGE',
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
  'STORE_CORRUPT',
  'PROTOCOL_ERROR',
  'READ_ONLY',
  'MESSAGE_TOO_LARGE',
])

export interface SlaveIdentity {
  readonly clusterName: string
  readonly brokerName: string
  readonly brokerId: number
  /** Where masters are elected: its name, and the election whose master it follows. */
  readonly copy?: string | undefined
  readonly election?: number | undefined
}

export interface SlaveContext {
  readonly replication: Replication
  readonly identity: SlaveIdentity
  readonly master: () => MasterAddress
  readonly clock: Clock
  readonly log: Logger
  readonly numbers: Numbers
  /** The log has to be opened anew before it can follow this master: it ends here, if true. */
  readonly isOver?: (master: HelloAnswer) => boolean
}

/** How a slave stands, for operators. */
export interface SlaveState {
  /** host:port of its master. */
  readonly master: string
  readonly isConnected: boolean
  /** Why it cannot go on without an operator. */
  readonly standing: string | undefined
  /** Synced here. */
  readonly end: number
  /** The master's, when it was last heard of. */
  readonly masterEnd: number | undefined
}

export class Slave {
  readonly #context: SlaveContext
  readonly #ending = new AbortController()
  readonly #running: Promise<void>
  readonly #reconnects: Counter
  readonly #shown: readonly Disposable[]
  #link: MasterLink | undefined
  #isConnected = false
  #standing: string | undefined
  #masterEnd: number | undefined
  readonly #pace: Pace
  #masterStart = 0
  #failures = 0
  #connectedMs: number | undefined
  /** Where the log ended when what came could not be taken. */
  #refusedAt: number | undefined

  constructor(context: SlaveContext) {
    this.#context = context
    const { numbers, replication } = context
    this.#reconnects = numbers.counter(RECONNECTS)
    this.#pace = new Pace(context.clock.monotonic())
    const behind = (): number => Math.max(0, (this.#masterEnd ?? 0) - replication.syncedEnd)
    const behindSeconds = (): number =>
      behind() === 0 ? 0 : (context.clock.monotonic() - this.#pace.evenMs) / 1000
    this.#shown = [
      numbers.gauge(CONNECTED, () => (this.#isConnected ? 1 : 0)),
      numbers.gauge(STANDING, () => (this.#standing === undefined ? 0 : 1)),
      numbers.gauge(BEHIND_BYTES, behind),
      numbers.gauge(BEHIND_SECONDS, behindSeconds),
    ]
    this.#running = this.#run()
  }

  get state(): SlaveState {
    return {
      master: this.#context.master().address,
      isConnected: this.#isConnected,
      standing: this.#standing,
      end: this.#context.replication.syncedEnd,
      masterEnd: this.#masterEnd,
    }
  }

  /** Settles when nothing is under way: what was fetched is synced, or refused. */
  async close(): Promise<void> {
    this.#ending.abort()
    this.#link?.close()
    await this.#running
    for (const shown of this.#shown) shown[Symbol.dispose]()
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending
    while (!signal.aborted) {
      try {
        await this.#follow()
      } catch (thrown) {
        if (signal.aborted) return
        await this.#pauseAfter(BrokerError.from(thrown))
      }
    }
  }

  async #pauseAfter(error: BrokerError): Promise<void> {
    const { clock, log } = this.#context
    const { address } = this.#context.master()
    const fields = { master: address, code: error.code, reason: error.message }
    if (clock.monotonic() - (this.#connectedMs ?? Number.NaN) >= STEADY_MS) this.#failures = 0
    this.#connectedMs = undefined
    const isFinal = FINAL.has(error.code) && !this.#mayPass(error)
    if (isFinal && this.#standing !== error.message) {
      this.#standing = error.message
      const text = `this slave cannot follow its master: ${error.message}`
      log.error({ evt: 'replication.standing', ...fields }, text)
    } else if (!isFinal && this.#failures === 0) {
      const text = `the master ${address} cannot be followed just now; trying again`
      log.warn({ evt: 'replication.disconnected', ...fields }, text)
    }
    this.#reconnects.value++
    const waitMs = Math.min(RETRY_MS_MIN * 2 ** this.#failures, RETRY_MS_MAX)
    this.#failures++
    const { signal } = this.#ending
    const standingMs = error.code === 'READ_ONLY' ? RETRY_MS_MAX : STANDING_MS
    await sleep(clock, isFinal ? standingMs : waitMs, signal).catch(() => {})
  }

  /**
   * Bytes that were changed on their way come right when they come once more; where the master's
   * log starts later by now, its next HELLO says so.
   */
  #mayPass({ code }: BrokerError): boolean {
    if (code !== 'PROTOCOL_ERROR' && code !== 'OFFSET_OUT_OF_RANGE') return false
    const { syncedEnd } = this.#context.replication
    const isAgain = this.#refusedAt === syncedEnd
    this.#refusedAt = syncedEnd
    return !isAgain
  }

  /** Until the connection ends. @throws BrokerError */
  async #follow(): Promise<void> {
    const link = await MasterLink.dial({ ...this.#context.master(), signal: this.#ending.signal })
    this.#link = link
    try {
      if (this.#ending.signal.aborted) return
      const answer = await this.#hello(link)
      if (this.#context.isOver?.(answer) === true) {
        this.#ending.abort()
        return
      }
      const { logStart, logEnd } = answer
      this.#masterEnd = logEnd
      this.#masterStart = logStart
      await mendFrom(this.#context, logStart, this.#ending.signal)
      await this.#fetchAll(link)
    } finally {
      this.#isConnected = false
      this.#link = undefined
      link.close()
    }
  }

  async #hello(link: MasterLink): Promise<HelloAnswer> {
    const { replication, identity } = this.#context
    const { logId, epoch, syncedEnd: end } = replication
    return link.hello({ version: WIRE_VERSION, ...identity, logId, epoch, end })
  }

  async #fetchAll(link: MasterLink): Promise<void> {
    const { replication } = this.#context
    let failure: unknown
    const underWay: Promise<void>[] = []
    let from: number = replication.syncedEnd
    let check = await this.#checkBefore(from)
    try {
      while (!this.#ending.signal.aborted) {
        const batch = await link.fetch({ from, synced: replication.syncedEnd, ...check })
        check = {}
        if (failure !== undefined) throw failure
        this.#heard(batch, from)
        from = batch.to
        if (batch.bytes.length === 0) continue
        const taking = this.#take(link, batch).catch((error: unknown) => {
          failure ??= error
        })
        underWay.push(taking)
        if (underWay.length >= BATCHES_UNDER_WAY_MAX) await underWay.shift()
        if (failure !== undefined) throw failure
      }
    } finally {
      await Promise.all(underWay)
    }
  }

  async #take(link: MasterLink, batch: FrameBatch): Promise<void> {
    const { replication } = this.#context
    await replication.take(batch)
    link.done(batch)
    if (this.#standing !== undefined) this.#goesOn(batch.to)
    this.#keepPace()
    link.confirm(replication.syncedEnd)
  }

  #heard(batch: FrameBatch, from: number): void {
    if (batch.from !== from) {
      throw new BrokerError('PROTOCOL_ERROR', `the master gave ${batch.from} in place of ${from}`)
    }
    this.#masterEnd = batch.logEnd
    this.#keepPace()
    if (this.#isConnected) return
    this.#isConnected = true
    this.#connectedMs = this.#context.clock.monotonic()
    // A slave that could not take what came stands until it takes some of it.
    if (this.#standing === undefined || batch.bytes.length === 0) this.#goesOn(from)
  }

  #goesOn(from: number): void {
    this.#standing = undefined
    const { log } = this.#context
    const { address } = this.#context.master()
    const masterEnd = this.#masterEnd
    const fields = { evt: 'replication.following', master: address, from, masterEnd }
    log.info(fields, `following the master ${address} from position ${from}`)
  }

  #keepPace(): void {
    const { replication, clock } = this.#context
    this.#pace.heard(replication.syncedEnd, this.#masterEnd ?? 0, clock.monotonic())
  }

  /** The sum over the last bytes that both logs have; nothing where the log is empty. */
  async #checkBefore(end: number): Promise<{ checkFrom?: number; check?: number }> {
    const { replication } = this.#context
    const checkFrom = Math.max(end - CHECKED_BYTES_MAX, replication.start, this.#masterStart)
    if (checkFrom >= end) return {}
    const check = await replication.checksum(logPosition(checkFrom), logPosition(end))
    if (check !== undefined) return { checkFrom, check }
    throw new BrokerError(
      'BUSY',
      `bytes ${checkFrom} to ${end} of this log cannot be read just now`,
    )
  }
}
