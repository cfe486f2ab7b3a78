// trivet config: every effective setting and where it came from.
import { allSettings, configJsonSchema, loadConfig } from '../config.ts'
import { redact } from '../settings.ts'
import { command } from './command.ts'

export const config = command({
  summary: 'Show every setting, its value and where it came from',
  details:
    'Settings are taken from the defaults, the file, the environment and flags, in this order.',
  takesSettings: true,
  flags: {
    config: { type: 'text', value: 'path', describe: 'Configuration file (default: trivet.json).' },
    json: { type: 'boolean', describe: 'Print one JSON object by setting name.' },
    changed: { type: 'boolean', describe: 'Only settings that differ from their default.' },
    reference: { type: 'boolean', describe: 'Print the reference page of all settings.' },
    schema: { type: 'boolean', describe: 'Print the JSON Schema of the configuration file.' },
  },
  examples: ['trivet config --changed', 'trivet config --mqtt.port 1884 --json'],
  async run({ flags, settings: given, env, terminal }) {
    if (flags.reference) {
      const { configReference } = await import('./help/config-reference.ts')
      return terminal.print(configReference().trimEnd())
    }
    if (flags.schema) return terminal.print(JSON.stringify(configJsonSchema(), null, 2))
    const loaded = loadConfig({ file: flags.config, env, flags: given })
    const shown = allSettings()
      .map((setting) => ({
        setting: setting.name,
        value: redact(valueAt(loaded.values, setting.path), setting.schema),
        origin: loaded.origins.get(setting.name) ?? 'default',
      }))
      .filter((one) => !flags.changed || one.origin !== 'default')
    if (flags.json) {
      const byName = shown.map(({ setting, value, origin }) => [setting, { value, origin }])
      return terminal.json(Object.fromEntries(byName))
    }
    terminal.table(
      ['SETTING', 'VALUE', 'FROM'],
      shown.map(({ setting, value, origin }) => [setting, JSON.stringify(value), origin]),
    )
  },
})

function valueAt(values: unknown, path: readonly string[]): unknown {
  let at = values
  for (const key of path) at = (at as Record<string, unknown> | undefined)?.[key]
  return at
}
