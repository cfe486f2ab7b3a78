// A front-end behind a real listener on a free port of loopback, gone after the test.
import type { Clock } from '../../src/clock.ts'
import { silentLogger } from '../../src/log.ts'
import type { ListenerLimits } from '../../src/net/limits.ts'
import { Listener } from '../../src/net/listener.ts'
import type { Gateway } from '../../src/port/gateway.ts'
import { FakeClock } from './fake-clock.ts'
import type { Teardown } from './temp-dir.ts'

/** More than any test needs that is not about them. */
export const GENEROUS_LIMITS: ListenerLimits = {
  connectionsMax: 1000,
  connectionsPerAddressMax: 1000,
  unsentBytesMax: 64 * 1024 * 1024,
  writeStallMs: 30_000,
  silentMs: 30_000,
}

export interface OpenFrontEnd {
  readonly port: number
  /** Idempotent. */
  close(deadlineMs?: number): Promise<void>
}

export async function openFrontEnd(
  t: Teardown,
  gateway: Gateway & { open?(): Promise<void> },
  options: {
    readonly clock: Clock
    readonly limits?: Partial<ListenerLimits>
    readonly port?: number
  },
): Promise<OpenFrontEnd> {
  const { clock } = options
  const limits = { ...GENEROUS_LIMITS, ...options.limits }
  const name = gateway.protocol
  const at = { host: '127.0.0.1', port: options.port ?? 0 }
  const listener = await Listener.open({ ...at, name, limits, log: silentLogger, clock })
  await gateway.open?.()
  listener.serve(gateway)
  let closing: Promise<void> | undefined
  const close = async (deadlineMs: number): Promise<void> => {
    listener.stopAccepting()
    const isGone = gateway.close(deadlineMs)
    if (clock instanceof FakeClock) await clock.advanceAsync(deadlineMs + 1)
    await isGone
    await listener.close()
  }
  const closeOnce = (deadlineMs = 1000): Promise<void> => (closing ??= close(deadlineMs))
  t.teardown(() => closeOnce())
  return { port: listener.port, close: closeOnce }
}
