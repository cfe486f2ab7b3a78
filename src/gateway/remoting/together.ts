// Topics and groups of one request, made some at a time.

/** Of one request, in one turn of the event loop. */
const MADE_AT_A_TIME = 128

/**
 * So many at the same time: those made in one turn share an append, and what is told to name
 * servers.
 */
export async function together<T>(
  items: Iterable<T>,
  make: (item: T) => Promise<void>,
): Promise<void> {
  const all = [...items]
  for (let at = 0; at < all.length; at += MADE_AT_A_TIME) {
    await Promise.all(all.slice(at, at + MADE_AT_A_TIME).map(make))
  }
}
