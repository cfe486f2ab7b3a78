// A command line against a command's declaration: flags, positionals and their errors.
import { parseArgs } from 'node:util'
import { didYouMean } from '../did-you-mean.ts'
import { BrokerError } from '../errors.ts'
import type { Setting } from '../settings.ts'
import type { Command, Flag, Flags } from './command.ts'

export interface ParsedArguments {
  readonly args: readonly string[]
  readonly flags: Readonly<Record<string, unknown>>
  readonly settings: ReadonlyMap<string, string>
  readonly wantsHelp: boolean
}

const HELP: Flag = { type: 'boolean', short: 'h', describe: 'Show this help.' }

interface Token {
  readonly kind: string
  readonly name?: string
  readonly rawName?: string
  readonly value?: string | undefined
}

/** @throws BrokerError ARGUMENT_INVALID */
export function parseArguments(
  command: Command,
  argv: readonly string[],
  settings: readonly Setting[],
): ParsedArguments {
  const flags: Flags = { ...command.flags, help: HELP }
  const bySetting = new Map(settings.map((setting) => [setting.flag, setting]))
  const { tokens, positionals } = parseArgs({
    args: [...argv],
    options: optionsOf(flags, settings),
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const values = new Map<string, unknown>(defaults(flags))
  const given = new Map<string, string>()
  for (const token of tokens as readonly Token[]) {
    if (token.kind !== 'option') continue
    const name = token.name!
    const flag = Object.hasOwn(flags, name) ? flags[name] : undefined
    const setting = bySetting.get(name) ?? bySetting.get(name.replace(/^no-/, ''))
    if (flag !== undefined) keepFlag(values, name, flag, token)
    else if (setting !== undefined) keepSetting(given, setting, token)
    else throw unknownFlag(token.rawName ?? `--${name}`, flags, settings)
  }
  const wantsHelp = values.get('help') === true
  if (!wantsHelp) checkPositionals(command, positionals)
  return { args: positionals, flags: Object.fromEntries(values), settings: given, wantsHelp }
}

type Options = NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>['options']>

function optionsOf(flags: Flags, settings: readonly Setting[]): Options {
  const options = new Map<string, Options[string]>()
  for (const [name, flag] of Object.entries(flags)) {
    const type = flag.type === 'boolean' ? 'boolean' : 'string'
    options.set(name, flag.short === undefined ? { type } : { type, short: flag.short })
  }
  for (const setting of settings) {
    options.set(setting.flag, { type: setting.isSwitch ? 'boolean' : 'string' })
  }
  return Object.fromEntries(options)
}

function* defaults(flags: Flags): Iterable<[string, unknown]> {
  for (const [name, flag] of Object.entries(flags)) {
    if (flag.type === 'boolean') yield [name, false]
    else if (flag.many) yield [name, []]
  }
}

function keepFlag(values: Map<string, unknown>, name: string, flag: Flag, token: Token): void {
  const value = flagValue(name, flag, token.value)
  if (flag.many) (values.get(name) as unknown[]).push(value)
  else values.set(name, value)
}

function flagValue(name: string, flag: Flag, text: string | undefined): unknown {
  if (flag.type === 'boolean') {
    if (text === undefined || text === 'true') return true
    if (text === 'false') return false
    throw new BrokerError('ARGUMENT_INVALID', `--${name} takes no value, but got '${text}'`)
  }
  if (text === undefined) {
    throw new BrokerError('ARGUMENT_INVALID', `--${name} needs a value: --${name} <${flag.type}>`)
  }
  if (flag.choices !== undefined && !flag.choices.includes(text)) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `--${name} is '${text}'; choose one of: ${flag.choices.join(', ')}`,
    )
  }
  if (flag.type === 'text') return text
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  throw new BrokerError('ARGUMENT_INVALID', `--${name} is '${text}', which is no number`)
}

function keepSetting(given: Map<string, string>, setting: Setting, token: Token): void {
  const isNegated = token.name !== setting.flag
  if (setting.isSwitch) {
    given.set(setting.flag, isNegated ? 'false' : (token.value ?? 'true'))
    return
  }
  if (isNegated || token.value === undefined) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `--${setting.flag} needs a value: --${setting.flag} <${setting.schema.type ?? 'value'}>`,
    )
  }
  given.set(setting.flag, token.value)
}

function unknownFlag(given: string, flags: Flags, settings: readonly Setting[]): BrokerError {
  const known = [...Object.keys(flags), ...settings.map((setting) => setting.flag)]
  const hint = didYouMean(
    given,
    known.map((name) => `--${name}`),
  )
  return new BrokerError('ARGUMENT_INVALID', `unknown flag ${given}${hint}`)
}

function checkPositionals(command: Command, given: readonly string[]): void {
  const declared = command.positionals ?? []
  const needed = declared.filter((positional) => !positional.optional)
  const missing = needed[given.length]
  if (given.length < needed.length && missing !== undefined) {
    throw new BrokerError('ARGUMENT_INVALID', `<${missing.name}> is missing: ${missing.describe}`)
  }
  if (given.length > declared.length && !declared.at(-1)?.many) {
    const extra = given[declared.length]
    throw new BrokerError('ARGUMENT_INVALID', `'${extra}' is one argument too many`)
  }
}
