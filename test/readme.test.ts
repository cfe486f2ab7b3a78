// The quick start of the README is run as it stands, against a server on ports of its own.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { plainEnv, type SpawnedServer, spawnServer, TRIVET } from './support/server.ts'
import { ROOT, textOf } from './support/sources/sources.ts'
import { tempDir } from './support/temp-dir.ts'
import { eventually } from './support/waiting.ts'

type Way = 'background' | 'run' | 'output'

interface Snippet {
  readonly way: Way
  readonly language: string
  readonly text: string
}

function snippets(page: string): readonly Snippet[] {
  const pattern = /<!-- test: (\w+) -->\n```(\w+)\n([\s\S]*?)```/g
  return [...page.matchAll(pattern)].map(([, way, language, text]) => ({
    way: way as Way,
    language: language!,
    text: text!,
  }))
}

/** The same text with the ports that the test has. */
function atPorts(text: string, server: SpawnedServer): string {
  return text
    .replaceAll('npx trivet', `'${process.execPath}' '${TRIVET}'`)
    .replaceAll('mosquitto_pub', `mosquitto_pub -p ${server.port('mqtt')}`)
    .replaceAll('localhost:9876', server.address('nameServer'))
    .replaceAll('5672', String(server.port('amqp')))
}

interface Run {
  readonly child: ChildProcess
  output: string
  readonly ended: Promise<number | null>
}

function start(t: ExecutionContext, command: string, args: readonly string[], env: object): Run {
  const child = spawn(command, args, { env: { ...plainEnv(), ...env }, cwd: ROOT })
  const run: Run = {
    child,
    output: '',
    ended: new Promise((resolve) => child.once('close', resolve)),
  }
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      run.output += text
    })
  }
  t.teardown(async () => {
    child.kill()
    await run.ended
  })
  return run
}

/** A program of its own that has this package installed. */
async function project(t: ExecutionContext, text: string, language: string): Promise<string> {
  const folder = await tempDir(t)
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(ROOT, join(folder, 'node_modules', 'trivetmq'))
  symlinkSync(join(ROOT, 'node_modules', 'rhea'), join(folder, 'node_modules', 'rhea'))
  t.teardown(() => rmSync(join(folder, 'node_modules'), { recursive: true, force: true }))
  const file = join(folder, `snippet.${language === 'ts' ? 'mts' : 'mjs'}`)
  writeFileSync(file, text)
  return file
}

/** Plain JavaScript for the one thing in the snippets that Node 20 does not parse. */
const runnable = (text: string): string => text.replace('await using', 'const')

test('the quick start does what it says', async (t) => {
  const server = await spawnServer(t)
  const env = { TRIVET_NAME_SERVERS: server.address('nameServer') }
  const all = snippets(textOf('README.md')).map((one) => ({
    ...one,
    text: atPorts(one.text, server),
  }))
  t.deepEqual(
    all.map(({ way, language }) => `${way} ${language}`),
    ['background sh', 'run sh', 'run sh', 'run js', 'output text', 'run ts', 'run sh'],
  )
  const hasMosquitto = (await start(t, 'bash', ['-c', 'command -v mosquitto_pub'], {}).ended) === 0
  if (!hasMosquitto) t.log('mosquitto_pub is NOT INSTALLED: the MQTT snippet was not run')
  const bash = (text: string): Run => start(t, 'bash', ['-euc', text], env)
  let watching: Run | undefined
  for (const { way, language, text } of all) {
    if (!hasMosquitto && text.startsWith('mosquitto_pub')) continue
    if (way === 'background') {
      watching = bash(`exec ${text}`)
      await isWatching(watching)
    } else if (way === 'output') {
      for (const line of text.trimEnd().split('\n')) {
        if (!hasMosquitto && line.endsWith('hello from MQTT')) continue
        await eventually(async () => (watching?.output.includes(`${line}\n`) ? line : undefined))
      }
    } else {
      const run =
        language === 'sh'
          ? bash(text)
          : start(t, process.execPath, [await project(t, runnable(text), 'js')], env)
      if (language === 'ts') {
        const shown = /^paid hello from .*$/m
        await eventually(async () => (shown.test(run.output) ? true : undefined))
        continue
      }
      t.is(await run.ended, 0, `${text}\n${run.output}`)
    }
  }
})

/** It says that it waits for its topic: what is sent from then on it must show. */
async function isWatching(watching: Run): Promise<void> {
  await eventually(async () => (watching.output.includes('waiting for it') ? true : undefined))
}
