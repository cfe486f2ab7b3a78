// The page about numbers is what a whole broker declares.
import test from 'ava'
import { numbersPage } from '../support/numbers-page.ts'
import { startServer } from '../support/server.ts'
import { textOf } from '../support/sources.ts'

test('the page about numbers is current (npm run docs)', async (t) => {
  const { server } = await startServer(t)
  t.is(textOf('docs/reference/numbers.md'), numbersPage(server.numbers.declared()))
})

test('names, units and sentences of the numbers follow the rules', async (t) => {
  const { server } = await startServer(t)
  for (const { name, kind, unit, help } of server.numbers.declared()) {
    t.regex(name, /^(trivet|rocketmq|process)_[a-z_]+$/)
    t.is(name.endsWith('_total'), kind === 'counter', name)
    // RocketMQ's own names say neither unit.
    if (unit === 'seconds') t.regex(name, /_seconds(_total)?$/)
    t.regex(help, /^[A-Z].*\.$/, name)
  }
})

test('every number on the page about monitoring is one of the numbers', async (t) => {
  const { server } = await startServer(t)
  const known = new Set(server.numbers.declared().map(({ name }) => name))
  const named = Array.from(
    textOf('docs/operate/monitoring.md').matchAll(/`((?:trivet|rocketmq|process)_[a-z_]+)/g),
    ([, name]) => name!,
  )
  t.true(named.length > 12)
  t.deepEqual(
    named.filter((name) => !known.has(name)),
    [],
  )
})
