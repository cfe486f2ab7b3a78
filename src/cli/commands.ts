// The table of all commands. Each loads only when it runs, so that a short command starts fast.
import type { Command } from './command.ts'

/** A word of the command line that is a command, or a noun with verbs. */
export type Entry =
  | { readonly summary: string; load(): Promise<Command> }
  | { readonly summary: string; readonly verbs: Readonly<Record<string, Entry>> }

export const COMMANDS: Readonly<Record<string, Entry>> = {
  start: {
    summary: 'Run everything in one process: name server, broker and every front-end',
    load: async () => (await import('./start.ts')).start,
  },
  namesrv: {
    summary: 'Run a name server alone',
    load: async () => (await import('./start.ts')).namesrv,
  },
  broker: {
    summary: 'Run a broker with its front-ends, registered with name servers elsewhere',
    load: async () => (await import('./start.ts')).broker,
  },
  status: {
    summary: 'Show the brokers of a cluster and their state',
    load: async () => (await import('./status.ts')).status,
  },
  config: {
    summary: 'Show every setting, its value and where it came from',
    load: async () => (await import('./config.ts')).config,
  },
  'hash-password': {
    summary: 'Make the text that stands for a password in the configuration',
    load: async () => (await import('./hash-password.ts')).hashPasswordCommand,
  },
}
