// The page about monitoring names what a broker shows: each event is one that the source logs, and
// the other way round; each field is in what the commands print.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'
import { connect } from '../../src/client/index.ts'
import { plainEnv, startServer, TRIVET } from '../support/server.ts'
import { sources, textOf } from '../support/sources.ts'

const run = promisify(execFile)
const page = textOf('docs/operate/monitoring.md')
const src = sources('src')
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
  return src.flatMap(({ text }) =>
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
  const all = src.map(({ text }) => text).join('\n')
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
