import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../../src/errors.ts'
import {
  bareName,
  brokerName,
  parseAddress,
  type StartAt,
} from '../../../src/gateway/amqp/address.ts'
import { startAmqp } from '../../support/amqp/amqp-server.ts'
import { ROOT, textOf } from '../../support/sources/sources.ts'

const brief = (text: string): Record<string, unknown> => {
  const { filter, ...rest } = parseAddress(text)
  const address = { ...rest, tags: filter?.expression }
  const told = Object.entries(address).filter(([, value]) => value !== undefined && value !== false)
  return Object.fromEntries(told)
}

const cases: [string, Record<string, unknown>][] = [
  ['orders', { topic: 'orders' }],
  ['/topics/orders', { topic: 'orders' }],
  ['/topics/orders/tags/TagA', { topic: 'orders', tag: 'TagA' }],
  ['/topics/orders/tags/TagA/queues/3', { topic: 'orders', tag: 'TagA', queueId: 3 }],
  ['/topics/orders/groups/billing', { topic: 'orders', group: 'billing' }],
  ['/topics/orders/groups/billing/queues/0', { topic: 'orders', group: 'billing', queueId: 0 }],
  ['/topics/orders/broadcast', { topic: 'orders', broadcast: true }],
  ['/groups/billing/dlq', { topic: '%DLQ%billing' }],
  ['/groups/billing/retry', { topic: '%RETRY%billing' }],
  ['orders::billing', { topic: 'orders', group: 'billing' }],
  ['orders/Subscriptions/billing', { topic: 'orders', group: 'billing' }],
  ['orders/ConsumerGroups/billing/Partitions/2', { topic: 'orders', group: 'billing', queueId: 2 }],
  ['queue://orders', { topic: 'orders', routing: 'queue' }],
  ['topic://orders', { topic: 'orders', routing: 'topic' }],
  ['/queues/orders', { topic: 'orders', routing: 'queue' }],
  ['/exchanges/orders/TagA', { topic: 'orders', tag: 'TagA' }],
  ['qit.jms.test', { topic: 'qit%2Ejms%2Etest' }],
  ['/topics/qit.jms/groups/my.group', { topic: 'qit%2Ejms', group: 'my%2Egroup' }],
  ['/topics/a%20b', { topic: 'a%20b' }],
  ['orders?tag=A%7C%7CB', { topic: 'orders', tags: 'A || B' }],
  ['orders?tag=A||B&order=1', { topic: 'orders', tags: 'A || B', ordered: true }],
  ['orders?lock=30', { topic: 'orders', lockMs: 30_000 }],
  ['orders?offset=first', { topic: 'orders', startAt: { kind: 'first' } }],
  ['orders?offset=17', { topic: 'orders', startAt: { kind: 'offset', offset: 17 } }],
  ['com.shop.Order$Line', { topic: 'com%2Eshop%2EOrder%24Line' }],
  ['50%24', { topic: '50%2524' }],
  ['orders?offset=@1700', { topic: 'orders', startAt: { kind: 'time', epochMs: 1700 } }],
]

for (const [text, expected] of cases) {
  test(`${text} is understood`, (t) => {
    t.deepEqual(brief(text), expected)
  })
}

const refused: [string, string][] = [
  ['', 'NAME_INVALID'],
  ['/', 'TOPIC_NOT_FOUND'],
  ['/topics', 'NAME_INVALID'],
  ['/nodes/x', 'TOPIC_NOT_FOUND'],
  ['/topics/x/shelves/3', 'TOPIC_NOT_FOUND'],
  ['/topics/x/queues/-1', 'TOPIC_NOT_FOUND'],
  ['/topics/x/queues/abc', 'TOPIC_NOT_FOUND'],
  ['/topics/%zz', 'NAME_INVALID'],
  ['x?color=red', 'ARGUMENT_INVALID'],
  ['x?offset=yesterday', 'ARGUMENT_INVALID'],
  ['x?offset=99999999999999999', 'ARGUMENT_INVALID'],
  ['x?lock=0', 'ARGUMENT_INVALID'],
  ['t'.repeat(128), 'NAME_INVALID'],
  ['t'.repeat(600), 'NAME_INVALID'],
  ['t::', 'NAME_INVALID'],
  ['$cbs', 'TOPIC_NOT_FOUND'],
  ['$management', 'TOPIC_NOT_FOUND'],
  ['$cbs?offset=first', 'TOPIC_NOT_FOUND'],
  ['queue://$cbs', 'TOPIC_NOT_FOUND'],
  ['topic://$cbs', 'TOPIC_NOT_FOUND'],
  ['$cbs::billing', 'TOPIC_NOT_FOUND'],
  ['/topics/$cbs', 'TOPIC_NOT_FOUND'],
  ['/topics/%24cbs/groups/billing', 'TOPIC_NOT_FOUND'],
  ['/queues/$cbs', 'TOPIC_NOT_FOUND'],
  ['/exchanges/$cbs/key', 'TOPIC_NOT_FOUND'],
  ['orders/$management', 'TOPIC_NOT_FOUND'],
  ['orders/$DeadLetterQueue', 'TOPIC_NOT_FOUND'],
  ['orders/Subscriptions/billing/$DeadLetterQueue', 'TOPIC_NOT_FOUND'],
  ['$cbs/Subscriptions/billing', 'TOPIC_NOT_FOUND'],
]

for (const [text, code] of refused) {
  test(`${JSON.stringify(text.slice(0, 30))} (${text.length} characters) is refused as ${code}`, (t) => {
    const error = t.throws(() => parseAddress(text), { instanceOf: BrokerError })
    t.is(error?.code, code as never)
  })
}

test('an unknown form is answered with the grammar', (t) => {
  t.throws(() => parseAddress('/nodes/x'), { message: /\/topics\/T\/groups\/G/ })
})

test('every name has a topic of its own, and comes back', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 20 }), (name) => {
      const topic = brokerName(name)
      t.regex(topic, /^[%|a-zA-Z0-9_-]*$/)
      t.is(bareName(topic), name)
    }),
  )
  t.is(brokerName('50%25'), '50%2525')
  t.is(brokerName('50%'), '50%')
})

test('arbitrary addresses are parsed or refused by a BrokerError', (t) => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), fc.string({ maxLength: 60 }), (a, b) => {
      for (const text of [a, `/topics/${a}/${b}`, `x?${a}`]) {
        try {
          parseAddress(text)
        } catch (error) {
          t.true(error instanceof BrokerError)
        }
      }
    }),
  )
  t.pass()
})

// docs/concepts/amqp.md says what is so: its examples run as they stand, its addresses are
// understood.

const run = promisify(execFile)
const page = textOf('docs/concepts/amqp.md')

test('the examples send and receive a message', async (t) => {
  const { port } = await startAmqp(t)
  const examples = [...page.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code!)
  t.is(examples.length, 2)
  const outputs: string[] = []
  for (const code of examples) {
    t.true(code.includes('port: 5672'))
    const script = code.replace('port: 5672', `port: ${port}`)
    const args = ['--input-type=module', '--eval', script]
    const { stdout, stderr } = await run(process.execPath, args, { cwd: ROOT, timeout: 60_000 })
    t.is(stderr, '')
    outputs.push(stdout)
  }
  t.deepEqual(outputs, ['stored\n', 'TagA one coffee red\n'])
})

test('every address in its tables is one', (t) => {
  const cells = page.split('\n').filter((line) => /^\| `/.test(line))
  const addresses = cells.flatMap((line) => {
    const [, first = ''] = line.split('|')
    return [...first.matchAll(/`([^`]+)`/g)].map(([, text]) => text!)
  })
  const targetsAndSources = addresses.filter((text) => /^(\/|orders)/.test(text))
  t.true(targetsAndSources.length >= 10)
  for (const address of targetsAndSources) {
    t.notThrows(() => parseAddress(address), address)
  }
})

/** Cells of the table with this beginning of a heading. */
function rowsUnder(heading: string): readonly (readonly string[])[] {
  const [, table = ''] = page.split(heading)
  const lines = table
    .split('\n\n')[0]!
    .split('\n')
    .filter((line) => /^\| `/.test(line))
  // A bar in a cell is escaped.
  return lines.map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1)
      .map((cell) => cell.trim().replaceAll('\\|', '|')),
  )
}

test('the table of options says what each of them is', (t) => {
  const rows = rowsUnder('| address with an option |')
  t.true(rows.length >= 10)
  for (const [form = '', ...cells] of rows) {
    const { filter, startAt, ordered, lockMs } = parseAddress(form.replaceAll('`', ''))
    const told = [filter?.expression, startText(startAt), ordered ? 'yes' : undefined, lockMs]
    t.deepEqual(
      told.map((value) => String(value ?? '')),
      cells.slice(0, 4),
      form,
    )
  }
})

test('the tables leave out no word of the grammar', (t) => {
  const forms = ['| address | topic |', '| address with an option |'].flatMap(rowsUnder)
  const shown = forms.map(([form]) => form).join(' ')
  const grammar = textOf('src/gateway/amqp/address.ts').matchAll(/(?:case|===) '(\w+)'/g)
  const words = Array.from(grammar, ([, word]) => word!)
  t.true(words.length > 15)
  t.deepEqual(
    words.filter((word) => !shown.includes(word)),
    [],
  )
})

function startText(start: StartAt | undefined): string | undefined {
  if (start?.kind === 'offset') return String(start.offset)
  return start?.kind === 'time' ? `@${start.epochMs}` : start?.kind
}

test('the table of addresses says what each of them is', (t) => {
  const rows = rowsUnder('| address | topic |')
  t.true(rows.length >= 20)
  for (const [form = '', ...cells] of rows) {
    const address = parseAddress(form.replaceAll('`', ''))
    const { group, queueId, tag, broadcast, routing, replyTo } = address
    const topic = replyTo === undefined ? address.topic : undefined
    const sent = replyTo === undefined ? routing : 'a reply'
    const shared = broadcast ? 'broadcast' : sent
    const told = [topic, group, queueId, tag, shared].map((value) => String(value ?? ''))
    t.deepEqual(told, cells.slice(0, 5), form)
  }
})
