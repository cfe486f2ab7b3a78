// The declaration of a command: its words, its flags and the context of its run. Parsing, help and
// the suggestions in errors all derive from it.
import type { Config } from '../config.ts'
import type { Terminal } from './terminal.ts'

export interface Flag {
  readonly type: 'text' | 'number' | 'boolean'
  /** Its description in help. */
  readonly describe: string
  readonly short?: string
  /** Word for the value in help; default: the type. */
  readonly value?: string
  /** May be given several times; the value is a list. */
  readonly many?: boolean
  readonly choices?: readonly string[]
}

/** By name without dashes: 'invisible-ms'. */
export type Flags = Readonly<Record<string, Flag>>

type FlagValue<F extends Flag> = F['type'] extends 'boolean'
  ? boolean
  : F['many'] extends true
    ? readonly (F['type'] extends 'number' ? number : string)[]
    : F['type'] extends 'number'
      ? number | undefined
      : string | undefined

/** A boolean flag that is not given is false, a list is empty, anything else undefined. */
export type FlagValues<F extends Flags> = { readonly [Name in keyof F]: FlagValue<F[Name]> }

export interface Positional {
  readonly name: string
  readonly describe: string
  readonly optional?: boolean
  /** Takes the rest; only the last may. */
  readonly many?: boolean
}

export interface Invocation<F extends Flags = Flags> {
  /** As many as the command declares, the optional ones possibly missing. */
  readonly args: readonly string[]
  readonly flags: FlagValues<F>
  /** Configuration settings given as flags; only for commands with `takesSettings`. */
  readonly settings: ReadonlyMap<string, string>
  readonly terminal: Terminal
  readonly env: Readonly<Record<string, string | undefined>>
  /** Aborted by Ctrl-C or SIGTERM: finish in order. */
  readonly signal: AbortSignal
  readonly roles: Roles
  /** The table of all. */
  readonly commands: Readonly<Record<string, Entry>>
}

export interface Command<F extends Flags = Flags> {
  readonly summary: string
  /** Sentences below the summary in help. */
  readonly details?: string
  readonly positionals?: readonly Positional[]
  readonly flags?: F
  /** Every configuration setting is a flag too: --mqtt.port 1884. */
  readonly takesSettings?: boolean
  /** Whole command lines. */
  readonly examples?: readonly string[]
  /** Throws a BrokerError for what the user can mend. */
  run(invocation: Invocation<F>): Promise<void>
}

/** A word of the command line that is a command, or a noun with verbs; `below`: or both. */
export type Entry =
  | { readonly summary: string; load(): Promise<Command>; readonly below?: Entries }
  | { readonly summary: string; readonly verbs: Entries }

export type Entries = Readonly<Record<string, Entry>>

/** Keeps the flag types of a declaration while the table holds plain commands. */
export function command<const F extends Flags>(declared: Command<F>): Command {
  return declared as unknown as Command
}

export type Role = 'start' | 'namesrv' | 'broker' | 'gateway'

/** An address that the process listens on. */
export interface ListeningAddress {
  /** Section of the configuration: 'mqtt'. */
  readonly name: string
  readonly host: string
  readonly port: number
  /** The address that clients are told; undefined: the one they dialled. */
  readonly advertised: string | undefined
}

export interface RunningRole {
  readonly addresses: readonly ListeningAddress[]
  readonly startedInMs: number
  /** Settles when the role has stopped in order. */
  readonly stopped: Promise<void>
}

/** Servers are composed outside the command line, which must not load them. */
export interface Roles {
  run(role: Role, config: Config): Promise<RunningRole>
}
