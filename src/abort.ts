// Waits that the end of a signal ends. Thousands may share the signal of one connection, and an
// EventTarget looks through all its listeners whenever one comes or goes.
const waits = new WeakMap<AbortSignal, Set<() => void>>()

/** Calls `end` once when the signal is aborted, which it is not yet. Returns how to call it off. */
export function onAbort(signal: AbortSignal, end: () => void): () => void {
  const ends = waits.get(signal) ?? watched(signal)
  ends.add(end)
  return () => void ends.delete(end)
}

/** Rejects with the signal's reason when that comes first. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    if (signal.aborted) abort()
    const stop = signal.aborted ? () => {} : onAbort(signal, abort)
    promise.finally(stop).then(resolve, reject)
  })
}

function watched(signal: AbortSignal): Set<() => void> {
  const ends = new Set<() => void>()
  waits.set(signal, ends)
  const endAll = (): void => {
    for (const end of ends) {
      ends.delete(end)
      end()
    }
  }
  signal.addEventListener('abort', endAll, { once: true })
  return ends
}
