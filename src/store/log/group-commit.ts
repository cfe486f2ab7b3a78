// Group commit: sealed frames go to the segment at the end of the event-loop turn, their sync goes
// to the thread pool (of a lone message: see `LoneSync`), and callbacks are called in order. There
// is no timer in sync mode: while two syncs are under way the open frame grows, and the end of
// either starts the next. It knows frames and what they wait for, not what is in them.
import type { Clock, Timer } from '../../clock.ts'
import type { Histogram } from '../../numbers/histogram.ts'
import type { FlushMode } from './commit-log.ts'
import type { Done, SealedFrame } from './frame-stage.ts'
import { LoneSync } from './lone-sync.ts'
import type { SegmentWriter } from './segment-writer.ts'

interface Commit {
  readonly frames: readonly SealedFrame[]
  readonly end: number
  readonly slot: 0 | 1
  synced: boolean
}

export interface GroupCommitOptions {
  readonly writer: SegmentWriter
  readonly clock: Clock
  readonly flush: FlushMode
  readonly asyncWindowMs: number
  /** async: unsynced bytes that start a sync before the window is over. */
  readonly asyncBytes: number
  /** With so many bytes to write at once they are written without zeros before them. */
  readonly bulkBytes: () => number
  /** Hands over what was appended since, in order; empty when nothing was. */
  readonly seal: () => readonly SealedFrame[]
  /** The frame is as durable as the mode promises. */
  readonly deliver: (frame: SealedFrame) => void
  /** `syncedEnd` has grown. */
  readonly synced: () => void
  readonly syncSeconds: Histogram | undefined
  /** A write, sync or roll failed; nothing goes to that segment any more. */
  readonly failed: (error: Error) => void
}

export class GroupCommit {
  readonly #options: GroupCommitOptions
  readonly #loneSync: LoneSync
  /** Sealed and not written. */
  #queue: SealedFrame[] = []
  /** Oldest first; two at most. */
  #inFlight: Commit[] = []
  #waiting: { readonly end: number; readonly done: Done }[] = []
  #timer: Timer | undefined
  /** Grows when everything under way becomes void, so that a late sync is not believed. */
  #generation = 0
  #stopped = false
  writtenEnd: number
  syncedEnd: number

  constructor(options: GroupCommitOptions, end: number) {
    this.#options = options
    this.#loneSync = new LoneSync(options.clock)
    this.writtenEnd = end
    this.syncedEnd = end
  }

  /**
   * Writes and starts to sync what can be. Called at the end of a turn and whenever something got
   * free.
   */
  commit(): void {
    if (this.#stopped) return
    const isSync = this.#options.flush === 'sync'
    if (isSync && this.#inFlight.length >= 2) return
    const written: SealedFrame[] = []
    try {
      while (this.#writeNext(written));
    } catch (error) {
      this.#queue.unshift(...written)
      this.#options.failed(error as Error)
      return
    }
    if (written.length > 0) {
      this.writtenEnd = endOf(written.at(-1)!)
      if (isSync) this.#sync(written)
      else this.#acknowledge(written)
    }
    // A sync on this thread may have failed.
    if (this.#stopped) return
    this.#syncIfDue()
    this.#options.writer.makeRoom()
  }

  /** Calls back once all that is written by now, and all that was appended before, is synced. */
  whenSynced(end: number, done: Done): void {
    this.#waiting.push({ end, done })
    this.commit()
    this.#tellWaiting()
  }

  /** Goes on after `drain`, with everything before `end` synced. */
  restart(end: number): void {
    this.#stopped = false
    this.writtenEnd = end
    this.syncedEnd = end
  }

  /**
   * Forgets all that is not acknowledged, and stops.
   * @returns the callbacks that wait for it, in order
   */
  drain(): Done[] {
    this.#stopped = true
    this.#generation++
    this.#timer?.cancel()
    this.#timer = undefined
    const dones: Done[] = []
    if (this.#options.flush === 'sync') {
      for (const commit of this.#inFlight)
        for (const frame of commit.frames) dones.push(...frame.dones)
    }
    for (const frame of this.#queue) dones.push(...frame.dones)
    for (const { done } of this.#waiting) dones.push(done)
    this.#inFlight = []
    this.#queue = []
    this.#waiting = []
    return dones
  }

  /** @returns false when there is nothing to write, or it has to wait */
  #writeNext(written: SealedFrame[]): boolean {
    const { writer } = this.#options
    if (this.#queue.length === 0) this.#fillQueue()
    const frame = this.#queue[0]
    if (frame === undefined) return false
    const room = writer.room(frame.position, frame.length)
    if (room === 'ready') {
      const count = this.#adjoining(frame)
      const length = endOf(this.#queue[count - 1]!) - frame.position
      writer.write(frame.chunk.bytes, frame.at, frame.position, length)
      for (const one of this.#queue.splice(0, count)) written.push(one)
      return true
    }
    // Everything in a segment is durable before the next one begins, so that only the last can have
    // a hole.
    if (room === 'roll' && written.length === 0 && this.syncedEnd === frame.position) {
      writer.roll(frame.position)
    }
    return false
  }

  #fillQueue(): void {
    const { seal, writer, bulkBytes } = this.#options
    this.#queue.push(...seal())
    const [first, last] = [this.#queue[0], this.#queue.at(-1)]
    if (first === undefined || last === undefined) return
    writer.bulk(endOf(last) - first.position >= bulkBytes())
  }

  /** How many frames, from the first on, lie back to back in memory and have room: one write. */
  #adjoining(first: SealedFrame): number {
    const { writer } = this.#options
    let count = 1
    for (; count < this.#queue.length; count++) {
      const { chunk, position, length } = this.#queue[count]!
      if (chunk !== first.chunk || writer.room(position, length) !== 'ready') break
    }
    return count
  }

  #acknowledge(frames: readonly SealedFrame[]): void {
    for (const frame of frames) this.#options.deliver(frame)
  }

  /** async mode, and callers that asked for a sync. */
  #syncIfDue(): void {
    if (this.#inFlight.length > 0 || this.syncedEnd === this.writtenEnd) return
    const { clock, asyncBytes, asyncWindowMs } = this.#options
    const isUrgent =
      this.#waiting.length > 0 ||
      this.#queue.length > 0 ||
      this.writtenEnd - this.syncedEnd >= asyncBytes
    if (isUrgent) {
      this.#sync([])
      return
    }
    this.#timer ??= clock.after(asyncWindowMs, () => {
      this.#timer = undefined
      if (this.#inFlight.length === 0 && this.syncedEnd < this.writtenEnd) this.#sync([])
    })
  }

  #sync(frames: readonly SealedFrame[]): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const isAlone = this.#inFlight.length === 0 && this.#waiting.length === 0
    const slot = this.#inFlight[0]?.slot === 0 ? 1 : 0
    const commit: Commit = { frames, end: this.writtenEnd, slot, synced: false }
    this.#inFlight.push(commit)
    if (this.#loneSync.takes(frames, isAlone)) {
      this.#syncNow(commit)
      return
    }
    const generation = this.#generation
    const { clock, syncSeconds } = this.#options
    const startedMs = clock.monotonic()
    this.#options.writer.sync(slot, (error) => {
      syncSeconds?.observe((clock.monotonic() - startedMs) / 1000)
      if (generation !== this.#generation) return
      if (error !== null) return this.#options.failed(error)
      commit.synced = true
      this.#settle()
    })
  }

  #syncNow(commit: Commit): void {
    try {
      const tookMs = this.#loneSync.run(() => this.#options.writer.syncNow(commit.slot))
      this.#options.syncSeconds?.observe(tookMs / 1000)
    } catch (error) {
      this.#options.failed(error as Error)
      return
    }
    commit.synced = true
    this.#settle()
  }

  /** In order: a sync that overtook the one before it waits for it. */
  #settle(): void {
    const generation = this.#generation
    while (this.#inFlight[0]?.synced === true) {
      const commit = this.#inFlight.shift()!
      this.syncedEnd = commit.end
      this.#options.synced()
      this.#acknowledge(commit.frames)
      if (generation !== this.#generation) return
    }
    this.#tellWaiting()
    this.commit()
  }

  #tellWaiting(): void {
    while (this.#waiting.length > 0 && this.#waiting[0]!.end <= this.syncedEnd) {
      this.#waiting.shift()!.done(undefined)
    }
  }
}

const endOf = (frame: SealedFrame): number => frame.position + frame.length
