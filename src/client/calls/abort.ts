// Waits that an AbortSignal or a time limit ends: the caller stops waiting, the work it shares goes
// on.
import { setMaxListeners } from 'node:events'
import { unlessAborted } from '../../abort.ts'
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { CallOptions } from './calls.ts'

/**
 * Its signal ends any number of waits at a time: Node takes more than ten for a leak unless it is
 * told.
 */
export function abortController(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}

/** Runs when the signal is aborted, at once when it is already. Returns how to call it off. */
export function onAbort(
  signal: AbortSignal | undefined,
  run: (reason: unknown) => void,
): () => void {
  if (signal === undefined) return () => {}
  const listener = (): void => run(signal.reason)
  if (signal.aborted) listener()
  else signal.addEventListener('abort', listener, { once: true })
  return () => signal.removeEventListener('abort', listener)
}

/** Rejects with TIMED_OUT, which says what was waited for, or the signal's reason. */
export function within<T>(
  promise: Promise<T>,
  { timeoutMs, signal }: CallOptions,
  clock: Clock,
  what: string,
): Promise<T> {
  if (timeoutMs === undefined) return unlessAborted(promise, signal)
  const timed = new Promise<T>((resolve, reject) => {
    const timer = clock.after(timeoutMs, () =>
      reject(new BrokerError('TIMED_OUT', `no answer within ${Math.ceil(timeoutMs)} ms: ${what}`)),
    )
    promise.then(resolve, reject).finally(() => timer.cancel())
  })
  return unlessAborted(timed, signal)
}
