// trivet bench against one server, over every protocol.
import test, { type ExecutionContext } from 'ava'
import { runCommand, startCommand } from '../../support/command-line.ts'
import { startServer, type TestServer } from '../../support/server.ts'

const LEGS = ['native', 'mqtt', 'amqp'] as const
type Leg = (typeof LEGS)[number]

let server: TestServer
const endings: (() => unknown)[] = []

test.before(async () => {
  // A hook has no teardown of its own.
  const lifetime = { teardown: (fn: () => unknown) => endings.unshift(fn) }
  server = await startServer(lifetime as unknown as ExecutionContext)
})
test.after.always(async () => {
  for (const end of endings) await end()
})

const env = () => ({ TRIVET_NAME_SERVERS: server.address('nameServer') })
const via = (leg: Leg): string[] =>
  leg === 'native' ? [] : ['--via', leg, '--at', server.address(leg)]

async function bench(t: ExecutionContext, ...argv: string[]): Promise<Record<string, unknown>> {
  const { code, terminal } = await runCommand(['bench', ...argv, '--json'], env())
  t.is(code, 0, terminal.errors)
  return JSON.parse(terminal.output) as Record<string, unknown>
}

for (const leg of LEGS) {
  test(`over ${leg} exactly as many are sent as asked, and each is measured`, async (t) => {
    const topic = `in-${leg}`
    await runCommand(['topic', 'create', topic], env())
    const sent = await bench(
      t,
      topic,
      '-c',
      '250',
      '--clients',
      '3',
      '--together',
      '20',
      ...via(leg),
    )
    t.like(sent, { via: leg, topic, mode: 'in', messages: 250, clients: 3, bytes: 100 })
    const { p50, max } = sent['ms'] as Record<string, number>
    t.true(p50! > 0 && p50! <= max!)
    const { terminal } = await runCommand(['topic', 'describe', topic, '--json'], env())
    const { queues } = JSON.parse(terminal.output) as { queues: { maxOffset: number }[] }
    t.is(
      queues.reduce((sum, { maxOffset }) => sum + maxOffset, 0),
      250,
    )
  })

  test(`what is sent over ${leg} comes back, and is measured from end to end`, async (t) => {
    const topic = `through-${leg}`
    await runCommand(['topic', 'create', topic], env())
    const both = await bench(t, topic, '--mode', 'through', '-c', '200', ...via(leg))
    t.like(both, { mode: 'through', messages: 200 })
    t.true((both['ms'] as Record<string, number>)['p99']! > 0)
  })
}

for (const leg of ['native', 'amqp'] as const) {
  test(`what is there is read over ${leg}, up to the count`, async (t) => {
    const topic = `out-${leg}`
    await runCommand(['topic', 'create', topic], env())
    await bench(t, topic, '-c', '300')
    const read = await bench(t, topic, '--mode', 'out', '-c', '120', ...via(leg))
    t.like(read, { mode: 'out', messages: 120 })
    t.is(read['ms'], undefined)
  })
}

test('Ctrl-C ends it, and what was measured is told', async (t) => {
  await runCommand(['topic', 'create', 'endless'], env())
  const running = startCommand(['bench', 'endless', '--duration', '1h', '--json'], env())
  while (running.terminal.progressed.length === 0) await new Promise(setImmediate)
  running.interrupt()
  t.is(await running.code, 0)
  t.true((JSON.parse(running.terminal.output) as { messages: number }).messages > 0)
})

test('bounds are named, and reading by MQTT what is there is refused', async (t) => {
  for (const [words, text] of [
    [['--clients', '257'], /--clients is 257; a number from 1 to 256 is due/],
    [['--count', '0'], /--count is 0/],
    [['--size', '39', '--mode', 'through'], /--size is 39; a number from 40/],
    [['--duration', '25h'], /--duration is '25h'; up to 24h are allowed/],
  ] as const) {
    const { code, terminal } = await runCommand(['bench', 'load', ...words], env())
    t.is(code, 2)
    t.regex(terminal.errors, text)
  }
  const refused = await runCommand(['bench', 'load', '--mode', 'out', ...via('mqtt')], env())
  t.is(refused.code, 1)
  t.regex(refused.terminal.errors, /--from first needs --via native or amqp/)
})

test('a topic with nothing to read ends the reading in its time', async (t) => {
  const args = ['bench', 'empty', '--mode', 'out', '--timeout', '100ms']
  const { code, terminal } = await runCommand(args, env())
  t.is(code, 1)
  t.regex(terminal.errors, /^trivet: 'empty' has nothing to read$/m)
})
