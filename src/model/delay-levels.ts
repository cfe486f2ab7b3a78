// RocketMQ's delay levels 1..18 (messageDelayLevel) and the retry ladder built on them.

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

const LEVELS_MS: readonly number[] = [
  1 * SECOND,
  5 * SECOND,
  10 * SECOND,
  30 * SECOND,
  1 * MINUTE,
  2 * MINUTE,
  3 * MINUTE,
  4 * MINUTE,
  5 * MINUTE,
  6 * MINUTE,
  7 * MINUTE,
  8 * MINUTE,
  9 * MINUTE,
  10 * MINUTE,
  20 * MINUTE,
  30 * MINUTE,
  1 * HOUR,
  2 * HOUR,
]

export const DELAY_LEVEL_MAX = LEVELS_MS.length
/** The first retry waits level 3 (10 s), each further one a level more. */
const FIRST_RETRY_LEVEL = 3

/** Delay of level 1..18 in ms; above 18 counts as 18. */
export function delayLevelMs(level: number): number {
  return LEVELS_MS[Math.min(Math.max(1, level), DELAY_LEVEL_MAX) - 1]!
}

/** Level of the next attempt of a message that was re-consumed `reconsumeTimes` times. */
export const retryLevel = (reconsumeTimes: number): number => FIRST_RETRY_LEVEL + reconsumeTimes

/** Its delay. */
export const retryDelayMs = (reconsumeTimes: number): number =>
  delayLevelMs(retryLevel(reconsumeTimes))

/** The level whose delay is exactly this, if one is. */
export function delayLevelOf(delayMs: number): number | undefined {
  const index = LEVELS_MS.indexOf(delayMs)
  return index < 0 ? undefined : index + 1
}

/** The shortest level that waits at least this long; the longest when none does. */
export function delayLevelFor(delayMs: number): number {
  const index = LEVELS_MS.findIndex((ms) => ms >= delayMs)
  return index < 0 ? DELAY_LEVEL_MAX : index + 1
}
