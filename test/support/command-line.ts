// A command of `trivet` in this process, and what it said.
import { runCommandLine } from '../../src/cli/run.ts'
import { RecordedTerminal } from './recorded-terminal.ts'

export interface RunningCommand {
  readonly terminal: RecordedTerminal
  readonly code: Promise<number>
  interrupt(): void
}

export function startCommand(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): RunningCommand {
  const terminal = new RecordedTerminal()
  const stop = new AbortController()
  const code = runCommandLine(argv, {
    terminal,
    env,
    signal: stop.signal,
    roles: { run: () => Promise.reject(new Error('no role here')) },
  })
  return { terminal, code, interrupt: () => stop.abort() }
}

/** To its end. */
export async function runCommand(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number; readonly terminal: RecordedTerminal }> {
  const { terminal, code } = startCommand(argv, env)
  return { code: await code, terminal }
}
