// Rules of the house that no linter rule covers, held by a test instead of by memory.
import { existsSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { configReference } from '../src/cli/help/config-reference.ts'
import { allSettings, configJsonSchema } from '../src/config.ts'
import { ERROR_CODES } from '../src/errors.ts'
import {
  codeOf,
  commentsOf,
  importsOf,
  ROOT,
  type Source,
  sources,
  textOf,
} from './support/sources/sources.ts'

const src = sources('src')
const everything = [...src, ...sources('test')]

/** 'file:line: text' for every line that matches. */
function hits(files: readonly Source[], pattern: RegExp, of = codeOf): readonly string[] {
  return files.flatMap(({ path, text }) =>
    of(text)
      .split('\n')
      .flatMap((line, index) =>
        pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [],
      ),
  )
}

const outside = (files: readonly Source[], ...allowed: readonly string[]): readonly Source[] =>
  files.filter(({ path }) => !allowed.some((prefix) => path.startsWith(prefix)))

test('only clock.ts reads a clock or sets a timer', (t) => {
  const clocks = /\b(Date\.now|performance\.now|process\.hrtime|setTimeout|setInterval)\b/
  const timers = /\.(setTimeout|unref)\(|node:timers/
  t.deepEqual(hits(outside(src, 'src/clock.ts'), clocks), [])
  t.deepEqual(hits(outside(src, 'src/clock.ts'), timers), [])
})

/** Files of tests, without what they share. */
const testFiles = sources('test', '.test.ts')

test('a test waits for what happens, not for a time', (t) => {
  t.deepEqual(hits(testFiles, /setTimeout\((resolve|done|go)\b|timers\/promises/), [])
})

test('files of tests can share a process', (t) => {
  // A hook before each test would run before those of others, too.
  t.deepEqual(hits(testFiles, /^test\.(beforeEach|afterEach)\b/), [])
  // All tests of a process are declared in one go.
  t.deepEqual(hits(testFiles, /^(?:const .* = )?await /), [])
})

test('the slow tests are there', (t) => {
  const paths = new Set(testFiles.map(({ path }) => path))
  const listed = [...textOf('slow.config.js').matchAll(/'(test\/[^']+)'/g)].map(([, path]) => path!)
  t.true(listed.length > 0)
  t.deepEqual(
    listed.filter((path) => !paths.has(path)),
    [],
  )
})

test('events are named area.words_with_underscores', (t) => {
  t.deepEqual(hits(src, /\bevt: '(?![a-z]+\.[a-z_]+')/), [])
})

test('only the command line uses the console', (t) => {
  t.deepEqual(hits(outside(src, 'src/cli/'), /\bconsole\./), [])
})

test('the signals of the SDK take any number of waiters', (t) => {
  const client = src.filter(({ path }) => path.startsWith('src/client/'))
  t.deepEqual(hits(outside(client, 'src/client/calls/abort.ts'), /new AbortController\(/), [])
})

test('nothing is left for later', (t) => {
  const words = new RegExp(['TO', 'DO|FIX', 'ME|X', 'XX\\b'].join(''))
  const isOwnName = /SCHEDULE_TOPIC_XXXX/
  const left = hits(everything, words, (text) => text).filter((line) => !isOwnName.test(line))
  t.deepEqual(left, [])
})

/** Words in whose place a noun is due: the client, the caller, the group's owner. */
const VAGUE = /\b(nobody|somebody|anybody|everybody|meanwhile|who|whom|whoever)\b/i

test('comments and messages name the client, the caller or the moment', (t) => {
  // The `open` that stands for a peer's own before that came.
  const isConstant = /\bNOBODY\b/
  const vague = hits([...src, ...sources('bench')], VAGUE, (text) => text)
  t.deepEqual(
    vague.filter((line) => !isConstant.test(line)),
    [],
  )
})

test('pages name the client, the user or the moment', (t) => {
  const pages = [...sources('docs', '.md'), { path: 'README.md', text: textOf('README.md') }]
  t.deepEqual(
    hits(pages, VAGUE, (text) => text),
    [],
  )
})

test('comments and titles of tests name the client, the caller or the moment', (t) => {
  const titles = (text: string): string => text.replaceAll(/^(?!\s*test\().*$/gm, '')
  const tests = sources('test')
  t.deepEqual(hits(tests, VAGUE, commentsOf), [])
  t.deepEqual(hits(tests, VAGUE, titles), [])
})

test('no comment is longer than a line of code may be', (t) => {
  // An instruction to the linter stands on one line.
  const isInstruction = /biome-ignore/
  const long = hits([...everything, ...sources('bench')], /^.{101}/, commentsOf)
  t.deepEqual(
    long.filter((line) => !isInstruction.test(line)),
    [],
  )
})

test('no file is long, and most are short', (t) => {
  const lengths = src.map(({ path, text }) => ({
    path,
    lines: text.split('\n').filter((line) => line.trim() !== '').length,
  }))
  t.deepEqual(
    lengths.filter(({ lines }) => lines > 500),
    [],
  )
  const ascending = lengths.map(({ lines }) => lines).toSorted((a, b) => a - b)
  const median = ascending[Math.floor(ascending.length / 2)]!
  t.true(median <= 130, `half of the files have more than ${median} lines`)
})

test('every file opens with what it owns', (t) => {
  const silent = src.filter(({ path, text }) => {
    return !path.endsWith('.d.ts') && !/^(\/\/|\/\*\*)/.test(text)
  })
  t.deepEqual(
    silent.map(({ path }) => path),
    [],
  )
})

test('every source file is reached from an entry', (t) => {
  // bin/trivet.cjs loads main; the others are what the package exports.
  const entries = [
    'src/main.ts',
    'src/in-process.ts',
    'src/client/index.ts',
    'src/aedes/index.ts',
    'src/node-buffer.d.ts',
    // The election of a master, which no server runs by itself: docs/internals/election.md.
    'src/replication/election/election.ts',
    'src/replication/election/etcd-coordinator.ts',
  ]
  const byPath = new Map(src.map((source) => [source.path, source]))
  const reached = new Set<string>()
  const visit = (path: string): void => {
    const source = byPath.get(path)
    if (source === undefined || reached.has(path)) return
    reached.add(path)
    for (const imported of importsOf(source)) visit(imported)
  }
  for (const entry of entries) visit(entry)
  t.deepEqual(
    src.map(({ path }) => path).filter((path) => !reached.has(path)),
    [],
  )
})

test('every import of our own names a file that is there', (t) => {
  const known = new Set(everything.map(({ path }) => path))
  const missing = everything.flatMap((source) =>
    importsOf(source)
      .filter((path) => !known.has(path) && !existsSync(join(ROOT, path)))
      .map((path) => `${source.path} -> ${path}`),
  )
  t.deepEqual(missing, [])
})

test('every error code is explained in the reference', (t) => {
  const page = textOf('docs/reference/errors.md')
  t.deepEqual(
    ERROR_CODES.filter((code) => !page.includes(`\`${code}\``)),
    [],
  )
})

test('the configuration reference is current (npm run docs)', (t) => {
  const page = textOf('docs/reference/config.md')
  t.is(page.trimEnd(), configReference().trimEnd())
  for (const { name } of allSettings()) t.true(page.includes(`\`${name}\``), name)
  t.deepEqual(
    JSON.parse(textOf('docs/reference/config.schema.json')),
    JSON.parse(JSON.stringify(configJsonSchema())),
  )
})

test('the README gives the two commands', (t) => {
  const readme = textOf('README.md')
  t.regex(readme, /^npm ci && npm start$/m)
  t.regex(readme, /^npm ci && npm test$/m)
})

test('every link between our own pages leads somewhere', (t) => {
  const pages = [
    ...sources('docs', '.md'),
    ...['README.md', 'CHANGELOG.md'].map((path) => ({ path, text: textOf(path) })),
  ]
  const dead = pages.flatMap(({ path, text }) =>
    [...text.matchAll(/\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)/g)]
      .filter(([, target]) => !existsSync(join(ROOT, dirname(path), target!)))
      .map(([, target]) => `${path} -> ${target}`),
  )
  t.deepEqual(dead, [])
})

/** By folder: how many files it has beside each other. */
function folders(files: readonly Source[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const { path } of files) {
    const folder = dirname(path)
    counts.set(folder, (counts.get(folder) ?? 0) + 1)
  }
  return counts
}

test('the folders that architecture.md describes are the folders there are', (t) => {
  const page = textOf('docs/internals/architecture.md')
  const [, table] = page.split('| folder | owns |')
  const described = table!
    .split('\n\n')[0]!
    .split('\n')
    .flatMap((row) => [...row.split(' | ')[0]!.matchAll(/`([^`]+)\/`/g)].map(([, name]) => name!))
  const implied = ['gateway/remoting/requests']
  const present = [...folders(src).keys()].filter((folder) => folder !== 'src')
  t.deepEqual(
    described.concat(implied).toSorted(),
    present.map((folder) => folder.slice('src/'.length)).toSorted(),
  )
})

test('no folder has so many files beside each other that they hide its structure', (t) => {
  t.deepEqual(
    [...folders([...everything, ...sources('interop-tests')])].filter(([, count]) => count > 26),
    [],
  )
})

test('a reader of one front-end finds the same files in the others', (t) => {
  const paths = new Set(src.map(({ path }) => path))
  for (const frontEnd of ['remoting', 'mqtt', 'amqp']) {
    const has = (noun: string): boolean => paths.has(`src/gateway/${frontEnd}/${noun}.ts`)
    for (const noun of ['server', 'connection', 'address', 'message', 'errors']) {
      t.true(has(noun), `${frontEnd} has no ${noun}.ts`)
    }
    const multiplexers = ['client', 'session/session', 'links/link']
    t.true(multiplexers.some(has), `${frontEnd} has no client.ts, session.ts or link.ts`)
  }
})

/** Types that each protocol has of its own. */
const SHARED_NAMES = new Set(['FrameSink', 'FrameSplitter'])

test('a type of the server has one meaning: no two files export one name', (t) => {
  // Each front-end has its peers and connections; no file sees those of another one. The parts of
  // aedes are in another process.
  const programs = ['gateway/remoting', 'gateway/mqtt', 'gateway/amqp', 'aedes']
  const owned = outside(src, 'src/client/', 'src/cli/')
  for (const own of programs) {
    const others = programs.filter((program) => program !== own)
    const files = new Map<string, string[]>()
    for (const { path, text } of outside(owned, ...others.map((other) => `src/${other}/`))) {
      for (const [, name] of text.matchAll(
        /^export (?:abstract )?(?:class|interface|type) (\w+)/gm,
      )) {
        files.set(name!, [...(files.get(name!) ?? []), path])
      }
    }
    const twice = [...files].filter(([name, { length }]) => length > 1 && !SHARED_NAMES.has(name))
    t.deepEqual(twice, [])
  }
})

test('every finding is a script that can be run, and the table of findings names it', (t) => {
  const table = textOf('findings/README.md')
  // What all of them begin with is none.
  const scripts = sources('findings', '.sh').filter(({ path }) => !path.endsWith('/support.sh'))
  for (const { path, text } of scripts) {
    t.regex(text, /^#!\/usr\/bin\/env bash\n# /, path)
    t.not(statSync(join(ROOT, path)).mode & 0o100, 0, `${path} is not executable`)
  }
  const named = [...table.matchAll(/^\| `([^`]+\.sh)` \|/gm)].map(([, name]) => `findings/${name}`)
  t.deepEqual(
    named,
    scripts.map(({ path }) => path),
  )
})
