// Help texts, derived from the command table and the commands' declarations.
import type { Setting } from '../../settings.ts'
import { typeWords } from '../../settings.ts'
import type { Command, Entry, Flag, Positional } from '../command.ts'
import { COMMANDS } from '../commands.ts'

export function overview(): readonly string[] {
  return [
    'trivet: one message broker for RocketMQ, MQTT and AMQP 1.0 clients',
    '',
    'Usage: trivet <command> [flags]',
    '',
    'Commands:',
    ...columns(entryRows([], COMMANDS)),
    '',
    'Help on one: trivet <command> --help',
    'Version: trivet --version',
  ]
}

export function nounHelp(words: readonly string[], verbs: Readonly<Record<string, Entry>>) {
  return [
    `Usage: trivet ${words.join(' ')} <${Object.keys(verbs).join(' | ')}> [flags]`,
    '',
    ...columns(entryRows(words, verbs)),
  ]
}

export function commandHelp(
  words: readonly string[],
  command: Command,
  settings: readonly Setting[],
): readonly string[] {
  const positionals = command.positionals ?? []
  const lines = [
    command.summary,
    '',
    `Usage: ${['trivet', ...words, ...positionals.map(positionalWord), '[flags]'].join(' ')}`,
  ]
  if (command.details) lines.push('', command.details)
  if (positionals.length > 0) {
    lines.push('', 'Arguments:')
    lines.push(...columns(positionals.map((one) => [positionalWord(one), one.describe])))
  }
  const flags = Object.entries(command.flags ?? {})
  lines.push('', 'Flags:')
  lines.push(...columns([...flags.map(flagRow), ['-h, --help', 'Show this help.']]))
  if (settings.length > 0) {
    lines.push('', 'Settings (also in the configuration file and the environment):')
    lines.push(...columns(settings.map(settingRow)))
  }
  if (command.examples) {
    lines.push('', 'Examples:', ...command.examples.map((example) => `  ${example}`))
  }
  return lines
}

function entryRows(
  words: readonly string[],
  entries: Readonly<Record<string, Entry>>,
): readonly (readonly [string, string])[] {
  return Object.entries(entries).flatMap(([name, entry]) => {
    const path = [...words, name]
    if ('verbs' in entry) return entryRows(path, entry.verbs)
    return [[path.join(' '), entry.summary] as const, ...entryRows(path, entry.below ?? {})]
  })
}

function positionalWord(positional: Positional): string {
  const word = `<${positional.name}>${positional.many ? '...' : ''}`
  return positional.optional ? `[${word}]` : word
}

function flagRow([name, flag]: readonly [string, Flag]): readonly [string, string] {
  const short = flag.short === undefined ? '' : `-${flag.short}, `
  const value =
    flag.type === 'boolean' ? '' : ` <${flag.value ?? flag.choices?.join('|') ?? flag.type}>`
  return [`${short}--${name}${value}`, flag.describe + (flag.many ? ' May be repeated.' : '')]
}

function settingRow(setting: Setting): readonly [string, string] {
  const fallback = setting.default === undefined ? '' : ` [${JSON.stringify(setting.default)}]`
  return [`--${setting.flag}`, `${setting.description} (${typeWords(setting.schema)})${fallback}`]
}

function columns(rows: readonly (readonly [string, string])[]): readonly string[] {
  const width = Math.min(34, Math.max(0, ...rows.map(([left]) => left.length)))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`)
}
