// How long a peer that owes an answer may say nothing: one that went silent with its connection
// open would hold a command for ever.
import { unlessAborted } from '../abort.ts'
import { BrokerError } from '../errors.ts'
import { durationMs } from './words.ts'

const ANSWER_TIMEOUT_MS = 10_000
/** As far as a timer of Node reaches. */
const TIMER_MS_MAX = 2 ** 31 - 1

export interface Patience {
  /** As errors name it: 'the MQTT broker at 127.0.0.1:1883'. */
  readonly peer: string
  readonly timeoutMs: number
}

/** @throws BrokerError ARGUMENT_INVALID */
export function answerTimeoutMs(text: string | undefined): number {
  if (text === undefined) return ANSWER_TIMEOUT_MS
  const ms = durationMs('--timeout', text)
  if (ms > 0) return Math.min(Math.ceil(ms), TIMER_MS_MAX)
  throw new BrokerError('ARGUMENT_INVALID', `--timeout is '${text}'; a time above 0 is due`)
}

/**
 * Rejects with TIMED_OUT when the peer is not heard of from one look to the next; `heard` says that
 * it was.
 */
export async function whileHeard<T>(
  { peer, timeoutMs }: Patience,
  run: (heard: () => void) => Promise<T>,
): Promise<T> {
  let isHeard = false
  const promise = run(() => {
    isHeard = true
  })
  for (;;) {
    const look = AbortSignal.timeout(timeoutMs)
    try {
      return await unlessAborted(promise, look)
    } catch (error) {
      if (error !== look.reason) throw error
      if (!isHeard) throw noAnswer(peer, timeoutMs, error)
      isHeard = false
    }
  }
}

const noAnswer = (peer: string, timeoutMs: number, cause: unknown): BrokerError =>
  new BrokerError('TIMED_OUT', `${peer} did not answer within ${timeoutMs} ms`, { cause })
