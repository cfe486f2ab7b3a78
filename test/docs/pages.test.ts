// Pages of docs/ say what is so.
import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'
import type { Entry } from '../../src/cli/command.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { connect } from '../../src/client/index.ts'
import { allSettings, configOf } from '../../src/config.ts'
import { LAYOUT_VERSION } from '../../src/store/disk/data-directory.ts'
import { connectRhea } from '../support/amqp/rhea-client.ts'
import { plainEnv, startServer, TRIVET } from '../support/server.ts'
import { allDeclared, numbersPage } from '../support/sources/numbers-page.ts'
import { codeOf, sources, textOf } from '../support/sources/sources.ts'

// Pages for operators name settings, commands and numbers that there are.

const pages = sources('docs/operate', '.md')
const KIB = 1024

test('every setting that the pages for operators name is one', (t) => {
  const names = new Set(allSettings().map(({ name }) => name))
  const pattern = /`((?:store|broker|remoting|mqtt|amqp|nameServer)\.[a-z][a-zA-Z]+)`/g
  const named = pages.flatMap(({ text }) => Array.from(text.matchAll(pattern), ([, name]) => name!))
  t.true(named.length > 20)
  t.deepEqual(
    named.filter((name) => !names.has(name)),
    [],
  )
})

test('every command that the pages for operators name is one', (t) => {
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

// The page about delivery: how one group is shared over several protocols, and how a light queue is
// made.

const run = promisify(execFile)
const TOPIC = 'orders'
const GROUP = 'billing'
const SOURCE = `/topics/${TOPIC}/groups/${GROUP}`

test('AMQP and native members have a group one after the other, and go on where the others stopped', async (t) => {
  const { address, port } = await startServer(t)
  const mq = await connect({ nameServers: address('nameServer') })
  t.teardown(() => mq.close())
  await mq.admin.topics.create({ name: TOPIC, queues: 1 })
  const read = async (): Promise<string> => {
    const deliveries = mq.subscribe({ group: GROUP, topic: TOPIC, from: 'first' })
    for await (const delivery of deliveries) {
      await delivery.ack()
      return delivery.text()
    }
    throw new Error('the subscription ended')
  }
  await mq.send({ topic: TOPIC, body: 'first' })
  const peer = await connectRhea(t, port('amqp'))
  const receiver = await peer.receiver(SOURCE)
  const [message] = await receiver.accept(1)
  t.is(String(message!.body.content), 'first')
  await peer.close()
  await mq.send({ topic: TOPIC, body: 'second' })
  t.is(await read(), 'second')
})

test('the commands that make a light queue bring what came while the device was away', async (t) => {
  if (spawnSync('mosquitto_sub', ['--help']).error !== undefined) {
    t.log('mosquitto_sub is NOT INSTALLED: the commands were not run')
    t.pass()
    return
  }
  const { port } = await startServer(t)
  const [, section = ''] = textOf('docs/concepts/delivery.md').split('## Light queues')
  const [, commands = ''] = /^```sh\n(.*?)^```$/ms.exec(section) ?? []
  const placed = commands.replaceAll(/mosquitto_(sub|pub)/g, `$& -p ${port('mqtt')}`)
  const { stdout } = await run('sh', ['-ec', placed])
  t.is(stdout, 'reboot\n')
})

const PAGE = 'docs/internals/life-of-a-message.md'
const codeByPath = new Map(sources('src').map(({ path, text }) => [path, codeOf(text)]))
const steps = [...textOf(PAGE).matchAll(/^\| `([^`]+)` \| `([^`]+)` \|/gm)]

test('the life of a message has all its stations', (t) => {
  t.true(steps.length > 25, `${steps.length} steps`)
})

for (const [, file, name] of steps) {
  test(`${file} has ${name}`, (t) => {
    const text = codeByPath.get(`src/${file}`)
    t.truthy(text, `${file} is not there`)
    const declared = new RegExp(`^(export |  )?(async )?(function |const )?${name}[(:]`, 'm')
    t.regex(text!, declared)
  })
}

// The page about numbers is what a whole broker declares.

test('the page about numbers is current (npm run docs)', async (t) => {
  t.is(textOf('docs/reference/numbers.md'), numbersPage(await allDeclared(t)))
})

test('names, units and sentences of the numbers follow the rules', async (t) => {
  for (const { name, kind, unit, help } of await allDeclared(t)) {
    t.regex(name, /^(trivet|rocketmq|process)_[a-z_]+$/)
    t.is(name.endsWith('_total'), kind === 'counter', name)
    // RocketMQ's own names say neither unit.
    if (unit === 'seconds') t.regex(name, /_seconds(_total)?$/)
    t.regex(help, /^[A-Z].*\.$/, name)
  }
})

test('every number on the pages about monitoring and replicas is one of the numbers', async (t) => {
  const known = new Set((await allDeclared(t)).map(({ name }) => name))
  const pages = ['monitoring', 'high-availability'].map((page) => textOf(`docs/operate/${page}.md`))
  const named = Array.from(
    pages.join().matchAll(/`((?:trivet|rocketmq|process)_[a-z_]+)/g),
    ([, name]) => name!,
  )
  t.true(named.length > 12)
  t.deepEqual(
    named.filter((name) => !known.has(name)),
    [],
  )
})

// The page about monitoring names what a broker shows: each event is one that the source logs, and
// the other way round; each field is in what the commands print.

const page = textOf('docs/operate/monitoring.md')
const sourceFiles = sources('src')
const SETTINGS = 'docs/reference/config.md'

const SECTION = /^## (.*)$/m

/** First cells of the tables of a section, without their marks. */
function namesIn(heading: string): readonly string[] {
  const sections = page.split(SECTION)
  const text = sections[sections.indexOf(heading) + 1] ?? ''
  return [...text.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name!)
}

interface Event {
  readonly name: string
  readonly level: string
}

const EVENT = /\bevt: '([^']+)'/g
/** Right before the fields, or in one of the next statements. */
const BEFORE = /[lL]og\??\.(\w+)\(\s*\{\s*$/
const AFTER = /[lL]og(?:\??\.(\w+)|\[\w+\])\(/

/**
 * The calls of the logger with their fields in sight. A level that is chosen at run time counts as
 * a warning.
 */
function logged(): readonly Event[] {
  return sourceFiles.flatMap(({ text }) =>
    Array.from(text.matchAll(EVENT), ({ 1: name, index }) => {
      const before = BEFORE.exec(text.slice(Math.max(0, index - 60), index))
      const after = AFTER.exec(text.slice(index, index + 700))
      return { name: name!, level: before?.[1] ?? after?.[1] ?? 'warn' }
    }),
  )
}

const told: readonly Event[] = Array.from(
  page.matchAll(/^\| `([^`]+)` \| (info|warn|error) \|/gm),
  ([, name, level]) => ({ name: name!, level: level! }),
)

test('every event that an operator sees stands on the page, with its level', (t) => {
  const seen = logged().filter(({ level }) => ['info', 'warn', 'error'].includes(level))
  t.true(seen.length > 60)
  const isTold = ({ name, level }: Event): boolean =>
    told.some((one) => one.name === name && one.level === level)
  t.deepEqual(
    seen.filter((event) => !isTold(event)),
    [],
  )
})

test('every event on the page is one of the source', (t) => {
  const all = sourceFiles.map(({ text }) => text).join('\n')
  const isSetting = (word: string): boolean => textOf(SETTINGS).includes(`\`${word}\``)
  // Such a word in backticks anywhere on the page.
  const words = Array.from(page.matchAll(/`([a-z]+\.[a-z][a-z_-]+)`/g), ([, word]) => word!)
  t.true(words.length > 80)
  t.deepEqual(
    words.filter((word) => !all.includes(`'${word}'`) && !isSetting(word)),
    [],
  )
})

/** 'queues[].lag' for every value within. */
function pathsOf(value: unknown, prefix = ''): readonly string[] {
  if (Array.isArray(value)) return value.flatMap((item) => pathsOf(item, `${prefix}[]`))
  if (typeof value !== 'object' || value === null) return [prefix]
  const dot = prefix === '' ? '' : `${prefix}.`
  return Object.entries(value).flatMap(([name, inner]) => pathsOf(inner, `${dot}${name}`))
}

test('the commands print the fields of the page', async (t) => {
  const { address } = await startServer(t)
  const env = { ...plainEnv(), TRIVET_NAME_SERVERS: address('nameServer') }
  const printed = async (...words: readonly string[]): Promise<readonly string[]> => {
    const { stdout } = await run(process.execPath, [TRIVET, ...words, '--json'], { env })
    return pathsOf(JSON.parse(stdout))
  }
  const status = await printed('status')
  const fields = namesIn('`trivet status --json`')
  t.true(fields.length > 12)
  t.deepEqual(
    fields.filter((field) => !status.includes(field)),
    [],
  )
  // All that is said to be always 0, and what else is named of RocketMQ's own.
  const others = ['putTps', 'dispatchBehindBytes', 'putMessageDistributeTime', 'putLatency99']
  for (const name of [...others, 'brokerVersionDesc']) {
    t.true(page.includes(`\`${name}\``) && status.includes(`brokers[].state.values.${name}`), name)
  }
  const mq = await connect({ nameServers: address('nameServer') })
  t.teardown(() => mq.close())
  await mq.admin.topics.create({ name: 'orders', queues: 1 })
  await mq.send({ topic: 'orders', body: 'one' })
  for await (const delivery of mq.subscribe({ group: 'billing', topic: 'orders', from: 'first' })) {
    await delivery.ack()
    const lag = await printed('group', 'describe', 'billing')
    const lagFields = namesIn('Lag')
    t.true(lagFields.length > 4)
    t.deepEqual(
      lagFields.filter((field) => !lag.includes(field)),
      [],
    )
    break
  }
})
