// When a slave may be made the master.
import type { SlaveState } from './slave.ts'

/**
 * A promotion begins an epoch that is so much higher: each start of the former master begins one
 * too, and must not come as far.
 */
export const EPOCHS_AHEAD = 1_000

/** Why acknowledged messages may be lost by it; undefined: the slave knows of none. */
export function riskOfPromotion(state: SlaveState): string | undefined {
  const { master, isConnected, standing, end, masterEnd } = state
  if (isConnected) return `its master ${master} is there and connected: stop that first`
  if (standing !== undefined)
    return `it has not all of its master's log, for it stands: ${standing}`
  if (masterEnd === undefined) {
    return `it has not reached its master ${master} since it started, so it may lack anything`
  }
  if (end < masterEnd) return `it lacks the last ${masterEnd - end} bytes of its master's log`
  return undefined
}
