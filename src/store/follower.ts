// A store that follows another one. Its log takes the frames of its master as they are, its views
// come from them by the same dispatcher, and its log starts where its master's does: not sooner
// than what the master wrote again for that is here. It appends nothing, until it is promoted.
import type { Clock, Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { type LogPosition, logPosition } from '../model/positions.ts'
import type { CommitLog } from './log/commit-log.ts'
import type { FrameBatch } from './log/following.ts'
import type { ViewKeeper } from './views/view-keeper.ts'

/** How often a start that could not be taken over is looked at again. */
const CHECK_PERIOD_MS = 60_000

export interface FollowerParts {
  readonly commitLog: CommitLog
  readonly keeper: ViewKeeper
  readonly clock: Clock
  readonly log: Logger
}

/** The master's log starts here; what it needs of what went before stands before `since`. */
interface MasterStart {
  readonly start: LogPosition
  readonly since: LogPosition
}

export class Follower {
  readonly #parts: FollowerParts
  readonly #timer: Timer
  /** To be taken over, and the newest one that was heard of. */
  #wanted: MasterStart | undefined
  #newest: MasterStart | undefined
  #trimming: Promise<void> | undefined
  /** Of what was taken last: the next is appended behind it. */
  #appending: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(parts: FollowerParts) {
    this.#parts = parts
    this.#timer = parts.clock.every(CHECK_PERIOD_MS, () => this.#trim())
  }

  /**
   * Takes what a feed of the master gave, in the order of the feed. Settles when it is durable and
   * in the views. @returns the end of the log
   * @throws what `CommitLog.appendFrame` does: the frames before the refused one are kept
   */
  async take({ bytes, logStart, logEnd, confirmed }: FrameBatch): Promise<LogPosition> {
    const appending = this.#appending.then(() => this.#append(bytes))
    this.#appending = appending.catch(() => {})
    const { settled } = await appending
    await settled
    if (confirmed !== undefined) this.#parts.commitLog.wasConfirmed(confirmed)
    this.#newest = { start: logStart, since: logEnd }
    this.#wanted ??= this.#newest
    this.#trim()
    return this.#parts.commitLog.end
  }

  /** No frame is taken from here on. Settles when those under way are in the views, or void. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer.cancel()
    await this.#appending
    await this.#synced()
    await this.#trimming
  }

  /** Returns when the log has all of it; `settled` is when it is durable and in the views. */
  async #append(bytes: Buffer): Promise<{ readonly settled: Promise<void> }> {
    const { commitLog } = this.#parts
    let finish: (error?: BrokerError) => void = () => {}
    const settled = new Promise<void>((resolve, reject) => {
      finish = (error) => (error === undefined ? resolve() : reject(error))
    })
    settled.catch(() => {})
    let waiting = 1
    const done = (error?: BrokerError): void => {
      waiting--
      if (error !== undefined || waiting === 0) finish(error)
    }
    for (let at = 0; at < bytes.length; ) {
      if (this.#isClosed) throw new BrokerError('CLOSED', 'this store follows no master any more')
      try {
        at += commitLog.appendFrame(bytes, at, done)
        waiting++
      } catch (error) {
        const isBusy = error instanceof BrokerError && error.code === 'BUSY'
        if (!isBusy || commitLog.unsyncedBytes === 0) throw error
        await this.#synced()
      }
    }
    done()
    return { settled }
  }

  #synced(): Promise<void> {
    return new Promise((resolve) => this.#parts.commitLog.sync(() => resolve()))
  }

  #trim(): void {
    const { commitLog, keeper, log } = this.#parts
    const wanted = this.#wanted
    if (wanted === undefined || this.#trimming !== undefined || this.#isClosed) return
    if (commitLog.syncedEnd < wanted.since || !keeper.mayTrim) return
    this.#trimming = this.#startAt(wanted.start)
      .then(() => {
        this.#wanted = this.#newest === wanted ? undefined : this.#newest
      })
      .catch((err: unknown) => {
        if (this.#isClosed) return
        const fields = { evt: 'retention.failed', err }
        log.warn(fields, 'an old segment could not go; trying again later')
      })
      .finally(() => {
        this.#trimming = undefined
      })
  }

  async #startAt(start: LogPosition): Promise<void> {
    const { commitLog, keeper } = this.#parts
    if (start > keeper.views.trimmedTo) await keeper.trimBefore(start)
    commitLog.dropBefore(logPosition(Math.min(start, keeper.views.trimmedTo)))
  }
}
