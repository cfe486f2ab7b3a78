// A logger that keeps what it was told, for tests that ask whether something was said.
import type { LogFields, Logger } from '../../src/log.ts'

export interface LogLine extends LogFields {
  readonly level: 'error' | 'warn' | 'info'
}

export class LogLines implements Logger {
  readonly lines: LogLine[] = []

  events(): string[] {
    return this.lines.map((line) => line.evt)
  }

  error(fields: LogFields): void {
    this.lines.push({ ...fields, level: 'error' })
  }
  warn(fields: LogFields): void {
    this.lines.push({ ...fields, level: 'warn' })
  }
  info(fields: LogFields): void {
    this.lines.push({ ...fields, level: 'info' })
  }
  debug(): void {}
  trace(): void {}
}
