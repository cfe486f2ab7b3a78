// Waits that the end of a signal ends. Thousands may share the signal of one connection, and an
// EventTarget looks through all its listeners whenever one comes or goes.
const waits = new WeakMap<AbortSignal, Set<() => void>>()

/** Calls `end` once when the signal is aborted, which it is not yet. Returns how to call it off. */
export function onAbort(signal: AbortSignal, end: () => void): () => void {
  const ends = waits.get(signal) ?? watched(signal)
  ends.add(end)
  return () => void ends.delete(end)
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
