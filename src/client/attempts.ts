// Trying again within one deadline: what may succeed later without a change by the caller is repeated
// with growing pauses, everything else ends the call at once.
import { type Clock, sleep } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { BackOff } from './back-off.ts'

const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 1000
/** With less than this left an attempt could only say that the time is over. */
const SHORTEST_ATTEMPT_MS = 50

export interface AttemptOptions {
  readonly clock: Clock
  /** For all attempts together. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/**
 * `attempt` is told what is left of the time whenever it asks, and the error of the attempt before. Rejects
 * with the last attempt's error, or the signal's reason.
 */
export async function withRetries<T>(
  options: AttemptOptions,
  attempt: (leftMs: () => number, failed: BrokerError | undefined) => Promise<T>,
): Promise<T> {
  const { clock, signal } = options
  const deadline = clock.monotonic() + options.timeoutMs
  const leftMs = (): number => Math.max(1, deadline - clock.monotonic())
  const backOff = new BackOff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS)
  let failed: BrokerError | undefined
  for (;;) {
    try {
      return await attempt(leftMs, failed)
    } catch (thrown) {
      if (signal?.aborted) throw signal.reason
      if (!(thrown instanceof BrokerError) || !thrown.retryable) throw thrown
      failed = thrown
    }
    const pauseMs = backOff.nextMs()
    if (clock.monotonic() + pauseMs + SHORTEST_ATTEMPT_MS >= deadline) throw failed
    await sleep(clock, pauseMs, signal)
  }
}
