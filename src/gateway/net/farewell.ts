// The end of a front-end's connections: each may finish its work under way and take its last bytes,
// and a silent one is not waited for. So a stop is as quick as its live clients.
import type { Clock } from '../../clock.ts'

/** A connection that was told to go. */
export interface Leaving {
  /** Something it asked for is still being done here. */
  readonly isBusy: boolean
  /** Bytes on their way to the peer. */
  readonly unsentBytes: number
  destroy(): void
}

/** A peer that neither closes its side nor takes a byte for so long is cut off. */
const SILENT_MS = 250
const LOOK_MS = 20

interface Seen {
  unsentBytes: number
  atMs: number
}

/**
 * Settles when every connection is gone: by itself, cut off for its silence, or at the deadline.
 * `look` is called before each look at the connections; `left` is given the callback to call when
 * the last one goes.
 */
export async function seeOff(
  connections: ReadonlySet<Leaving>,
  clock: Clock,
  deadlineMs: number,
  left: (allGone: () => void) => void,
  look: () => void = () => {},
): Promise<void> {
  if (connections.size === 0) return
  const gone = new Promise<void>((resolve) => {
    left(resolve)
  })
  const deadline = clock.monotonic() + deadlineMs
  const seen = new Map<Leaving, Seen>()
  for (const connection of connections) {
    seen.set(connection, { unsentBytes: connection.unsentBytes, atMs: clock.monotonic() })
  }
  const looking = clock.every(LOOK_MS, () => {
    look()
    const nowMs = clock.monotonic()
    for (const connection of connections) {
      if (nowMs >= deadline || isSilent(connection, seen, nowMs)) connection.destroy()
    }
  })
  await gone
  looking.cancel()
}

function isSilent(connection: Leaving, seen: Map<Leaving, Seen>, nowMs: number): boolean {
  const { unsentBytes, isBusy } = connection
  const last = seen.get(connection)
  if (last === undefined || isBusy || unsentBytes !== last.unsentBytes) {
    seen.set(connection, { unsentBytes, atMs: nowMs })
    return false
  }
  return nowMs - last.atMs >= SILENT_MS
}
