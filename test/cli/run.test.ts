import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { isPassword, parsePasswordHash } from '../../src/access/secrets/password.ts'
import { parseArguments } from '../../src/cli/arguments.ts'
import type { Entry, Role, RunningRole } from '../../src/cli/command.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { runCommandLine } from '../../src/cli/run.ts'
import { start } from '../../src/cli/start.ts'
import type { Config } from '../../src/config.ts'
import { BrokerError } from '../../src/errors.ts'
import { settingAt } from '../../src/settings.ts'
import { RecordedTerminal } from '../support/recorded-terminal.ts'
import { TRIVET } from '../support/server.ts'
import { textOf } from '../support/sources/sources.ts'
import { tempDir } from '../support/temp-dir.ts'

interface Run {
  readonly code: number
  readonly terminal: RecordedTerminal
  readonly started: readonly (readonly [Role, Config])[]
}

async function run(
  argv: readonly string[],
  options: {
    env?: Record<string, string>
    secrets?: string[]
    start?: (role: Role) => Promise<RunningRole>
  } = {},
): Promise<Run> {
  const terminal = new RecordedTerminal()
  terminal.secrets.push(...(options.secrets ?? []))
  const started: (readonly [Role, Config])[] = []
  const code = await runCommandLine(argv, {
    terminal,
    env: options.env ?? {},
    signal: new AbortController().signal,
    roles: {
      run: (role, config) => {
        started.push([role, config])
        if (options.start) return options.start(role)
        return Promise.resolve({ addresses: [], startedInMs: 1, stopped: Promise.resolve() })
      },
    },
  })
  return { code, terminal, started }
}

test('without a command, and with help, every command is listed', async (t) => {
  for (const argv of [[], ['help'], ['--help'], ['-h']]) {
    const { code, terminal } = await run(argv)
    t.is(code, 0)
    for (const name of Object.keys(COMMANDS))
      t.regex(terminal.output, new RegExp(`\\n  ${name}\\b`))
  }
})

test('every command has help that names its flags', async (t) => {
  const visit = async (words: readonly string[], entry: Entry): Promise<void> => {
    if ('verbs' in entry) {
      for (const [verb, below] of Object.entries(entry.verbs)) await visit([...words, verb], below)
      return
    }
    const { code, terminal } = await run([...words, '--help'])
    t.is(code, 0, words.join(' '))
    t.true(terminal.output.includes(`Usage: trivet ${words.join(' ')}`))
    for (const flag of Object.keys((await entry.load()).flags ?? {})) {
      t.true(terminal.output.includes(`--${flag}`), `${words.join(' ')} --${flag}`)
    }
  }
  for (const [name, entry] of Object.entries(COMMANDS)) await visit([name], entry)
})

test('an unknown command is refused with the one it was meant to be', async (t) => {
  const { code, terminal } = await run(['strat'])
  t.is(code, 2)
  t.is(
    terminal.errors,
    "trivet: no command 'strat' (did you mean 'start'?); all commands: trivet help",
  )
  t.is((await run(['constructor'])).code, 2)
})

test('an unknown flag is refused with the one it was meant to be', async (t) => {
  const { code, terminal, started } = await run(['start', '--mqtt.prot', '1'])
  t.is(code, 2)
  t.is(terminal.errors, "trivet: unknown flag --mqtt.prot (did you mean '--mqtt.port'?)")
  t.is(started.length, 0)
})

test('a flag without its value and a stray argument are refused', async (t) => {
  t.is(
    (await run(['start', '--mqtt.port'])).terminal.errors,
    'trivet: --mqtt.port needs a value: --mqtt.port <integer>',
  )
  t.is((await run(['start', 'now'])).terminal.errors, "trivet: 'now' is one argument too many")
})

test('setting flags reach the role, a bare one means true and --no- false', async (t) => {
  const { code, started } = await run([
    'broker',
    '--mqtt.port=1884',
    '--insecure-open-to-the-network',
    '--no-amqp.enabled',
  ])
  t.is(code, 0)
  const [role, config] = started[0]!
  t.is(role, 'broker')
  t.is(config.mqtt.port, 1884)
  t.is(config.insecureOpenToTheNetwork, true)
  t.is(config.amqp.enabled, false)
})

test('start tells where it listens and what to try first', async (t) => {
  const { terminal } = await run(['start'], {
    start: async () => ({
      startedInMs: 412.4,
      stopped: Promise.resolve(),
      addresses: [
        { name: 'nameServer', host: '127.0.0.1', port: 9876, advertised: '127.0.0.1:9876' },
        { name: 'remoting', host: '127.0.0.1', port: 10_911, advertised: '127.0.0.1:10911' },
        { name: 'mqtt', host: '0.0.0.0', port: 1884, advertised: 'mq.example:1884' },
      ],
    }),
  })
  t.regex(terminal.output, /started in 412 ms/)
  t.regex(terminal.output, /RocketMQ +127\.0\.0\.1:10911\n/)
  t.regex(terminal.output, /MQTT +0\.0\.0\.0:1884 {2}\(clients are told mq\.example:1884\)/)
  t.regex(terminal.output, /trivet pub orders 'hello' --tag paid\n/)
  t.regex(terminal.output, /mosquitto_pub -p 1884 -q 1 -t orders\/paid -m 'hello'/)
})

test('a role that cannot start is one sentence and exit code 2 or 1, never a stack', async (t) => {
  const failing = (code: 'CONFIG_INVALID' | 'STORE_CORRUPT') => ({
    start: () => Promise.reject(new BrokerError(code, 'the reason and the fix')),
  })
  const usage = await run(['start'], failing('CONFIG_INVALID'))
  t.is(usage.code, 2)
  t.is(usage.terminal.errors, 'trivet: the reason and the fix')
  t.is((await run(['start'], failing('STORE_CORRUPT'))).code, 1)
})

test('a failure that a broker answered with is its sentence, no defect of ours', async (t) => {
  const { code, terminal } = await run(['start'], {
    start: () => Promise.reject(new BrokerError('INTERNAL', 'the broker said no')),
  })
  t.is(code, 1)
  t.is(terminal.errors, 'trivet: the broker said no')
})

test('a defect of ours shows its stack', async (t) => {
  const { code, terminal } = await run(['start'], {
    start: () => Promise.reject(new TypeError('x is not a function')),
  })
  t.is(code, 1)
  t.regex(terminal.errors, /please report it:\nTypeError: x is not a function\n +at /)
})

test('config shows values and where they came from, with secrets hidden', async (t) => {
  const path = join(await tempDir(t), 'trivet.json')
  const users = { ann: { secretKey: 'sesame', publish: ['orders'] } }
  writeFileSync(path, JSON.stringify({ mqtt: { port: 1884 }, users }))
  const argv = ['config', '--config', path, '--amqp.port', '5673', '--changed']
  const { terminal } = await run(argv, { env: { TRIVET_DATA_DIR: '/data' } })
  t.regex(terminal.output, /^mqtt\.port +1884 +.*trivet\.json$/m)
  t.regex(terminal.output, /^amqp\.port +5673 +--amqp\.port$/m)
  t.regex(terminal.output, /^dataDir +"\/data" +TRIVET_DATA_DIR$/m)
  t.notRegex(terminal.output, /sesame/)
  t.regex(terminal.output, /orders/)
  t.notRegex(terminal.output, /remoting/)
  const json = await run([...argv, '--json'])
  t.deepEqual(JSON.parse(json.terminal.output)['mqtt.port'], { value: 1884, origin: path })
})

test('config --schema is the JSON Schema of the file', async (t) => {
  const { terminal } = await run(['config', '--schema'])
  const schema = JSON.parse(terminal.output)
  t.is(schema.properties.mqtt.properties.port.maximum, 65_535)
  t.is(schema.additionalProperties, false)
})

test('hash-password makes what a login is checked against', async (t) => {
  const { code, terminal } = await run(['hash-password'], { secrets: ['open sesame'] })
  t.is(code, 0)
  t.true(await isPassword('open sesame', parsePasswordHash(terminal.output)))
  t.is((await run(['hash-password'], { secrets: [''] })).code, 2)
})

test('help on a command is its --help, and the version is the one of the package', async (t) => {
  const help = await run(['help', 'topic', 'create'])
  t.is(help.code, 0)
  t.is(help.terminal.output, (await run(['topic', 'create', '--help'])).terminal.output)
  t.is((await run(['help', 'nothing'])).code, 2)
  const { version } = JSON.parse(textOf('package.json')) as { version: string }
  for (const word of ['--version', '-v', 'version']) {
    t.is((await run([word])).terminal.output, version)
  }
})

test('a user without a secret key is told where it is looked for', async (t) => {
  const { code, terminal } = await run(['status', '--access-key', 'ann'])
  t.is(code, 2)
  t.regex(terminal.errors, /'ann' needs its secret key in TRIVET_SECRET_KEY/)
})

/** Refuses a package to every import of a process. */
const without = (name: string): string => {
  const resolve = `export const resolve = (name, context, next) => {
    if (name === '${name}') throw new Error('${name} is loaded')
    return next(name, context)
  }`
  const hooks = `data:text/javascript,${encodeURIComponent(resolve)}`
  const register = `import { register } from 'node:module'; register(${JSON.stringify(hooks)})`
  return `data:text/javascript,${encodeURIComponent(register)}`
}

test('a command that takes no settings does not load what declares them', async (t) => {
  const start = (command: string): Promise<unknown> =>
    promisify(execFile)(process.execPath, ['--import', without('zod'), TRIVET, command, '--help'])
  await t.notThrowsAsync(start('status'))
  await t.throwsAsync(start('start'), { message: /zod is loaded/ })
})

// Each takes half a millisecond, and a start has 190 settings.
test('flags of settings are parsed without making their schemas', (t) => {
  const settings = [
    ['mqtt', 'port'],
    ['mqtt', 'enabled'],
  ].map((path) => settingAt(path, path[1] === 'enabled', () => t.fail() as never))
  const argv = ['--mqtt.port', '1884', '--no-mqtt.enabled']
  const { settings: given } = parseArguments(start, argv, settings)
  t.deepEqual(
    [...given],
    [
      ['mqtt.port', '1884'],
      ['mqtt.enabled', 'false'],
    ],
  )
})
