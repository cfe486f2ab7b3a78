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

/** JSON lines on standard error, so that standard output stays for the start banner. */
export function createLogger(level: LogLevel): Logger {
  return pino({ level, base: null }, pino.destination({ fd: 2, sync: true }))
}

export const silentLogger: Logger = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  trace() {},
}
