// Work that many may ask for at once, and that is done once for all of them.

/**
 * All that ask while the work is under way share the next one, which begins when it is over: what
 * they are told is not older than their question.
 */
export function shared<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined
  let next: Promise<T> | undefined
  const begin = (): Promise<T> => {
    const begun = work().finally(() => {
      if (running === begun) running = undefined
    })
    running = begun
    return begun
  }
  const beginNext = (): Promise<T> => {
    next = undefined
    return begin()
  }
  return () => {
    if (running === undefined) return begin()
    next ??= running.then(beginNext, beginNext)
    return next
  }
}
