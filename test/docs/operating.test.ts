// Pages for operators name settings, commands and numbers that there are.
import test from 'ava'
import { COMMANDS, type Entry } from '../../src/cli/commands.ts'
import { configOf, settings } from '../../src/config.ts'
import { LAYOUT_VERSION } from '../../src/store/disk/data-directory.ts'
import { sources, textOf } from '../support/sources.ts'

const pages = sources('docs/operate', '.md')
const KIB = 1024

test('every setting that they name is one', (t) => {
  const names = new Set(settings.map(({ name }) => name))
  const pattern = /`((?:store|broker|remoting|mqtt|amqp|nameServer)\.[a-z][a-zA-Z]+)`/g
  const named = pages.flatMap(({ text }) => Array.from(text.matchAll(pattern), ([, name]) => name!))
  t.true(named.length > 20)
  t.deepEqual(
    named.filter((name) => !names.has(name)),
    [],
  )
})

test('every command that they name is one', (t) => {
  const pattern = /(?:^|`)trivet ([a-z-]+)(?: ([a-z]+))?/gm
  const named = pages.flatMap(({ text }) => [...text.matchAll(pattern)])
  t.true(named.length > 20)
  const isThere = ([, word = '', verb = '']: RegExpMatchArray): boolean => {
    const entry: Entry | undefined = COMMANDS[word]
    return entry !== undefined && (!('verbs' in entry) || verb in entry.verbs)
  }
  t.deepEqual(
    named.filter((match) => !isThere(match)).map(([text]) => text),
    [],
  )
})

test('the page about upgrading knows the newest layout', (t) => {
  const rows = textOf('docs/operate/upgrading.md').matchAll(/^\| (\d+) \|/gm)
  t.is(Math.max(...Array.from(rows, ([, version]) => Number(version))), LAYOUT_VERSION)
})

test('the page about sizing has the defaults and the figures that were measured', (t) => {
  const page = textOf('docs/operate/sizing.md')
  const { store, broker } = configOf()
  t.is(store.segmentBytes, 128 * KIB * KIB)
  t.true(page.includes('a segment is 128 MiB'))
  t.is(store.retentionMs, 3 * 24 * 3600 * 1000)
  t.true(page.includes('three days (`store.retentionMs`, the default)'))
  t.true(page.includes(`| first use (\`broker.queuesDefault\`) | ${broker.queuesDefault} |`))
  const [, made] = /const QUEUES_DEFAULT = (\d+)/.exec(adminText())!
  t.true(page.includes(`| \`trivet topic create\`, the SDK's \`topics.create\` | ${made} |`))
  const [, idle] = /resident memory, idle \| (\d+ MiB)/.exec(
    textOf('docs/internals/performance.md'),
  )!
  t.true(page.includes(`| the process, idle | ${idle} |`))
})

/** The file of the SDK that makes topics. */
const adminText = (): string =>
  sources('src/client').find(({ path }) => path.endsWith('/topic-admin.ts'))!.text
