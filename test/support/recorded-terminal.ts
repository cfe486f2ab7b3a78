// A terminal that keeps what a command says.
import type { Terminal } from '../../src/cli/terminal.ts'
import { tableLines } from '../../src/cli/terminal.ts'

export class RecordedTerminal implements Terminal {
  readonly printed: string[] = []
  readonly noted: string[] = []
  readonly progressed: string[] = []
  readonly isInteractive = false
  /** Answers to `secret`, in order. */
  readonly secrets: string[] = []

  get output(): string {
    return this.printed.join('\n')
  }

  get errors(): string {
    return this.noted.join('\n')
  }

  print(line: string): void {
    this.printed.push(line)
  }

  note(line: string): void {
    this.noted.push(line)
  }

  json(value: unknown): void {
    this.printed.push(JSON.stringify(value))
  }

  table(header: readonly string[], rows: readonly (readonly unknown[])[]): void {
    this.printed.push(...tableLines(header, rows))
  }

  progress(line: string): void {
    this.progressed.push(line)
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.printed.push(Buffer.from(bytes).toString())
  }

  async secret(): Promise<string> {
    return this.secrets.shift() ?? ''
  }
}
