// Trying again within one deadline: what may succeed later without a change by the caller is
// repeated with growing pauses, everything else ends the call at once.
import { type Clock, sleep } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { BackOff } from './back-off.ts'

const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 1000
/** With less than this left an attempt could only say that the time is over. */
const SHORTEST_ATTEMPT_MS = 50
/**
 * An attempt that the end of the time cut off so soon says less than the error of the one before
 * it.
 */
const TELLING_ATTEMPT_MS = 500

/** A function that tells the rest of `timeoutMs`, which begins now; at least 1. */
export function timeLeft(clock: Clock, timeoutMs: number): () => number {
  const deadline = clock.monotonic() + timeoutMs
  return () => Math.max(1, deadline - clock.monotonic())
}

export interface AttemptOptions {
  readonly clock: Clock
  /** For all attempts together. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/**
 * `attempt` is told what is left of the time whenever it asks, and the error of the attempt before.
 * Rejects with the last attempt's error, or that of the one before where the end of the time cut
 * the last one short, or the signal's reason.
 */
export async function withRetries<T>(
  options: AttemptOptions,
  attempt: (leftMs: () => number, failed: BrokerError | undefined) => Promise<T>,
): Promise<T> {
  const { clock, signal } = options
  const leftMs = timeLeft(clock, options.timeoutMs)
  const backOff = new BackOff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS)
  let failed: BrokerError | undefined
  for (;;) {
    const beganWithMs = leftMs()
    try {
      return await attempt(leftMs, failed)
    } catch (thrown) {
      if (signal?.aborted) throw signal.reason
      if (!(thrown instanceof BrokerError) || !thrown.retryable) throw thrown
      const isCutShort = thrown.code === 'TIMED_OUT' && beganWithMs < TELLING_ATTEMPT_MS
      if (failed !== undefined && isCutShort) throw failed
      failed = thrown
    }
    const pauseMs = backOff.nextMs()
    if (pauseMs + SHORTEST_ATTEMPT_MS >= leftMs()) throw failed
    await sleep(clock, pauseMs, signal)
  }
}
