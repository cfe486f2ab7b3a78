// trivet completion: what shells need to complete command lines, generated from the declarations.
import { BrokerError } from '../../errors.ts'
import { type Command, command, type Entry, type Flag, type Flags } from '../command.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const

export const completion = command({
  summary: 'Print what completes commands and flags in a shell',
  positionals: [{ name: 'shell', describe: SHELLS.join(', ') }],
  examples: [
    'trivet completion bash > ~/.local/share/bash-completion/completions/trivet',
    'source <(trivet completion zsh)',
    'trivet completion fish > ~/.config/fish/completions/trivet.fish',
  ],
  async run({ args, commands, terminal }) {
    const shell = SHELLS.find((one) => one === args[0])
    if (shell === undefined) {
      const text = `'${args[0]}' is no shell that is known here; choose one of: ${SHELLS.join(', ')}`
      throw new BrokerError('ARGUMENT_INVALID', text)
    }
    terminal.print(SCRIPTS[shell](await wordsBelow([], commands)))
  },
})

/** A place in the table of commands. */
interface Place {
  /** '' for the beginning, else ' topic', ' topic create'. */
  readonly typed: string
  /** What may follow at once; of a noun its verbs. */
  readonly words: readonly (readonly [word: string, summary: string])[]
  /** undefined: a noun, which has none. */
  readonly flags: Flags | undefined
}

async function wordsBelow(
  words: readonly string[],
  entries: Readonly<Record<string, Entry>>,
): Promise<readonly Place[]> {
  const known = Object.entries(entries).map(([name, entry]) => [name, entry.summary] as const)
  const typed = words.map((word) => ` ${word}`).join('')
  const places: Place[] = [{ typed, words: known, flags: undefined }]
  for (const [name, entry] of Object.entries(entries)) {
    const path = [...words, name]
    if ('verbs' in entry) places.push(...(await wordsBelow(path, entry.verbs)))
    else {
      const [here, ...further] = await wordsBelow(path, entry.below ?? {})
      places.push({ ...here!, flags: await flagsOf(entry) }, ...further)
    }
  }
  return places
}

async function flagsOf(entry: { load(): Promise<Command> }): Promise<Flags> {
  const loaded = await entry.load()
  const help: Flag = { type: 'boolean', short: 'h', describe: 'Show this help.' }
  const settings: Record<string, Flag> = {}
  if (loaded.takesSettings) {
    for (const setting of (await import('../../config.ts')).allSettings()) {
      const isBoolean = setting.isSwitch
      const choices = setting.schema.enum?.map(String)
      settings[setting.flag] = {
        type: isBoolean ? 'boolean' : 'text',
        describe: setting.description,
        ...(choices && !isBoolean && { choices }),
      }
    }
  }
  return { ...settings, ...loaded.flags, help }
}

/** One word of a shell, whatever is in it. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

const spelled = (name: string, { short }: Flag): readonly string[] =>
  short === undefined ? [`--${name}`] : [`--${name}`, `-${short}`]

/** The flags of a place whose value is one of a few. */
const choosing = ({ flags = {} }: Place): readonly (readonly [string, Flag])[] =>
  Object.entries(flags).filter(([, { choices }]) => choices !== undefined)

const valued = ({ flags = {} }: Place): readonly (readonly [string, Flag])[] =>
  Object.entries(flags).filter(([, { type, choices }]) => type !== 'boolean' && !choices)

/** Patterns of `case`: the place, and behind it any arguments. */
const pattern = ({ typed, flags }: Place): string =>
  flags === undefined ? quoted(typed) : `${quoted(typed)}|${quoted(`${typed} `)}*`

/** What was typed up to the first flag, as a place is written. */
function bash(places: readonly Place[]): string {
  const cases = places.map((place) => {
    const { words, flags } = place
    const all = flags === undefined ? words.map(([word]) => word) : Object.entries(flags)
    const offered = all.map((one) => (typeof one === 'string' ? one : `--${one[0]}`)).join(' ')
    const values = [
      ...choosing(place).map(
        ([name, flag]) =>
          `      ${spelled(name, flag).join('|')}) offered=${quoted(flag.choices!.join(' '))} ;;`,
      ),
      ...valued(place).map(([name, flag]) => `      ${spelled(name, flag).join('|')}) return ;;`),
    ]
    const isEach = values.length > 0
    const lines = isEach ? ['    case "$prev" in', ...values, '    esac'] : []
    const fallback = flags === undefined ? '' : '[[ $cur == -* ]] && '
    return [
      `  ${pattern(place)})`,
      ...lines,
      `    [[ -z $offered ]] && ${fallback}offered=${quoted(offered)}`,
      '    ;;',
    ].join('\n')
  })
  return `# Completion of trivet for bash, made by: trivet completion bash
_trivet() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} typed='' offered='' at
  for ((at = 1; at < COMP_CWORD; at++)); do
    [[ \${COMP_WORDS[at]} == -* ]] && break
    typed+=" \${COMP_WORDS[at]}"
  done
  COMPREPLY=()
  case "$typed" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$offered" -- "$cur"))
}
complete -o default -F _trivet trivet`
}

function zsh(places: readonly Place[]): string {
  const entry = (word: string, text: string): string =>
    quoted(`${word.replaceAll(':', '\\:')}:${text}`)
  const cases = places.map((place) => {
    const { words, flags } = place
    const values = [
      ...choosing(place).map(
        ([name, flag]) =>
          `        (${spelled(name, flag).join('|')}) compadd -- ${flag.choices!.map(quoted).join(' ')}; return ;;`,
      ),
      ...valued(place).map(
        ([name, flag]) => `        (${spelled(name, flag).join('|')}) _files; return ;;`,
      ),
    ]
    const offered =
      flags === undefined
        ? words.map(([word, text]) => entry(word, text))
        : Object.entries(flags).map(([name, { describe }]) => entry(`--${name}`, describe))
    const show = flags === undefined ? "_describe 'command' offered" : SHOW_FLAGS_IN_ZSH
    return [
      `    (${pattern(place)})`,
      ...(values.length > 0 ? ['      case "$prev" in', ...values, '      esac'] : []),
      `      offered=(${offered.join(' ')})`,
      `      ${show}`,
      '      ;;',
    ].join('\n')
  })
  return `#compdef trivet
# Completion of trivet for zsh, made by: trivet completion zsh
_trivet() {
  local typed='' prev=\${words[CURRENT - 1]} at
  local -a offered
  for ((at = 2; at < CURRENT; at++)); do
    [[ \${words[at]} == -* ]] && break
    typed+=" \${words[at]}"
  done
  case "$typed" in
${cases.join('\n')}
  esac
}
compdef _trivet trivet`
}

const SHOW_FLAGS_IN_ZSH =
  "if [[ $PREFIX == -* ]]; then _describe -o 'flag' offered; else _files; fi"

function fish(places: readonly Place[]): string {
  const lines = places.flatMap(({ typed, words, flags = {} }) => {
    const at = `-n ${quoted(`__trivet_at ${quoted(typed.trim())}`)}`
    const under = `-n ${quoted(`__trivet_under ${quoted(typed.trim())}`)}`
    return [
      ...words.map(([word, text]) => `complete -c trivet ${at} -f -a ${word} -d ${quoted(text)}`),
      ...Object.entries(flags).map(([name, { type, short, choices, describe }]) => {
        const letter = short === undefined ? '' : ` -s ${short}`
        const value = choices
          ? ` -x -a ${quoted(choices.join(' '))}`
          : type === 'boolean'
            ? ''
            : ' -r'
        return `complete -c trivet ${under} -l ${name}${letter}${value} -d ${quoted(describe)}`
      }),
    ]
  })
  return `# Completion of trivet for fish, made by: trivet completion fish
function __trivet_typed
  set -l words (commandline -opc)
  set -l typed
  for word in $words[2..-1]
    string match -q -- '-*' $word; and break
    set -a typed $word
  end
  echo "$typed"
end
function __trivet_at
  test (__trivet_typed) = "$argv"
end
function __trivet_under
  string match -q -- "$argv *" (__trivet_typed)" "
end
${lines.join('\n')}`
}

const SCRIPTS = { bash, zsh, fish } as const
