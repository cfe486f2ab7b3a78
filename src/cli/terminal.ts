// A command's output: results on standard output, everything else on standard error.
import { createInterface } from 'node:readline'
import { visible } from './words.ts'

export interface Terminal {
  /** One line of result. */
  print(line: string): void
  /** Anything that is no result: hints, progress, errors. */
  note(line: string): void
  /** A result for machines: one line of JSON. */
  json(value: unknown): void
  /** Columns as wide as their widest cell. */
  table(header: readonly string[], rows: readonly (readonly unknown[])[]): void
  /** Bytes of a result as they are; settles when the reader has taken them. */
  write(bytes: Uint8Array): Promise<void>
  /** One line from standard input; on a terminal it asks first and shows nothing of the answer. */
  secret(question: string, signal: AbortSignal): Promise<string>
  /**
   * A line that the next one takes the place of, '' for none. On a terminal alone: how far long
   * work has got.
   */
  progress(line: string): void
  readonly isInteractive: boolean
}

const CLEAR_LINE = '\r\u001b[K'

export function processTerminal(): Terminal {
  let isLineOpen = false
  const progress = (line: string): void => {
    if (!process.stderr.isTTY || (line === '' && !isLineOpen)) return
    process.stderr.write(`${CLEAR_LINE}${line.slice(0, process.stderr.columns - 1)}`)
    isLineOpen = line !== ''
  }
  const print = (line: string): void => {
    progress('')
    console.log(line)
  }
  return {
    print,
    progress,
    note: (line) => {
      progress('')
      console.error(line)
    },
    json: (value) => print(JSON.stringify(value)),
    table(header, rows) {
      for (const line of tableLines(header, rows)) print(line)
    },
    write: (bytes) =>
      new Promise((resolve, reject) => {
        process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()))
      }),
    secret: readSecret,
    isInteractive: process.stdout.isTTY === true,
  }
}

export function tableLines(
  header: readonly string[],
  rows: readonly (readonly unknown[])[],
): readonly string[] {
  const cells = [header, ...rows].map((row) => row.map((cell) => visible(String(cell ?? '-'))))
  const widths = header.map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  )
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

function readSecret(question: string, signal: AbortSignal): Promise<string> {
  const input = process.stdin
  if (input.isTTY) process.stderr.write(question)
  // With a terminal but no output stream readline echoes nothing.
  const lines = createInterface({ input, terminal: input.isTTY === true, signal })
  return new Promise((resolve, reject) => {
    // In raw mode Ctrl-C is a key like any other.
    lines.once('SIGINT', () => process.kill(process.pid, 'SIGINT'))
    lines.once('line', (line) => {
      resolve(line)
      lines.close()
    })
    lines.once('close', () => {
      if (input.isTTY) process.stderr.write('\n')
      if (signal.aborted) reject(signal.reason)
      else resolve('')
    })
  })
}
