// The scripts of `trivet completion`, run by the shells that they are for.
import { execFile, execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import type { Entry } from '../../src/cli/command.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { runCommand } from '../support/command-line.ts'
import { tempDir } from '../support/temp-dir.ts'

const isThere = (shell: string): boolean => {
  try {
    execFileSync(shell, ['-c', 'true'])
    return true
  } catch {
    return false
  }
}

type Complete = (words: readonly string[]) => Promise<readonly string[]>

async function scriptOf(t: ExecutionContext, shell: string): Promise<string> {
  const { code, terminal } = await runCommand(['completion', shell])
  t.is(code, 0)
  const path = join(await tempDir(t), 'trivet')
  writeFileSync(path, `${terminal.output}\n`)
  return path
}

async function bash(t: ExecutionContext): Promise<Complete> {
  const path = await scriptOf(t, 'bash')
  const replies = '"$' + '{COMPREPLY[@]}"'
  const run = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _trivet; printf '%s\\n' ${replies}`
  return async (words) => {
    const given = ['-c', run, 'bash', path, 'trivet', ...words]
    const { stdout } = await promisify(execFile)('bash', given)
    return stdout.split('\n').filter((line) => line !== '')
  }
}

async function fish(t: ExecutionContext): Promise<Complete> {
  const path = await scriptOf(t, 'fish')
  return async (words) => {
    const run = `source ${path}; complete -C '${['trivet', ...words].join(' ')}'`
    const { stdout } = await promisify(execFile)('fish', ['--no-config', '-c', run])
    return stdout.split('\n').flatMap((line) => (line === '' ? [] : line.split('\t')[0]!))
  }
}

/** In place of the widgets of its completion, what they are given. */
const ZSH_STUBS = `compdef() { : }; _files() { : }; compadd() { shift; print -l -- $@ }
_describe() { local name=$@[-1]; print -l -- \${(P)name} }`

async function zsh(t: ExecutionContext): Promise<Complete> {
  const path = await scriptOf(t, 'zsh')
  const run = `${ZSH_STUBS}
source "$1"; shift; words=("$@"); CURRENT=$#; PREFIX=$words[-1]; _trivet`
  return async (words) => {
    const given = ['-f', '-c', run, 'zsh', path, 'trivet', ...words]
    const { stdout } = await promisify(execFile)('zsh', given)
    const offered = stdout.split('\n').map((line) => line.split(':')[0]!)
    return offered.filter((word) => word !== '' && word.startsWith(words.at(-1)!))
  }
}

const nouns = Object.entries(COMMANDS).filter(([, entry]) => 'verbs' in entry)

for (const [shell, open] of [
  ['bash', bash],
  ['zsh', zsh],
  ['fish', fish],
] as const) {
  const run = isThere(shell) ? test : test.skip

  run(`${shell} completes commands, verbs, flags and their values`, async (t) => {
    const complete = await open(t)
    t.deepEqual([...(await complete(['']))].sort(), Object.keys(COMMANDS).sort())
    t.deepEqual(await complete(['sta']), ['start', 'status'])
    for (const [noun, entry] of nouns) {
      const { verbs } = entry as Extract<Entry, { verbs: unknown }>
      t.deepEqual([...(await complete([noun, '']))].sort(), Object.keys(verbs).sort())
    }
    t.deepEqual([...(await complete(['pub', '--via', '']))].sort(), ['amqp', 'mqtt', 'native'])
    t.deepEqual(await complete(['topic', 'create', 'orders', '--que']), ['--queues'])
    t.true((await complete(['start', '--mqtt.p'])).includes('--mqtt.port'))
  })
}

test('a script has every command in it, and an unknown shell is named', async (t) => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { terminal } = await runCommand(['completion', shell])
    for (const name of Object.keys(COMMANDS)) t.true(terminal.output.includes(name), name)
  }
  const { code, terminal } = await runCommand(['completion', 'tcsh'])
  t.is(code, 2)
  t.regex(terminal.errors, /'tcsh' is no shell that is known here; choose one of: bash, zsh, fish/)
})
