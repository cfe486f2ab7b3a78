// The lint of commit subjects in .ci/, run in repositories made for it.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ROOT } from './support/sources/sources.ts'

const LINT = join(ROOT, '.ci/commit-subjects')

function directory(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'trivet-commits-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

function git(t: ExecutionContext, cwd: string, ...words: string[]): void {
  const identity = [
    '-c',
    'user.name=Test',
    '-c',
    'user.email=test@localhost',
    '-c',
    'commit.gpgsign=false',
  ]
  const { status, stderr } = spawnSync('git', [...identity, ...words], { cwd, encoding: 'utf8' })
  t.is(status, 0, stderr)
}

/** A repository with an empty commit for each subject, the oldest first. */
function repository(t: ExecutionContext, subjects: readonly string[]): string {
  const path = directory(t)
  git(t, path, 'init', '--quiet')
  for (const subject of subjects) {
    git(t, path, 'commit', '--quiet', '--allow-empty', '--no-verify', '-m', subject)
  }
  return path
}

function lint(cwd: string): { code: number | null; text: string } {
  const { status, stdout } = spawnSync(LINT, { cwd, encoding: 'utf8' })
  return { code: status, text: stdout }
}

test('subjects of the form "area: what changed" pass', (t) => {
  const subjects = ['store: keep the reserve', 'store, sdk: allow larger bodies', 'x: y z']
  t.deepEqual(lint(repository(t, subjects)), { code: 0, text: '' })
})

for (const [what, subject] of [
  ['without an area', 'Keep the reserve'],
  ['with an area in capitals', 'Store: keep the reserve'],
  ['with nothing behind the area', 'store:'],
  ['that ends with a full stop', 'store: keep the reserve.'],
  ['of more than 72 characters', `store: ${'x'.repeat(66)}`],
] as const) {
  test(`a new subject ${what} is refused by name`, (t) => {
    const { code, text } = lint(repository(t, ['store: begin', subject]))
    t.is(code, 1)
    t.true(text.includes(subject), text)
    t.false(text.includes('store: begin'), text)
  })
}

test('a subject of 72 characters passes', (t) => {
  t.is(lint(repository(t, [`store: ${'x'.repeat(65)}`])).code, 0)
})

test('a subject is no longer looked at when twenty have followed it', (t) => {
  const later = Array.from({ length: 20 }, (_, i) => `store: step ${i}`)
  t.is(lint(repository(t, ['An old one', ...later.slice(1)])).code, 1)
  t.is(lint(repository(t, ['An old one', ...later])).code, 0)
})

test('a shallow clone is looked at as far as it goes', (t) => {
  const source = repository(t, ['An old one', 'store: begin'])
  const clone = join(directory(t), 'clone')
  git(t, source, 'clone', '--quiet', '--depth=1', `file://${source}`, clone)
  t.deepEqual(lint(clone), { code: 0, text: '' })
})

test('without a repository there is nothing to refuse', (t) => {
  t.is(lint(directory(t)).code, 0)
})
