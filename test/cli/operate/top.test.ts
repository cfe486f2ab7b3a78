import test from 'ava'
import { connect } from '../../../src/client/index.ts'
import { runCommand, startCommand } from '../../support/command-line.ts'
import { startServer } from '../../support/server.ts'

test('one look has the rates of each protocol and the lag of each group', async (t) => {
  const server = await startServer(t)
  const nameServers = server.address('nameServer')
  await using client = await connect({ nameServers })
  await client.admin.topics.create({ name: 'orders', queues: 1 })
  await client.send({ topic: 'orders', body: 'first' })
  {
    await using subscription = client.subscribe({
      group: 'billing',
      topic: 'orders',
      from: 'first',
    })
    for await (const delivery of subscription) {
      await delivery.ack()
      break
    }
  }
  for (let n = 0; n < 7; n++) await client.send({ topic: 'orders', body: `${n}` })
  const env = { TRIVET_NAME_SERVERS: nameServers }
  const { code, terminal } = await runCommand(
    ['top', '--once', '--json', '--interval', '200ms'],
    env,
  )
  t.is(code, 0, terminal.errors)
  const { seconds, protocols, groups } = JSON.parse(terminal.output)
  t.true(seconds > 0)
  t.deepEqual(
    protocols.map(({ protocol }: { protocol: string }) => protocol),
    ['remoting', 'mqtt', 'amqp'],
  )
  t.deepEqual(groups, [{ group: 'billing', lag: 7, perSecond: 0 }])
  const table = await runCommand(['top', '--once', '--interval', '200ms', '-g', 'billing'], env)
  t.regex(table.terminal.output, /^billing +7 +0$/m)
})

test('it looks again and again until Ctrl-C', async (t) => {
  const server = await startServer(t)
  const env = { TRIVET_NAME_SERVERS: server.address('nameServer') }
  const running = startCommand(['top', '--json', '--interval', '200ms'], env)
  while (running.terminal.printed.length < 3) await new Promise(setImmediate)
  running.interrupt()
  t.is(await running.code, 0)
})

test('an interval that would be a load is refused', async (t) => {
  const { code, terminal } = await runCommand(['top', '--interval', '10ms'])
  t.is(code, 2)
  t.regex(terminal.errors, /--interval is '10ms'; 200ms is the least/)
})

test('a group that is asked for and is none is told', async (t) => {
  const server = await startServer(t)
  const env = { TRIVET_NAME_SERVERS: server.address('nameServer') }
  const { code, terminal } = await runCommand(['top', '--once', '-g', 'biling'], env)
  t.is(code, 1)
  t.regex(terminal.errors, /the consumer group 'biling' does not exist/)
})
