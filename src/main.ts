// The process: the command line, signals, and the last line of defence. Composes nothing itself.
import type { Role, RunningRole } from './cli/command.ts'
import { EXIT_FAILED, EXIT_INTERRUPTED, runCommandLine } from './cli/run.ts'
import { processTerminal } from './cli/terminal.ts'
import { systemClock } from './clock.ts'
import type { Config } from './config.ts'

/** A stop takes its deadline for the connections and this for making everything durable. */
const STOP_GRACE_MS = 5_000
/** 128 + 2 or 15 is what shells report for a signal. */
const EXIT_TERMINATED = 143

export async function main(argv: readonly string[]): Promise<void> {
  const stop = new AbortController()
  let signals = 0
  let interrupted = EXIT_INTERRUPTED
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      signals++
      if (signal === 'SIGTERM') interrupted = EXIT_TERMINATED
      // A second one means now.
      if (signals > 1) process.exit(signal === 'SIGINT' ? EXIT_INTERRUPTED : EXIT_TERMINATED)
      stop.abort()
    })
  }
  // A reader of a pipe that went away ends the output, which is no defect.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : 1)
  })
  // Should nothing be left that a command waits for, it has not done its work.
  process.exitCode = EXIT_FAILED
  const code = await runCommandLine(argv, {
    terminal: processTerminal(),
    env: process.env,
    signal: stop.signal,
    roles: { run: (role, config) => runRole(role, config, stop.signal) },
  })
  process.exitCode = code === EXIT_INTERRUPTED ? interrupted : code
}

async function runRole(role: Role, config: Config, signal: AbortSignal): Promise<RunningRole> {
  const [{ createLogger }, { openServer }] = await Promise.all([
    import('./log.ts'),
    import('./server.ts'),
  ])
  const log = createLogger(config.logLevel)
  // Going on after an unknown failure risks what was acknowledged; the log is made for a restart.
  const die = (evt: string, error: unknown): void => {
    log.error({ evt, err: error }, 'a defect ended the process; please report it')
    process.exit(1)
  }
  process.on('unhandledRejection', (error) => die('process.unhandled_rejection', error))
  process.on('uncaughtException', (error) => die('process.uncaught_exception', error))
  const server = await openServer({ config, log, role, signal })
  process.on('SIGHUP', () => {
    // Of a terminal that is closed; without one, what service managers send for a reload.
    if (process.stdin.isTTY || process.stderr.isTTY) process.kill(process.pid, 'SIGTERM')
    else server.reloadCertificates()
  })
  const stopped = new Promise<void>((resolve, reject) => {
    const stop = (): void => {
      log.info({ evt: 'server.stopping' }, 'stopping; a second signal exits at once')
      systemClock.after(config.stopDeadlineMs + STOP_GRACE_MS, () => {
        log.error({ evt: 'server.stop_overdue' }, 'stopping took too long; exiting now')
        process.exit(1)
      })
      server.close().then(() => {
        log.info({ evt: 'server.stopped' }, 'stopped')
        resolve()
      }, reject)
    }
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
  return { addresses: server.addresses, startedInMs: systemClock.monotonic(), stopped }
}
