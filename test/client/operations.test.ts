// What operators do with groups and messages: by the SDK, and by the command line over it.
import test, { type ExecutionContext } from 'ava'
import { runCommandLine } from '../../src/cli/run.ts'
import { momentMs } from '../../src/cli/words.ts'
import { traceEventsOf } from '../../src/client/admin/message-trace.ts'
import { type Client, connect, type Message } from '../../src/client/index.ts'
import { RecordedTerminal } from '../support/recorded-terminal.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { eventually, latch } from '../support/waiting.ts'

interface Scene {
  readonly server: TestServer
  readonly mq: Client
  trivet(...words: readonly string[]): Promise<{ code: number; terminal: RecordedTerminal }>
}

async function open(t: ExecutionContext): Promise<Scene> {
  const server = await startServer(t)
  const mq = await connect({ nameServers: server.address('nameServer') })
  t.teardown(() => mq.close())
  await mq.admin.topics.create({ name: 'orders', queues: 2 })
  return {
    server,
    mq,
    trivet: async (...words) => {
      const terminal = new RecordedTerminal()
      const code = await runCommandLine([...words, '-n', server.address('nameServer')], {
        terminal,
        env: {},
        signal: new AbortController().signal,
        roles: { run: () => Promise.reject(new Error('not here')) },
      })
      return { code, terminal }
    },
  }
}

/** A group that has consumed `count` messages and left. */
async function consumed({ mq }: Scene, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await mq.send({ topic: 'orders', body: `m${i}` })
  const seen = new Set<string>()
  const all = latch(1)
  const consumer = await mq.consume(
    { group: 'billing', topic: 'orders', from: 'first' },
    async ({ messageId }) => {
      seen.add(messageId)
      if (seen.size === count) all.count()
    },
  )
  await all.reached
  await consumer.close()
}

async function placesOf({ mq }: Scene): Promise<readonly number[]> {
  const { queues } = await mq.admin.groups.describe('billing')
  return queues.filter(({ topic }) => topic === 'orders').map((queue) => queue.committedOffset)
}

const billing = { group: 'billing', topic: 'orders' } as const

test('a group is moved to the beginning, to the end and to a time; a dry run moves nothing', async (t) => {
  const scene = await open(t)
  await consumed(scene, 4)
  const { groups } = scene.mq.admin
  const dry = await groups.resetOffsets({ ...billing, to: 'first', dryRun: true })
  t.deepEqual(
    dry.map(({ from, to }) => [from, to]),
    [
      [2, 0],
      [2, 0],
    ],
  )
  t.deepEqual(await placesOf(scene), [2, 2])
  await groups.resetOffsets({ ...billing, to: 'first' })
  t.deepEqual(await placesOf(scene), [0, 0])
  await groups.resetOffsets({ ...billing, to: 'last' })
  t.deepEqual(await placesOf(scene), [2, 2])
  await groups.resetOffsets({ ...billing, to: { timestampMs: 1 } })
  t.deepEqual(await placesOf(scene), [0, 0])
})

test('one queue is moved to an offset, the others stay', async (t) => {
  const scene = await open(t)
  await consumed(scene, 4)
  const moved = await scene.mq.admin.groups.resetOffsets({
    ...billing,
    to: { offset: 1 },
    queueId: 1,
  })
  t.like(moved, [{ queueId: 1, from: 2, to: 1 }])
  t.deepEqual(await placesOf(scene), [2, 1])
})

test('a reset that cannot be right is refused and moves nothing', async (t) => {
  const scene = await open(t)
  await consumed(scene, 4)
  const { groups } = scene.mq.admin
  const refused = async (reset: Parameters<typeof groups.resetOffsets>[0]): Promise<string> =>
    ((await t.throwsAsync(groups.resetOffsets(reset))) as Error & { code: string }).code
  t.is(await refused({ ...billing, to: { offset: 1 } }), 'ARGUMENT_INVALID')
  t.is(await refused({ ...billing, to: { offset: 9 }, queueId: 0 }), 'OFFSET_OUT_OF_RANGE')
  t.is(await refused({ ...billing, to: { timestampMs: -1 } }), 'ARGUMENT_INVALID')
  for (const to of ['frist', undefined, null, {}, 7]) {
    t.is(await refused({ ...billing, to: to as 'first' }), 'ARGUMENT_INVALID', String(to))
  }
  t.is(await refused({ ...billing, to: 'last', queueId: '1' as never }), 'ARGUMENT_INVALID')
  t.is(await refused({ ...billing, to: 'last', queueId: 7 }), 'QUEUE_NOT_FOUND')
  t.is(await refused({ ...billing, topic: 'none', to: 'last' }), 'TOPIC_NOT_FOUND')
  t.is(await refused({ ...billing, group: 'none', to: 'last' }), 'GROUP_NOT_FOUND')
  t.deepEqual(await placesOf(scene), [2, 2])
})

test('trivet offset reset shows where each queue goes, and goes there', async (t) => {
  const scene = await open(t)
  await consumed(scene, 4)
  const words = ['offset', 'reset', 'billing', 'orders', '--to', 'first'] as const
  const dry = await scene.trivet(...words, '--dry-run')
  t.is(dry.code, 0)
  t.regex(dry.terminal.output, /nothing was changed/)
  t.deepEqual(await placesOf(scene), [2, 2])
  const done = await scene.trivet(...words)
  t.is(done.code, 0)
  t.regex(done.terminal.output, /'billing' goes on from there in 'orders'/)
  t.deepEqual(await placesOf(scene), [0, 0])
  t.is((await scene.trivet('offset', 'reset', 'billing', 'orders')).code, 2)
})

/** Messages that the group gave up at once. */
async function givenUp(scene: Scene, count: number): Promise<void> {
  const { mq } = scene
  const sent = Array.from({ length: count }, (_, i) => i)
  for (const i of sent) {
    const properties = { customer: `c${i}` }
    await mq.send({ topic: 'orders', body: `m${i}`, tag: 'eu', keys: [`k${i}`], properties })
  }
  const options = { group: 'billing', topic: 'orders', from: 'first', retriesMax: 0 } as const
  const consumer = await mq.consume(options, () => Promise.reject(new Error('given up')))
  await eventually(async () => (await lettersOf(scene)).length === count || undefined)
  await consumer.close()
}

async function lettersOf({ mq }: Scene): Promise<Message[]> {
  const letters: Message[] = []
  for await (const message of mq.deadLetters.list('billing')) letters.push(message)
  return letters
}

test('dead letters are listed, and one that is replayed is in its topic again as it was', async (t) => {
  const scene = await open(t)
  t.deepEqual(await lettersOf(scene), [])
  await givenUp(scene, 3)
  const letters = await lettersOf(scene)
  t.deepEqual(letters.map((letter) => letter.text()).sort(), ['m0', 'm1', 'm2'])
  const [letter] = letters
  const { messageId } = await scene.mq.deadLetters.replay(letter!)
  const again = await scene.mq.admin.messages.byId(messageId, { topic: 'orders' })
  t.not(messageId, letter!.messageId)
  t.deepEqual(
    [again.text(), again.tag, again.keys, [...again.properties]],
    [letter!.text(), 'eu', letter!.keys, [...letter!.properties]],
  )
  t.is((await lettersOf(scene)).length, 3)
})

test('trivet dlq lists and replays those that it is told', async (t) => {
  const scene = await open(t)
  await givenUp(scene, 3)
  const listed = await scene.trivet('dlq', 'list', 'billing', '--max', '2', '--json')
  t.is(listed.code, 0)
  const found = listed.terminal.output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.is(found.length, 2)
  t.is(found[0].originTopic, 'orders')
  const one = await scene.trivet('dlq', 'replay', 'billing', '--id', found[0].messageId)
  t.regex(one.terminal.output, /1 sent/)
  const all = await scene.trivet('dlq', 'replay', 'billing', '--all', '--since', '1h')
  t.regex(all.terminal.output, /3 sent/)
  const { queues } = await scene.mq.admin.topics.describe('orders')
  t.is(
    queues.reduce((sum, { maxOffset }) => sum + maxOffset, 0),
    3 + 1 + 3,
  )
  t.is((await scene.trivet('dlq', 'replay', 'billing')).code, 2)
  const none = await scene.trivet('dlq', 'replay', 'billing', '--id', 'ABCDEF')
  t.is(none.code, 1)
  t.regex(none.terminal.errors, /no dead letter with the id ABCDEF/)
})

test('trivet dlq says that a group does not exist, and is silent about one without dead letters', async (t) => {
  const scene = await open(t)
  await consumed(scene, 1)
  const none = await scene.trivet('dlq', 'list', 'billing')
  t.deepEqual([none.code, none.terminal.output], [0, ''])
  for (const words of [['list'], ['replay', '--all']]) {
    const { code, terminal } = await scene.trivet('dlq', ...words, 'biling')
    t.is(code, 1)
    t.regex(terminal.errors, /the group 'biling' does not exist/)
  }
})

const ID = 'C0A8000200005A4D666E20C7BEA40001'
const record = (...fields: readonly (string | number)[]): string => `${fields.join('\u0001')}\u0002`
const SENT = record(
  ...['Pub', 1000, 'DefaultRegion', 'PG', 'orders', ID, 'eu', 'k', '127.0.0.1:10911', 4, 7, 0],
  ...['0A', 'true'],
)
const DELIVERED = record('SubBefore', 2000, 'DefaultRegion', 'billing', 'R1', ID, 1, 'k')
const CONSUMED = record('SubAfter', 'R1', ID, 5, 'false', 'k', 3)
const OTHER = record('SubBefore', 1500, 'DefaultRegion', 'billing', 'R2', 'another', 0, 'k')

test('what clients told of a message is put together, oldest first', async (t) => {
  const scene = await open(t)
  for (const body of [DELIVERED + OTHER, `${CONSUMED}Strange\u0001x\u0002`, SENT]) {
    await scene.mq.send({ topic: 'traces', body, keys: [ID] })
  }
  const events = await scene.mq.admin.messages.trace(ID, { traceTopic: 'traces' })
  t.like(events, [
    { kind: 'consumed', group: 'billing', succeeded: false, costMs: 5 },
    { kind: 'sent', group: 'PG', topic: 'orders', timestampMs: 1000, succeeded: true, costMs: 7 },
    { kind: 'delivered', group: 'billing', timestampMs: 2000, retries: 1 },
  ])
  t.is(events.length, 3)
  const shown = await scene.trivet('message', 'trace', ID, '--trace-topic', 'traces')
  t.regex(shown.terminal.output, /sent .*PG .*7 ms .*done/)
  const none = await scene.trivet('message', 'trace', 'ABC', '--trace-topic', 'traces')
  t.is(none.code, 1)
  t.regex(none.terminal.errors, /no client told of ABC/)
})

test('a record of a trace that is cut short says what it can', (t) => {
  const told = (body: string): Message =>
    ({ text: () => body, bornHost: '127.0.0.1:1' }) as unknown as Message
  t.deepEqual(traceEventsOf([told('Pub\u0001x')], ID), [])
  t.like(traceEventsOf([told(`SubBefore\u0001\u0001\u0001g\u0001r\u0001${ID}`)], ID), [
    { kind: 'delivered', timestampMs: undefined, retries: undefined },
  ])
})

test('moments are written as a time, as milliseconds or as how long ago', (t) => {
  t.is(momentMs('--to', '2026-01-31T12:00:00Z', 0), Date.UTC(2026, 0, 31, 12))
  t.is(momentMs('--to', '1700000000000', 0), 1_700_000_000_000)
  t.is(momentMs('--to', '2h', 10_000_000), 10_000_000 - 7_200_000)
  t.is(momentMs('--to', '2h', 1000), 0, 'before 1970')
  for (const text of ['', 'soon', '12', '2026', '2026-99-99', '-1h']) {
    t.throws(() => momentMs('--to', text, 0), { message: /--to is/ })
  }
})
