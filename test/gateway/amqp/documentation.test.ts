// docs/concepts/amqp.md says what is so: its examples run as they stand, its addresses are
// understood.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'
import { parseAddress } from '../../../src/gateway/amqp/address.ts'
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

test('the table of addresses says what each of them is', (t) => {
  const [, table = ''] = page.split('## Addresses')
  const rows = table
    .split('\n## ')[0]!
    .split('\n')
    .filter((line) => /^\| `/.test(line))
  t.true(rows.length >= 20)
  for (const row of rows) {
    const [, form = '', ...cells] = row.split('|').map((cell) => cell.trim())
    const { topic, group, queueId, tag, broadcast, routing } = parseAddress(
      form.replaceAll('`', ''),
    )
    const shared = broadcast ? 'broadcast' : routing
    const told = [topic, group, queueId, tag, shared].map((value) => String(value ?? ''))
    t.deepEqual(told, cells.slice(0, 5), form)
  }
})
