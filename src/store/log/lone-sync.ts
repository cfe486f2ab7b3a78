// Decides which thread syncs a commit. The thread pool lets the event loop go on during the sync
// and costs two changes of thread. A sender that waits for each answer pays them every time and
// gains nothing: there is no other work that the loop could do. So while one message after the
// other is committed alone, on a disk that is quick and a loop that has idle time, the sync may run
// on the event loop's own thread: where that is quicker, which is tried out (`SyncTrial`).
//
// Each condition protects other clients: several senders (their next messages are read during a
// sync), all clients on a slow disk (after one slow sync the pool has them, or when those of a
// sender that has the loop for itself add up), consumers that keep the loop busy.
import type { Clock } from '../../clock.ts'
import { Pooled } from '../disk/pooled.ts'
import { SyncTrial } from '../disk/sync-trial.ts'
import type { SealedFrame } from './frame-stage.ts'

/** This many commits of one message each must have come one after the other. */
const STREAK = 8
/** One message, and one record of notes that may go with it. */
const RECORDS_MAX = 2
const FRAME_BYTES_MAX = 64 * 1024
/** A sync that took longer is slow. */
const SLOW_MS = 1
/** More than so much in slow syncs of one window sends the following ones to the thread pool. */
const SLOW_MS_MAX = 16
/** With more events than the commits have of their own, by this share, the first slow one does. */
const OTHERS_SHARE_MAX = 1 / 8
/** Of a commit in the pool: its message came, its sync ended. */
const POOLED_EVENTS = 2
/** Commits that go to the pool after a slow or a busy window. */
const POOLED_MIN = 64
const POOLED_MAX = 65_536
/** Commits in a row on the loop's thread, after which the loop's idle time is looked at. */
const WINDOW = 64
/** Of the window's time, the loop must have waited for events at least this much. */
const IDLE_SHARE_MIN = 0.02

export class LoneSync {
  readonly #clock: Clock
  /** Commits of one message in a row. */
  #streak = 0
  /** When the last one of the streak began. */
  #beganMs = 0
  /** Of the streak. */
  readonly #pooled = new Pooled(POOLED_MIN, POOLED_MAX)
  readonly #trial = new SyncTrial()
  /** Syncs on this thread since the window began. */
  #syncs = 0
  #windowStartMs = 0
  #windowIdleMs = 0
  #windowEvents = 0
  /** Events that the lone commits of the window have of their own. */
  #ownEvents = 0
  /** Of the window. */
  #slowMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Is the commit to be synced by `run`? Ask once for each commit, in order. */
  takes(frames: readonly SealedFrame[], isAlone: boolean): boolean {
    if (!isAlone || !isLone(frames)) {
      this.#streak = 0
      return false
    }
    const nowMs = this.#clock.monotonic()
    const tookMs = nowMs - this.#beganMs
    this.#beganMs = nowMs
    this.#streak++
    const isHere = this.#isHere(tookMs)
    this.#ownEvents += isHere ? 1 : POOLED_EVENTS
    return isHere
  }

  #isHere(tookMs: number): boolean {
    if (!this.#pooled.takes() && this.#streak > STREAK) return this.#trial.next(tookMs)
    this.#trial.restart()
    return false
  }

  /** Runs the sync on this thread. @returns how many ms it took @throws its error */
  run(sync: () => void): number {
    const startMs = this.#clock.monotonic()
    if (this.#syncs === 0) {
      this.#windowStartMs = startMs
      this.#windowIdleMs = this.#clock.idle()
      this.#windowEvents = this.#clock.events()
      this.#ownEvents = 1
    }
    sync()
    const endMs = this.#clock.monotonic()
    const isSlow = endMs - startMs > SLOW_MS
    if (isSlow) this.#slowMs += endMs - startMs
    if (isSlow && (this.#slowMs > SLOW_MS_MAX || this.#hasOthers())) this.#giveWay()
    else if (++this.#syncs === WINDOW) this.#judge(endMs)
    return endMs - startMs
  }

  /**
   * A window that left the loop no idle time had other work in it, which waited for these syncs.
   */
  #judge(nowMs: number): void {
    const idleMs = this.#clock.idle() - this.#windowIdleMs
    if (idleMs < (nowMs - this.#windowStartMs) * IDLE_SHARE_MIN) {
      this.#giveWay()
      return
    }
    this.#syncs = 0
    this.#slowMs = 0
    this.#pooled.halve()
  }

  /** Something else than the lone sender had the loop's attention in this window. */
  #hasOthers(): boolean {
    const events = this.#clock.events() - this.#windowEvents
    return events > this.#ownEvents * (1 + OTHERS_SHARE_MAX)
  }

  #giveWay(): void {
    this.#syncs = 0
    this.#slowMs = 0
    this.#pooled.begin()
  }
}

const isLone = (frames: readonly SealedFrame[]): boolean => {
  const frame = frames[0]
  if (frame === undefined || frames.length > 1) return false
  return frame.dones.length === 1 && frame.records <= RECORDS_MAX && frame.length <= FRAME_BYTES_MAX
}
