// Structured logging. The first field of a line is a stable event name, then data, then a sentence.
// info = a state change a human acts on, debug = per connection, trace = per command.
import { pino } from 'pino'

export interface LogFields {
  /** Stable, dotted, lower case: 'segment.rolled'. */
  evt: string
  [field: string]: unknown
}

export interface Logger {
  error(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  debug(fields: LogFields, message: string): void
  trace(fields: LogFields, message: string): void
}

export type LogLevel = 'silent' | 'error' | 'warn' | 'info' | 'debug' | 'trace'

/** Lines that could not be written yet; beyond, new ones are dropped. */
const UNWRITTEN_BYTES_MAX = 1024 * 1024

/**
 * On standard error, so that standard output stays for the start banner: JSON lines for machines,
 * one readable line each on a terminal.
 */
export function createLogger(
  level: LogLevel,
  format: 'json' | 'terminal' = process.stderr.isTTY ? 'terminal' : 'json',
): Logger {
  if (format === 'json') {
    const destination = pino.destination({ fd: 2, sync: true, maxLength: UNWRITTEN_BYTES_MAX })
    // A log that cannot be written, as on a full disk, is no reason to end what it tells of.
    destination.on('error', () => {})
    return pino({ level, base: null }, destination)
  }
  return pino({ level, base: null }, { write: (line) => process.stderr.write(readable(line)) })
}

export const silentLogger: Logger = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  trace() {},
}

const LEVEL_WORDS: ReadonlyMap<number, string> = new Map([
  [10, 'trace'],
  [20, 'debug'],
  [30, 'info'],
  [40, 'warn'],
  [50, 'error'],
])

/** '12:00:00.000 warn  listener.refused  connections are refused (limit=connectionsMax)' */
export function readable(line: string): string {
  const { level, time, evt, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>
  const at = new Date(Number(time)).toISOString().slice(11, 23)
  const word = (LEVEL_WORDS.get(Number(level)) ?? String(level)).padEnd(5)
  const data = Object.entries(fields).map(([key, value]) => `${key}=${textOf(value)}`)
  const tail = data.length === 0 ? '' : ` (${data.join(' ')})`
  const stack = (err as { stack?: string } | undefined)?.stack
  return `${at} ${word} ${String(evt)}  ${String(msg)}${tail}\n${stack ? `${stack}\n` : ''}`
}

const textOf = (value: unknown): string =>
  typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
