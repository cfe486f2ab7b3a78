// Quantities and instants as people write and read them on a command line.
import { BrokerError } from '../errors.ts'

const UNITS_MS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
])

/** '500ms', '10s', '5m', '2h'. @throws BrokerError ARGUMENT_INVALID */
export function durationMs(flag: string, text: string): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? []
  if (amount === undefined || unit === undefined) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `${flag} is '${text}'; write for example 500ms or 10s`,
    )
  }
  return Number(amount) * UNITS_MS.get(unit)!
}

/**
 * '2026-01-02T03:04:05Z', epoch ms, or a duration that is so long ago: '2h'.
 * @throws BrokerError ARGUMENT_INVALID
 */
export function momentMs(flag: string, text: string, nowMs: number): number {
  if (/^\d+(?:\.\d+)?(ms|s|m|h)$/.test(text)) return Math.max(0, nowMs - durationMs(flag, text))
  if (/^\d{10,15}$/.test(text)) return Number(text)
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isFinite(at)) return at
  throw new BrokerError(
    'ARGUMENT_INVALID',
    `${flag} is '${text}'; write for example 2026-01-31T12:00:00Z, 2h (ago) or milliseconds since 1970`,
  )
}

/** Text from the network on one line, without control sequences of the terminal. */
export const visible = (text: string): string =>
  text.replaceAll(/[\p{Cc}\u2028\u2029]/gu, (char) => {
    const short = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[char]
    return short ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  })

/** '2026-01-02T03:04:05.678Z', or '-' for never. */
export const instant = (epochMs: number): string =>
  epochMs <= 0 ? '-' : new Date(epochMs).toISOString()

/** '3d 4h', '12m 5s' */
export function span(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  const units = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'm'],
    [1, 's'],
  ] as const
  const first = units.findIndex(([unit]) => seconds >= unit)
  if (first < 0) return '0s'
  let left = seconds
  const parts = units.slice(first, first + 2).map(([unit, word]) => {
    const count = Math.floor(left / unit)
    left -= count * unit
    return `${count}${word}`
  })
  return parts.join(' ')
}

/** '1.5 MiB' */
export function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}
