// Commands that ask every master, while one of those that the name server lists cannot be reached.
import test, { type ExecutionContext } from 'ava'
import { runCommandLine } from '../../src/cli/run.ts'
import { RecordedTerminal } from '../support/recorded-terminal.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
const endings: (() => unknown)[] = []

test.before(async () => {
  // A hook has no teardown of its own.
  const lifetime = { teardown: (fn: () => unknown) => endings.unshift(fn) }
  const around = lifetime as unknown as ExecutionContext
  server = await startServer(around)
  const nameServers = [server.address('nameServer')]
  await run('topic', 'create', 'orders', '--queues', '1')
  await run('pub', 'orders', 'x', '-k', 'order-1')
  await run('sub', 'orders', '-g', 'billing', '--from', 'first', '-c', '1')
  // Another address of loopback, where it does not listen.
  const remoting = { host: '127.0.0.1', advertisedHost: '127.0.0.2' }
  await startServer(around, {
    role: 'broker',
    config: { broker: { nameServers, name: 'gone' }, remoting },
  })
})
test.after.always(async () => {
  for (const end of endings) await end()
})

async function run(...argv: string[]): Promise<{ terminal: RecordedTerminal; code: number }> {
  const terminal = new RecordedTerminal()
  const code = await runCommandLine(argv, {
    terminal,
    env: { TRIVET_NAME_SERVERS: server.address('nameServer') },
    signal: new AbortController().signal,
    roles: { run: () => Promise.reject(new Error('no role here')) },
  })
  return { terminal, code }
}

for (const [argv, shown] of [
  [['topic', 'list'], /^orders +broker-a /m],
  [['topic', 'describe', 'orders'], /^orders: 1 messages$/m],
  [['group', 'list'], /^billing /m],
  [['group', 'describe', 'billing'], /^orders +broker-a +0 +1 +1 +0$/m],
  [['message', 'get', '--topic', 'orders', '--key', 'order-1'], /^orders keys=order-1 {2}x$/m],
] as const) {
  test(`'${argv.join(' ')}' shows what the other masters say and names the one that is away`, async (t) => {
    const { terminal, code } = await run(...argv)
    t.is(code, 0)
    t.regex(terminal.output, shown)
    t.regex(
      terminal.errors,
      /^trivet: the broker 'gone' is left out: cannot connect to 127\.0\.0\.2:\d+/,
    )
    t.is(terminal.noted.length, 1)
  })
}

test('for programs the masters that are away stand beside the answer', async (t) => {
  const { topics, unreachable } = JSON.parse((await run('topic', 'list', '--json')).terminal.output)
  t.true(topics.some(({ name }: { name: string }) => name === 'orders'))
  t.is(unreachable[0].broker, 'gone')
  t.regex(unreachable[0].error, /^cannot connect to /)
})

for (const argv of [
  ['topic', 'describe', 'sought'],
  ['group', 'describe', 'sought'],
  ['message', 'get', '--topic', 'orders', '--key', 'sought'],
]) {
  test(`'${argv.join(' ')}' says of nothing that it is not there while a master is away`, async (t) => {
    const { terminal, code } = await run(...argv)
    t.is(code, 1)
    t.regex(terminal.errors, /^trivet: cannot connect to 127\.0\.0\.2:\d+/)
  })
}

test('status shows the brokers that answer beside the one that is away', async (t) => {
  const { terminal, code } = await run('status')
  t.is(code, 0)
  t.regex(terminal.output, /^DefaultCluster +broker-a .* running /m)
  t.regex(terminal.output, /^DefaultCluster +gone .* unreachable /m)
  t.regex(terminal.errors, /gone: cannot connect to /)
})

test('status is an error when no broker tells its state, and says of one that refuses that it does', async (t) => {
  const alice = { secretKey: 'a-long-secret' }
  const guarded = await startServer(t, { config: { users: { alice } } })
  for (const flags of [[], ['--json']]) {
    const { terminal, code } = await run('status', '-n', guarded.address('nameServer'), ...flags)
    t.is(code, 1)
    t.regex(terminal.output, flags.length === 0 ? / refused / : /"error":"[^"]+not signed/)
    t.regex(terminal.errors, /no broker of the cluster tells its state/)
  }
})
