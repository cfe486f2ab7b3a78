// Time is injected: nothing outside this file reads a clock or sets a timer, so tests own both.

export interface Timer {
  /** Idempotent; a timer that fired already is left alone. */
  cancel(): void
}

export interface Clock {
  /** Wall time in ms since the epoch. May jump; never used to order or to measure. */
  now(): number
  /** Monotonic ms from an arbitrary start, with a fraction. */
  monotonic(): number
  /**
   * Ms that the event loop has waited for events since the process started; grows with `monotonic`.
   */
  idle(): number
  /** What the event loop was told by the system since the process started: a chunk came, say. */
  events(): number
  /** Calls `fn` once after `delayMs`. A timer does not keep the process alive. */
  after(delayMs: number, fn: () => void): Timer
  /** Calls `fn` every `periodMs` until cancelled. Does not keep the process alive. */
  every(periodMs: number, fn: () => void): Timer
}

/** setTimeout takes 2^31-1 ms at most; longer delays are re-armed. */
const TIMER_MAX_MS = 2_147_483_647

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  idle: () => performance.eventLoopUtilization().idle,
  events: () => performance.nodeTiming.uvMetricsInfo.events,
  after(delayMs, fn) {
    let handle: NodeJS.Timeout
    const arm = (left: number): void => {
      const step = Math.min(left, TIMER_MAX_MS)
      handle = setTimeout(() => (left > step ? arm(left - step) : fn()), step)
      handle.unref()
    }
    arm(Math.max(0, delayMs))
    return { cancel: () => clearTimeout(handle) }
  },
  every(periodMs, fn) {
    const handle = setInterval(fn, periodMs)
    handle.unref()
    return { cancel: () => clearInterval(handle) }
  },
}

/**
 * Keeps the process alive until cancelled; for a caller that has nothing open and waits to try
 * again.
 */
export function holdProcess(): Timer {
  const handle = setInterval(() => {}, TIMER_MAX_MS)
  return { cancel: () => clearInterval(handle) }
}

/** Resolves after `delayMs`, rejects with the signal's reason when that comes first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    const onAbort = (): void => {
      timer.cancel()
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** Lets the event loop look at everything else first. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** So many in each turn of the event loop, the first of them within the call. */
export async function inTurns<T>(
  all: readonly T[],
  atOnce: number,
  work: (one: T) => void,
): Promise<void> {
  for (let at = 0; at < all.length; at += atOnce) {
    if (at > 0) await nextTurn()
    for (const one of all.slice(at, at + atOnce)) work(one)
  }
}

const SLICE_MS = 8

/**
 * Long work in slices, so that nothing else waits for all of it: over a log of gigabytes, over
 * every queue.
 */
export class Slice {
  readonly #clock: Clock
  #startedMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#startedMs = clock.monotonic()
  }

  get isOver(): boolean {
    return this.#clock.monotonic() - this.#startedMs > SLICE_MS
  }

  /** Lets others run and begins the next slice, in a turn that has time for it. */
  async rest(): Promise<void> {
    await restOf(this.#clock).rest()
    this.#startedMs = this.#clock.monotonic()
  }
}

/**
 * The slice of a turn that many pieces of work of one kind have together, however many they are.
 * Each looks before each of its steps; those that rest go on in later turns, in the order in which
 * they came.
 */
export class SharedSlice {
  readonly #clock: Clock
  /** When the first of this turn looked. */
  #startedMs: number | undefined
  #line: (() => void)[] = []
  #isServing = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get isOver(): boolean {
    if (this.#startedMs !== undefined) return this.#isSpent(this.#startedMs)
    this.#startedMs = this.#clock.monotonic()
    this.#endLater()
    return false
  }

  /** Settles in a later turn that has time for it. */
  rest(): Promise<void> {
    if (!this.#isServing) this.#serveLater()
    return new Promise((go) => this.#line.push(go))
  }

  #serveLater(): void {
    this.#isServing = true
    setImmediate(() => {
      const line = this.#line
      this.#line = []
      this.#startedMs = this.#clock.monotonic()
      this.#serve(line, 0, this.#startedMs)
    })
  }

  #serve(line: readonly (() => void)[], at: number, startedMs: number): void {
    if (at < line.length && (at === 0 || !this.#isSpent(startedMs))) {
      line[at]!()
      afterPromises(() => this.#serve(line, at + 1, startedMs))
      return
    }
    this.#isServing = false
    this.#line = [...line.slice(at), ...this.#line]
    if (this.#line.length > 0) this.#serveLater()
    else this.#endLater()
  }

  /** What looks before the next turn has its end has no other slice. */
  #endLater(): void {
    setImmediate(() => {
      this.#startedMs = undefined
    })
  }

  #isSpent(startedMs: number): boolean {
    return this.#clock.monotonic() - startedMs > SLICE_MS
  }
}

/** Once what was begun, and goes on in promises without waiting for anything, is done. */
export function afterPromises(then: () => void): void {
  queueMicrotask(() => process.nextTick(then))
}

const rests = new WeakMap<Clock, SharedSlice>()

/** What has rested goes on within one slice of each turn, whatever it works on. */
function restOf(clock: Clock): SharedSlice {
  let shared = rests.get(clock)
  if (shared === undefined) {
    shared = new SharedSlice(clock)
    rests.set(clock, shared)
  }
  return shared
}
