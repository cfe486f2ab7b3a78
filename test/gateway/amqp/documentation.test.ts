// docs/concepts/amqp.md says what is so: its examples run as they stand, its addresses are
// understood.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'
import { parseAddress, type StartAt } from '../../../src/gateway/amqp/address.ts'
import { startAmqp } from '../../support/amqp-server.ts'
import { ROOT, textOf } from '../../support/sources.ts'

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
    const { topic, group, queueId, tag, broadcast, routing } = parseAddress(
      form.replaceAll('`', ''),
    )
    const shared = broadcast ? 'broadcast' : routing
    const told = [topic, group, queueId, tag, shared].map((value) => String(value ?? ''))
    t.deepEqual(told, cells.slice(0, 5), form)
  }
})
