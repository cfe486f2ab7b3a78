// pub and sub over every protocol against one server: what goes in by one comes out by another.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import mqtt from 'mqtt'
import rhea, { type EventContext } from 'rhea'
import { hashPassword } from '../../src/access/secrets/password.ts'
import { runCommandLine } from '../../src/cli/run.ts'
import { MQTT_DEFAULTS } from '../../src/gateway/mqtt/options.ts'
import { RecordedTerminal } from '../support/recorded-terminal.ts'
import { plainEnv, startServer, type TestServer, TRIVET } from '../support/server.ts'
import { eventually } from '../support/waiting.ts'

interface Running {
  readonly terminal: RecordedTerminal
  readonly code: Promise<number>
  interrupt(): void
}

let server: TestServer
const endings: (() => unknown)[] = []

test.before(async () => {
  // A hook has no teardown of its own.
  const lifetime = { teardown: (fn: () => unknown) => endings.unshift(fn) }
  server = await startServer(lifetime as unknown as ExecutionContext)
  await run('topic', 'create', 'orders').code
})
test.after.always(async () => {
  for (const end of endings) await end()
})

function run(...argv: string[]): Running {
  const terminal = new RecordedTerminal()
  const stop = new AbortController()
  const code = runCommandLine(argv, {
    terminal,
    env: { TRIVET_NAME_SERVERS: server.address('nameServer') },
    signal: stop.signal,
    roles: { run: () => Promise.reject(new Error('no role here')) },
  })
  return { terminal, code, interrupt: () => stop.abort() }
}

async function done(...argv: string[]): Promise<RecordedTerminal> {
  const { terminal, code } = run(...argv)
  const exit = await code
  if (exit !== 0) throw new Error(`${argv.join(' ')}: exit ${exit}: ${terminal.errors}`)
  return terminal
}

const LEGS = ['native', 'mqtt', 'amqp'] as const
type Leg = (typeof LEGS)[number]

function via(leg: Leg): string[] {
  return leg === 'native' ? [] : ['--via', leg, '--at', server.address(leg)]
}

const groupsOf = (topic: string): Promise<string> =>
  done('topic', 'describe', topic, '--json').then(({ output }) => output)

interface Shown {
  readonly topic: string
  readonly tag: string
  readonly keys: readonly string[]
  readonly orderingKey?: string
  readonly properties: Readonly<Record<string, string>>
  readonly body: string
}

let serial = 0

for (const to of LEGS) {
  for (const from of LEGS) {
    test(`what is published over ${from} is shown over ${to}`, async (t) => {
      const group = `g-${from}-${to}`
      const tag = `tag${++serial}`
      const sub = run('sub', 'orders', '-g', group, '--tags', tag, '-c', '1', '--json', ...via(to))
      // A member of the group reads from where it joined, so it must be there first.
      await eventually(async () =>
        to === 'mqtt' || (await groupsOf('orders')).includes(group) ? true : undefined,
      )
      const letter = ['-t', tag, '-k', 'order-1', '-p', 'source=web', '--ordering-key', 'c7']
      await eventually(async () => {
        await done('pub', 'orders', 'grüße', ...letter, ...via(from))
        return sub.terminal.printed.length > 0 ? true : undefined
      })
      t.is(await sub.code, 0)
      const shown = JSON.parse(sub.terminal.printed[0]!) as Shown
      const { topic, keys, orderingKey, properties, body } = shown
      t.deepEqual(
        { topic, tag: shown.tag, keys, orderingKey, properties, body },
        {
          topic: 'orders',
          tag,
          keys: ['order-1'],
          orderingKey: 'c7',
          properties: { source: 'web' },
          body: 'grüße',
        },
      )
    })
  }

  test(`the messages of one pub over ${to} are shown in order, with a group and without one`, async (t) => {
    const topic = `in-order-${to}`
    await done('topic', 'create', topic)
    await done('pub', topic, '{n}', '-c', '200', ...via(to))
    const numbers = Array.from({ length: 200 }, (_, i) => `${i + 1}\n`)
    const sub = ['sub', topic, '--from', 'first', '-c', '200', '--raw']
    for (const words of [[], ['-g', `native-${to}`], ['-g', `amqp-${to}`, ...via('amqp')]]) {
      const { printed } = await done(...sub, ...words)
      t.deepEqual(printed, numbers)
    }
  })

  test(`sub over ${to} ends at Ctrl-C with exit code 0`, async (t) => {
    const sub = run('sub', 'orders', '--tags', `end-${to}`, '--raw', ...via(to))
    // Once it has shown something it runs.
    await eventually(async () => {
      await done('pub', 'orders', 'x', '-t', `end-${to}`)
      return sub.terminal.printed.length > 0 ? true : undefined
    })
    sub.interrupt()
    t.is(await sub.code, 0)
    t.regex(sub.terminal.printed.join(''), /^(x\n)+$/)
  })
}

test('with --lines each line of standard input is a message, at once and in order', async (t) => {
  await done('topic', 'create', 'lines')
  const args = ['pub', 'lines', '-', '--lines', '--name-server', server.address('nameServer')]
  const child = spawn(process.execPath, [TRIVET, ...args], {
    env: plainEnv(),
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  const sub = ['sub', 'lines', '--from', 'first', '--raw', '-c']
  child.stdin.write('first\nsecond\r\nthi')
  t.deepEqual((await done(...sub, '2')).printed, ['first\n', 'second\n'])
  child.stdin.end('rd\n\nlast')
  t.deepEqual(await ended, [0, null])
  const all = ['first', 'second', 'third', '', 'last'].map((line) => `${line}\n`)
  t.deepEqual((await done(...sub, '5')).printed, all)
})

for (const leg of ['native', 'mqtt'] as const) {
  test(`over ${leg} pub prints what was accepted although one was refused`, async (t) => {
    const small = await startServer(t, { config: { broker: { bodyBytesMax: 1024 } } })
    // Delayed messages are no batch of RocketMQ's, which is refused as a whole.
    const over =
      leg === 'native'
        ? ['-n', small.address('nameServer'), '--delay', '1ms']
        : ['--via', leg, '--at', small.address(leg)]
    // The tenth has another digit in each place.
    const { terminal, code } = run('pub', 'cut', '{n}'.repeat(600), '-c', '10', ...over)
    t.is(await code, 1)
    t.is(terminal.printed.length, 9)
    t.regex(terminal.errors, /^trivet: 1 of 10 messages were not accepted; the first: .*1200 bytes/)
    const json = run('pub', 'cut', '{n}'.repeat(600), '-c', '10', '--json', ...over)
    t.is(await json.code, 1)
    t.is(json.terminal.output.trimEnd().split('\n').length, 9)
  })
}

test('--lines without standard input is refused', async (t) => {
  const { terminal, code } = run('pub', 'orders', 'x', '--lines')
  t.is(await code, 2)
  t.regex(terminal.errors, /--lines goes with a body of '-'/)
})

for (const [leg, word] of [
  ['mqtt', 'MQTT broker'],
  ['amqp', 'AMQP broker'],
] as const) {
  test(`over ${leg} an address where nothing listens is named, with what to do`, async (t) => {
    const { terminal, code } = run('pub', 'orders', 'x', '--via', leg, '--at', '127.0.0.1:1')
    t.is(await code, 1)
    t.regex(
      terminal.errors,
      new RegExp(`no ${word} answers at 127\\.0\\.0\\.1:1 .*trivet start.*--at`),
    )
  })
}

test('a wrong password is told as one over MQTT and AMQP, and not as a broker that is away', async (t) => {
  const password = await hashPassword('right')
  const guarded = await startServer(t, { config: { users: { alice: { password } } } })
  for (const leg of ['mqtt', 'amqp'] as const) {
    for (const who of [[], ['--access-key', 'alice']]) {
      const words = ['pub', 'orders', 'x', '--via', leg, '--at', guarded.address(leg), ...who]
      const { terminal, code } = run(...words)
      t.is(await code, 1)
      t.regex(terminal.errors, /does not let this user in .*TRIVET_PASSWORD/)
      t.notRegex(terminal.errors, /trivet start/)
    }
  }
})

test('over the native protocol an address where nothing listens is named, with what to do', async (t) => {
  const { terminal, code } = run('sub', 'orders', '-n', '127.0.0.1:1')
  t.is(await code, 1)
  t.regex(terminal.errors, /127\.0\.0\.1:1.*trivet start.*--name-server/)
})

test('pub numbers its messages and says where each went', async (t) => {
  const { printed } = await done('pub', 'numbered', 'n{n}', '-c', '100', '--ordering-key', 'k')
  t.is(printed.length, 100)
  for (const line of printed) t.regex(line, /^[0-9A-F]{32} {2}numbered\/\d+@\d+$/)
  const sub = await done('sub', 'numbered', '--from', 'first', '-c', '100', '--raw')
  t.is(sub.printed.join(''), Array.from({ length: 100 }, (_, i) => `n${i + 1}\n`).join(''))
})

for (const to of ['native', 'amqp'] as const) {
  test(`a condition selects what is shown over ${to}`, async (t) => {
    const topic = `conditions-${to}`
    for (const price of [9, 10, 11]) await done('pub', topic, `${price}`, '-p', `price=${price}`)
    const sub = ['sub', topic, '--sql', 'price > 9', '--from', 'first', '-g', `g-${to}`, '--raw']
    const { printed } = await done(...sub, '-c', '2', ...via(to))
    t.deepEqual(printed.toSorted(), ['10\n', '11\n'])
  })
}

test('retained messages come first over MQTT, by the names of their topics, and are marked', async (t) => {
  const client = await mqtt.connectAsync(`mqtt://${server.address('mqtt')}`)
  t.teardown(() => client.endAsync(true))
  for (const name of ['b', 'a', 'c']) {
    await client.publishAsync(`kept/${name}`, name, { qos: 1, retain: true })
  }
  const sub = run('sub', 'kept', '-c', '4', ...via('mqtt'))
  await eventually(async () => sub.terminal.printed.length === 3 || undefined)
  await client.publishAsync('kept/a', 'new', { qos: 1, retain: true })
  t.is(await sub.code, 0)
  t.deepEqual(sub.terminal.printed, [
    'kept (retained) tag=a  a',
    'kept (retained) tag=b  b',
    'kept (retained) tag=c  c',
    'kept tag=a  new',
  ])
  const { output } = await done('sub', 'kept', '-c', '1', '--json', ...via('mqtt'))
  t.like(JSON.parse(output), { tag: 'a', body: 'new', retained: true })
})

test('MQTT cannot select by a condition, and says so', async (t) => {
  const { terminal, code } = run('sub', 'orders', '--sql', 'price > 9', ...via('mqtt'))
  t.is(await code, 1)
  t.regex(terminal.errors, /MQTT cannot select by --sql/)
})

test('a broker is reached without a name server', async (t) => {
  const broker = ['--broker', server.address('remoting')]
  await done('pub', 'alone', 'x', ...broker)
  t.is((await done('sub', 'alone', '--from', 'first', '-c', '1', '--raw', ...broker)).output, 'x\n')
  const { topics } = JSON.parse((await done('topic', 'list', '--json', ...broker)).output)
  t.true(topics.some((topic: { name: string }) => topic.name === 'alone'))
})

test('a group goes on where it stopped', async (t) => {
  await done('pub', 'paused', 'n{n}', '-c', '6', '--ordering-key', 'k')
  const first = await done('sub', 'paused', '-g', 'g', '--from', 'first', '-c', '4', '--raw')
  const second = await done('sub', 'paused', '-g', 'g', '--from', 'first', '-c', '2', '--raw')
  t.is(first.printed.join('') + second.printed.join(''), 'n1\nn2\nn3\nn4\nn5\nn6\n')
  const group = JSON.parse((await done('group', 'describe', 'g', '--json')).output)
  t.is(group.lag, 0)
  t.true((await done('group', 'list')).output.includes('g'))
})

test('topics are listed and described, also for programs', async (t) => {
  await done('topic', 'create', 'described', '--queues', '2')
  t.regex((await done('topic', 'list')).output, /^described +broker-a +2 +rw +no$/m)
  const { topics } = JSON.parse((await done('topic', 'list', '--json')).output)
  t.true(topics.some((topic: { name: string }) => topic.name === 'described'))
  t.regex((await done('topic', 'describe', 'described')).output, /^broker-a +1 +0 +0 +0 +-$/m)
  await done('topic', 'delete', 'described')
  const { code, terminal } = run('topic', 'describe', 'described')
  t.is(await code, 1)
  t.regex(terminal.errors, /'described' does not exist; see: trivet topic list/)
})

test('a message is found by key and by id', async (t) => {
  const { output } = await done('pub', 'sought', 'needle', '-k', 'pin', '--json')
  const { messageId, offsetMessageId } = JSON.parse(output)
  for (const question of [
    ['--topic', 'sought', '--key', 'pin'],
    ['--topic', 'sought', '--id', messageId],
    ['--id', offsetMessageId],
  ]) {
    const found = JSON.parse((await done('message', 'get', '--json', ...question)).output)
    t.is(found.body, 'needle')
    t.is(found.messageId, messageId)
  }
})

for (const argv of [
  ['message', 'get'],
  ['message', 'get', '--key', 'k'],
  ['message', 'get', '--key', 'k', '--id', 'i', '--topic', 't'],
  ['pub', 'orders', 'x', '--property', 'novalue'],
  ['pub', 'orders', 'x', '--delay', 'soon'],
  ['pub', 'orders', 'x', '--count', '0'],
  ['pub', 'orders', 'x', '--at', '127.0.0.1:1'],
  ['pub', 'orders', 'x', '--timeout', '0s'],
  ['sub', 'orders', '--group', 'g', '--broadcast'],
  ['sub', 'orders', '--via', 'carrier-pigeon'],
]) {
  test(`'${argv.join(' ')}' is a usage error`, async (t) => {
    const { terminal, code } = run(...argv)
    t.is(await code, 2)
    t.regex(terminal.errors, /^trivet: /)
  })
}

test('what a member over MQTT has not shown at its end is for the next', async (t) => {
  const member = ['sub', 'unshown', '-g', 'unshown', '--raw']
  await done('pub', 'unshown', 'first')
  // Now the group has a place in every queue, from which it goes on.
  t.is((await done(...member, '--from', 'first', '-c', '1')).output, 'first\n')
  await done('pub', 'unshown', 'n{n}', '-c', '20')
  const one = await done(...member, '-c', '1', ...via('mqtt'))
  const others = await done(...member, '-c', '19', ...via('mqtt'))
  const shown = [...one.printed, ...others.printed].map((line) => line.trimEnd())
  t.deepEqual(shown.sort(), Array.from({ length: 20 }, (_, i) => `n${i + 1}`).sort())
})

/** The address of a listener that does this with a connection. */
async function peer(t: ExecutionContext, accept: (socket: Socket) => void): Promise<string> {
  const sockets: Socket[] = []
  const listener = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket.on('error', () => {}))
    accept(socket)
  }).listen(0, '127.0.0.1')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    listener.close()
  })
  await once(listener, 'listening')
  return `127.0.0.1:${(listener.address() as AddressInfo).port}`
}

for (const leg of ['mqtt', 'amqp'] as const) {
  test(`a peer that hangs up on ${leg} is an error that names it`, async (t) => {
    const at = await peer(t, (socket) => socket.destroySoon())
    const { terminal, code } = run('pub', 'orders', 'x', '--via', leg, '--at', at)
    t.is(await code, 1)
    t.true(terminal.errors.includes(at), terminal.errors)
  })

  test(`Ctrl-C ends waiting for a peer that says nothing on ${leg}`, async (t) => {
    let accepted: () => void = () => {}
    const connected = new Promise<void>((resolve) => {
      accepted = resolve
    })
    const at = await peer(t, () => accepted())
    const { code, interrupt } = run('pub', 'orders', 'x', '--via', leg, '--at', at)
    await connected
    interrupt()
    t.is(await code, 130)
  })

  test(`Ctrl-C ends sending many messages over ${leg}`, async (t) => {
    const { terminal, code, interrupt } = run('pub', 'orders', 'x', '-c', '1000000', ...via(leg))
    await eventually(async () => (terminal.printed.length > 0 ? true : undefined))
    interrupt()
    t.is(await code, 130)
    t.true(terminal.printed.length < 1_000_000)
  })
}

/**
 * A way to the server that leaves out what a client says from the first bytes on in which this is.
 */
function deafFrom(
  t: ExecutionContext,
  leg: 'mqtt' | 'amqp',
  isUnheard: (bytes: Buffer) => boolean,
) {
  return peer(t, (socket) => {
    const upstream = connect(server.port(leg), '127.0.0.1').on('error', () => {})
    t.teardown(() => upstream.destroy())
    let isDeaf = false
    socket.on('data', (bytes) => {
      isDeaf ||= isUnheard(bytes)
      if (!isDeaf) upstream.write(bytes)
    })
    upstream.pipe(socket)
  })
}

const hasPerformative = (code: number) => (bytes: Buffer) =>
  bytes.includes(Buffer.from([0x00, 0x53, code]))
const isPacket = (type: number) => (bytes: Buffer) => bytes[0]! >> 4 === type

for (const [what, leg, isUnheard, words] of [
  ['a begin of pub', 'amqp', hasPerformative(0x11), ['pub', 'orders', 'x']],
  ['a transfer', 'amqp', hasPerformative(0x14), ['pub', 'orders', 'x']],
  ['a begin of sub', 'amqp', hasPerformative(0x11), ['sub', 'orders']],
  ['a PUBLISH', 'mqtt', isPacket(3), ['pub', 'orders', 'x']],
  ['a SUBSCRIBE', 'mqtt', isPacket(8), ['sub', 'orders']],
] as const) {
  test(`a broker that does not answer ${what} is given up over ${leg} after --timeout`, async (t) => {
    const at = await deafFrom(t, leg, isUnheard)
    const { terminal, code } = run(...words, '--via', leg, '--at', at, '--timeout', '200ms')
    t.is(await code, 1)
    t.regex(terminal.errors, /^trivet: the \w+ broker at [\d.:]+ did not answer within 200 ms$/)
  })
}

for (const words of [
  ['pub', 'orders', 'x'],
  ['sub', 'orders', '--from', 'first', '-c', '1'],
]) {
  test(`${words[0]} over amqp leaves nothing that holds its process when it is done`, async (t) => {
    t.timeout(30_000, 'the command waits for something else')
    await done('pub', 'orders', 'x')
    const child = spawn(process.execPath, [TRIVET, ...words, ...via('amqp')], {
      env: plainEnv(),
      stdio: 'ignore',
    })
    t.teardown(() => child.kill('SIGKILL'))
    t.deepEqual(await once(child, 'exit'), [0, null])
  })
}

for (const [what, end] of [
  ['link', ({ sender }: EventContext) => sender!.close()],
  ['session', ({ session }: EventContext) => session!.close()],
] as const) {
  test(`sub over amqp ends when the broker ends its ${what} without a reason`, async (t) => {
    const container = rhea.create_container()
    container.on('sender_open', end).on('disconnected', () => {})
    const listener = container.listen({ port: 0, host: '127.0.0.1' })
    t.teardown(() => listener.close())
    await once(listener, 'listening')
    const { port } = listener.address() as AddressInfo
    const { terminal, code } = run('sub', 'orders', '--via', 'amqp', '--at', `127.0.0.1:${port}`)
    t.is(await code, 1)
    t.regex(terminal.errors, /^trivet: the (broker ended the link|AMQP broker at .* broke off)/)
  })
}

test('a message that comes before the answer is shown over mqtt; the end does not wait for the peer', async (t) => {
  const answers: Readonly<Record<number, string>> = {
    // CONNECT: CONNACK
    1: '2003000000',
    // SUBSCRIBE: no SUBACK, but a PUBLISH of 'x' to 'o/a' at QoS 0
    8: '300700036f2f610078',
  }
  const at = await peer(t, (socket) => {
    socket.on('data', (bytes) => {
      const answer = answers[bytes[0]! >> 4]
      if (answer !== undefined) socket.write(Buffer.from(answer, 'hex'))
    })
  })
  const { terminal, code } = run('sub', 'o', '-c', '1', '--raw', '--via', 'mqtt', '--at', at)
  t.is(await code, 0)
  t.is(terminal.output, 'x\n')
})

test('a message that the MQTT broker refuses was not sent, and the command says why', async (t) => {
  const body = 'x'.repeat(MQTT_DEFAULTS.packetBytesMax)
  const { terminal, code } = run('pub', 'orders', body, ...via('mqtt'))
  t.is(await code, 1)
  t.regex(terminal.errors, /^trivet: the broker did not accept 'orders': .*bytes/)
})

for (const leg of ['mqtt', 'amqp'] as const) {
  test(`a connection over ${leg} that is lost later is not said never to have been`, async (t) => {
    const cuts: Socket[] = []
    const address = await peer(t, (socket) => {
      const upstream = connect(server.port(leg), '127.0.0.1').on('error', () => {})
      cuts.push(upstream, socket)
      socket.pipe(upstream).pipe(socket)
    })
    const sub = run('sub', 'orders', '--tags', `cut-${leg}`, '--via', leg, '--at', address)
    await eventually(async () => {
      await done('pub', 'orders', 'x', '-t', `cut-${leg}`)
      return sub.terminal.printed.length > 0 ? true : undefined
    })
    for (const socket of cuts) socket.destroy()
    t.is(await sub.code, 1)
    t.regex(sub.terminal.errors, /broker at 127\.0\.0\.1:\d+ broke off: /)
  })
}

test('a name server that is given as a broker is named as what it is', async (t) => {
  const { terminal, code } = run('pub', 'orders', 'x', '--broker', server.address('nameServer'))
  t.is(await code, 1)
  t.regex(terminal.errors, /what listens at .* is no broker; .*--name-server/)
})
