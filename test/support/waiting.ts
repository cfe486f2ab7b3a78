// Waiting for what happens elsewhere, with an end.

const WAIT_MS = 60_000

/** Resolves at the n-th count, rejects when that takes too long. */
export function latch(n: number) {
  let left = n
  let resolve: () => void = () => {}
  const reached = new Promise<void>((settle, reject) => {
    const timer = setTimeout(() => reject(new Error(`${left} of ${n} did not come`)), WAIT_MS)
    resolve = () => {
      clearTimeout(timer)
      settle()
    }
  })
  return {
    reached,
    count(): void {
      if (left > 0 && --left === 0) resolve()
    },
  }
}

export async function eventually<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = performance.now() + WAIT_MS
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadline) throw new Error('it did not happen in time')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
