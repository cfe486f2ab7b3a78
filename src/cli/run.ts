// The shell of the command line: finds the command, parses for it, runs it, and turns what went
// wrong into a sentence and an exit code.
import { setMaxListeners } from 'node:events'
import { didYouMean } from '../did-you-mean.ts'
import { BrokerError } from '../errors.ts'
import type { Setting } from '../settings.ts'
import { ownVersion } from '../version.ts'
import { parseArguments } from './arguments.ts'
import type { Command, Entries, Entry, Roles } from './command.ts'
import { COMMANDS } from './commands.ts'
import { commandHelp, nounHelp, overview } from './help/help.ts'
import type { Terminal } from './terminal.ts'

const EXIT_OK = 0
export const EXIT_FAILED = 1
/** A wrong command line or configuration. */
const EXIT_USAGE = 2
/** Ctrl-C came before the command had done what it was asked to. */
export const EXIT_INTERRUPTED = 130

export interface Surroundings {
  readonly terminal: Terminal
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
  readonly roles: Roles
}

/** Answers with the exit code. */
export async function runCommandLine(
  argv: readonly string[],
  around: Surroundings,
): Promise<number> {
  // Many things that are under way at a time may wait for the one Ctrl-C; that is no leak.
  setMaxListeners(0, around.signal)
  try {
    await dispatch(argv, around)
    return EXIT_OK
  } catch (thrown) {
    if (around.signal.aborted && isAbort(thrown, around.signal)) return EXIT_INTERRUPTED
    return report(thrown, around.terminal)
  }
}

async function dispatch(argv: readonly string[], around: Surroundings): Promise<void> {
  const { terminal } = around
  const say = (lines: readonly string[]): void => terminal.print(lines.join('\n'))
  const [first] = argv
  if (first === 'help' && argv[1] === '--reference') {
    const { commandReference } = await import('./help/command-reference.ts')
    return terminal.print(await commandReference())
  }
  if (first === 'help' && argv.length > 1) return dispatch([...argv.slice(1), '--help'], around)
  if (first === undefined || first === 'help' || first === '--help' || first === '-h') {
    return say(overview())
  }
  if (first === '--version' || first === '-v' || first === 'version') {
    return terminal.print(ownVersion())
  }
  const words: string[] = []
  let entry: Entry = { summary: '', verbs: COMMANDS }
  for (const word of argv) {
    const isNoun: boolean = 'verbs' in entry
    const verbs: Entries | undefined = 'verbs' in entry ? entry.verbs : entry.below
    if (verbs === undefined || word.startsWith('-')) break
    const found: Entry | undefined = Object.hasOwn(verbs, word) ? verbs[word] : undefined
    if (found === undefined && !isNoun) break
    if (found === undefined) throw unknownCommand([...words, word], word, verbs)
    words.push(word)
    entry = found
  }
  if ('verbs' in entry) {
    if (words.length === 0) throw unknownCommand([first], first, COMMANDS)
    return say(nounHelp(words, entry.verbs))
  }
  const command: Command = await entry.load()
  const parsed = parseArguments(command, argv.slice(words.length), await settingsOf(command))
  if (parsed.wantsHelp) return say(commandHelp(words, command, await settingsOf(command)))
  await command.run({
    ...around,
    commands: COMMANDS,
    args: parsed.args,
    flags: parsed.flags as never,
    settings: parsed.settings,
  })
}

/**
 * Most commands have none: declaring them takes longer than all else at their start. Not held while
 * a command runs: a server is not to keep them.
 */
const settingsOf = async ({ takesSettings }: Command): Promise<readonly Setting[]> =>
  takesSettings ? (await import('../config.ts')).allSettings() : []

function unknownCommand(
  words: readonly string[],
  word: string,
  known: Readonly<Record<string, Entry>>,
): BrokerError {
  const hint = didYouMean(word, Object.keys(known))
  return new BrokerError(
    'ARGUMENT_INVALID',
    `no command '${words.join(' ')}'${hint}; all commands: trivet help`,
  )
}

const isAbort = (thrown: unknown, signal: AbortSignal): boolean =>
  thrown === signal.reason ||
  (thrown instanceof BrokerError && thrown.code === 'ABORTED') ||
  (thrown instanceof Error && thrown.name === 'AbortError')

/** Wrong input and failing surroundings get a sentence; only a defect of ours gets a stack. */
function report(thrown: unknown, terminal: Terminal): number {
  // INTERNAL without a cause is what a broker answered, not what broke here.
  const isTold = thrown instanceof BrokerError && thrown.cause === undefined
  if (thrown instanceof BrokerError && (isTold || thrown.code !== 'INTERNAL')) {
    terminal.note(`trivet: ${thrown.message}`)
    const isUsage = thrown.code === 'ARGUMENT_INVALID' || thrown.code === 'CONFIG_INVALID'
    return isUsage ? EXIT_USAGE : EXIT_FAILED
  }
  const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
  terminal.note(`trivet: this is a defect, please report it:\n${text}`)
  return EXIT_FAILED
}
