// What a hostile or broken native client sends, asked of Apache RocketMQ 5.5.0 and of our server: the
// same code and remark, but for what is named here. Both go on serving others.
import test from 'ava'
import { systemClock } from '../../src/clock.ts'
import { parseOffsetMessageId } from '../../src/model/message-id.ts'
import { recordsOf } from '../../src/model/record.ts'
import { encodeBatchBody } from '../../src/remoting/batch-body.ts'
import type { Command } from '../../src/remoting/command.ts'
import { dial, type RemotingConnection } from '../../src/remoting/connection.ts'
import {
  fields,
  heartbeat,
  pull,
  send,
  sendFrame,
} from '../../test/support/native/native-front-end.ts'
import { PopClient } from '../../test/support/native/pop-client.ts'
import { decodeMessages } from '../../test/support/native/wire-message.ts'
import { RawPeer } from '../../test/support/peers/raw-peer.ts'
import { spawnServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { Peer } from '../support/compatibility-peer.ts'
import { needing } from '../support/needing.ts'

const missing = await apacheRocketmqMissing()
const testBoth = needing('bad input beside Apache RocketMQ', missing)

const HELD = 10_000

interface Broker {
  readonly peer: Peer
  readonly port: number
  connect(onPush?: (command: Command) => undefined): Promise<RemotingConnection>
}

/** What is asked, and what is answered. */
type Answers = Map<string, string>
type Probe = (broker: Broker, answers: Answers) => Promise<void>

/** Without the names of one run, and of an exception its name. */
const said = ({ code, remark }: { readonly code: number; readonly remark?: string | undefined }) =>
  `${code} ${remark ?? ''}`
    .replaceAll(/Compat_\d+|G_compat_\d+/g, 'NAME')
    .replaceAll(/\n[\s\S]*/g, '')
    .replace(/^(\d+) (?:java|org)\.[\w.]+\.(\w+Exception)\b.*/, '$1 $2')
    .replace('not set any response code', '')
    .replace(/ consumer:\[.*/, '')
    .trim()

// A client that lies about its version.

const header = (code: number, version: number, extFields: object): object => ({
  ...{ code, version, language: 'JAVA', flag: 0, opaque: 1, serializeTypeCurrentRPC: 'JSON' },
  extFields,
})

function frameOf(head: object, body: Uint8Array = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.from(JSON.stringify(head))
  const prefix = Buffer.alloc(8)
  prefix.writeInt32BE(4 + bytes.length + body.length)
  prefix.writeInt32BE(bytes.length, 4)
  return Buffer.concat([prefix, bytes, body])
}

async function answerOf(peer: RawPeer): Promise<string> {
  for (;;) {
    const length = (await peer.read(4)).readInt32BE()
    const bytes = await peer.read(length)
    const head = JSON.parse(bytes.toString('utf8', 4, 4 + bytes.readInt32BE())) as Command
    // A request of the broker's, that a member joined, is no answer.
    if ((head.flag & 1) === 1) return said({ code: head.code, remark: head.remark ?? undefined })
  }
}

/**
 * How many messages are in the topic's one queue. Apache stores a commit a moment after its answer.
 */
async function delivered(peer: Peer, topic: string, least = 0): Promise<string> {
  await peer.until(async () => (await peer.end(topic)) >= least)
  await send(peer.broker, { topic, body: Buffer.from('last') })
  const group = await peer.group()
  const bodies = await eventually(async () => {
    const { body } = await peer.pull(topic, group)
    const all = decodeMessages(Buffer.from(body)).map((message) => message.body.toString())
    return all.at(-1) === 'last' && all
  })
  return `${bodies.length - 1}`
}

async function lies(broker: Broker, answers: Answers): Promise<void> {
  const [topic, group] = [await broker.peer.topic(), await broker.peer.group()]
  await broker.peer.sent(topic, 1)
  const member = JSON.stringify({
    clientID: 'liar',
    producerDataSet: [],
    consumerDataSet: [
      {
        ...{ groupName: group, consumeType: 'CONSUME_PASSIVELY', messageModel: 'CLUSTERING' },
        consumeFromWhere: 'CONSUME_FROM_LAST_OFFSET',
        subscriptionDataSet: [{ topic, subString: '*', subVersion: 1, expressionType: 'TAG' }],
      },
    ],
  })
  const pulled = {
    ...{ consumerGroup: group, topic, queueId: 0, queueOffset: 0, maxMsgNums: 1, sysFlag: 0 },
    ...{ commitOffset: 0, suspendTimeoutMillis: 0, subVersion: 1 },
  }
  for (const version of [0, 1, 999_999, 2 ** 31 - 1]) {
    const peer = await RawPeer.connect(broker.port)
    const ask = (code: number, values: object, body?: Uint8Array): Promise<string> => {
      peer.send(frameOf(header(code, version, values), body))
      return answerOf(peer)
    }
    const sent = { a: 'P', b: topic, c: 'TBW102', d: 4, e: 0, f: 0, g: 1, h: 0, i: '', j: 0 }
    answers.set(`a send of version ${version}`, await ask(310, sent, Buffer.from('x')))
    answers.set(`a heartbeat of version ${version}`, await ask(34, {}, Buffer.from(member)))
    answers.set(`a pull of version ${version}`, await ask(11, pulled))
    answers.set(`the member of version ${version}`, await ask(38, { consumerGroup: group }))
    peer.end()
  }
  const peer = await RawPeer.connect(broker.port)
  peer.send(frameOf(header(30, 2 ** 40, { topic, queueId: 0 })))
  answers.set(
    'a version beyond 32 bits',
    (await peer.closed()).length === 0 ? 'closed' : 'answered',
  )
}

// Half a batch.

async function halves(broker: Broker, answers: Answers): Promise<void> {
  const topic = await broker.peer.topic()
  const item = { flag: 0, properties: Buffer.alloc(0), body: Buffer.from('a message of a batch') }
  const whole = encodeBatchBody([item, item])
  const batch = (body: Uint8Array) => send(broker.peer.broker, { topic, code: 320, m: true, body })
  for (const [what, body] of [
    ['that ends within a message', whole.subarray(0, whole.length * 0.75)],
    ['that ends within a length', whole.subarray(0, whole.length / 2 + 2)],
    ['of no bytes', Buffer.alloc(0)],
  ] as const) {
    answers.set(`a batch ${what}`, said(await batch(body)))
  }
  const peer = await RawPeer.connect(broker.port)
  const frame = sendFrame(1, { topic, code: 320, m: true as never, body: whole })
  peer.send(frame.subarray(0, frame.length - 10))
  peer.end()
  answers.set('messages of halves that are stored', await delivered(broker.peer, topic))
}

// Negative offsets.

async function negatives({ peer }: Broker, answers: Answers): Promise<void> {
  const [topic, group] = [await peer.topic(), await peer.group()]
  await peer.sent(topic, 2)
  const queue = { topic, queueId: 0, consumerGroup: group }
  const note = async (what: string, answer: Promise<Command>): Promise<void> => {
    const { code, remark, fields: told } = await answer
    const offset = told.get('nextBeginOffset') ?? told.get('offset')
    answers.set(what, `${said({ code, remark })}${offset === undefined ? '' : ` offset ${offset}`}`)
  }
  await note('a pull from -1', peer.pull(topic, group, { offset: -1 }))
  await note('a pull from the least', peer.pull(topic, group, { offset: -(2 ** 62) }))
  await note('a pull from queue -1', peer.pull(topic, group, { queueId: -1 }))
  await note('a commit of -1', peer.ask(15, { ...queue, commitOffset: -1 }))
  await note('the offset then', peer.ask(14, queue))
  await note('a commit to queue -1', peer.ask(15, { ...queue, queueId: -1, commitOffset: 1 }))
  await note('the offset of queue -1', peer.ask(14, { ...queue, queueId: -1 }))
  await note('the end of queue -1', peer.ask(30, { topic, queueId: -1 }))
  await note('the beginning of queue -1', peer.ask(31, { topic, queueId: -1 }))
  await note('a search in queue -1', peer.ask(29, { topic, queueId: -1, timestamp: 0 }))
  await note('a search before 1970', peer.ask(29, { topic, queueId: 0, timestamp: -1 }))
  await note('the message at -1', peer.ask(33, { offset: -1 }))
  const back = { offset: -1, group, delayLevel: 0, originMsgId: 'x', originTopic: topic }
  await note('a message at -1 sent back', peer.ask(36, { ...back, unitMode: false }))
  await note('a send to queue -7', send(peer.broker, { topic, e: -7 }))
}

// Ends of transactions.

const half = (connection: RemotingConnection, topic: string, more: Record<string, string> = {}) =>
  send(connection, {
    ...{ topic, f: 4, g: Date.now() },
    properties: {
      TRAN_MSG: 'true',
      PGROUP: 'P_bad',
      UNIQ_KEY: `${topic}-${Math.random()}`,
      ...more,
    },
  })

function endOf(sent: Command, outcome: number, changed: Record<string, string | number> = {}) {
  const { position } = parseOffsetMessageId(sent.fields.get('msgId')!)
  return {
    fields: fields({
      ...{ producerGroup: 'P_bad', commitLogOffset: position, commitOrRollback: outcome },
      tranStateTableOffset: Number(sent.fields.get('queueOffset')),
      ...{ msgId: 'id', transactionId: 'id', fromTransactionCheck: false, ...changed },
    }),
  }
}

const [COMMIT, ROLLBACK] = [8, 12]

async function ends({ peer }: Broker, answers: Answers): Promise<void> {
  const end = async (what: string, ...args: Parameters<typeof endOf>): Promise<void> => {
    answers.set(what, said(await peer.broker.request(37, endOf(...args))))
  }
  const topic = await peer.topic()
  const ordinary = await send(peer.broker, { topic })
  await end('a commit of what is no half message', ordinary, COMMIT)
  const open = await half(peer.broker, topic)
  await end('a commit of a transaction that is not there', open, COMMIT, {
    commitLogOffset: 2 ** 40,
  })
  await end('a commit within a message', open, COMMIT, { commitLogOffset: 3 })
  await end('a commit of another group', open, COMMIT, { producerGroup: 'P_other' })
  answers.set('what is not there: delivered', await delivered(peer, topic))
  const rolled = await peer.topic()
  const back = await half(peer.broker, rolled)
  await end('a rollback', back, ROLLBACK)
  await end('a commit after a rollback', back, COMMIT)
  answers.set('a commit after a rollback: delivered', await delivered(peer, rolled))
  const committed = await peer.topic()
  const twice = await half(peer.broker, committed)
  await end('a commit', twice, COMMIT)
  await end('a commit after a commit', twice, COMMIT)
  await end('a rollback after a commit', twice, ROLLBACK)
  answers.set('a commit after a commit: delivered', await delivered(peer, committed))
}

/** Two producers of a group answer a check, each as it thinks. */
async function checks(broker: Broker, answers: Answers): Promise<void> {
  const { peer } = broker
  for (const [what, first, second] of [
    ['commit, then rollback', COMMIT, ROLLBACK],
    ['rollback, then commit', ROLLBACK, COMMIT],
    ['commit twice', COMMIT, COMMIT],
  ] as const) {
    const topic = await peer.topic()
    const checked: Command[] = []
    const onPush = (command: Command): undefined => {
      // Other half messages of the group are open.
      const isOwn = command.code === 39 && decodeMessages(command.body)[0]?.topic === topic
      if (isOwn) checked.push(command)
    }
    const producers = [await broker.connect(onPush), await broker.connect(onPush)]
    for (const [i, producer] of producers.entries()) {
      await heartbeat(producer, `producer ${i}`, [], ['P_bad'])
    }
    await half(producers[0]!, topic, { CHECK_IMMUNITY_TIME_IN_SECONDS: '1' })
    const check = await eventually(async () => checked[0])
    const named = {
      producerGroup: 'P_bad',
      commitLogOffset: check.fields.get('commitLogOffset')!,
      tranStateTableOffset: check.fields.get('tranStateTableOffset')!,
      ...{ msgId: 'id', transactionId: 'id', fromTransactionCheck: true },
    }
    for (const [i, commitOrRollback] of [first, second].entries()) {
      const end = { fields: fields({ ...named, commitOrRollback }) }
      answers.set(`${what}: answer ${i + 1}`, said(await producers[i]!.request(37, end)))
    }
    answers.set(`${what}: delivered`, await delivered(peer, topic))
    for (const producer of producers) producer.close()
  }
}

// An SQL bomb: each just above what we take.

async function bombs({ peer }: Broker, answers: Answers): Promise<void> {
  const [topic, group] = [await peer.topic(), await peer.group()]
  await peer.sent(topic, 1)
  for (const [what, subscription] of [
    ['of 201 levels', `${'('.repeat(201)}a = 1${')'.repeat(201)}`],
    ['of 1,025 comparisons', Array.from({ length: 1025 }, () => 'a = 1').join(' OR ')],
    ['of 16,385 characters', `a = '${'x'.repeat(16_385 - 6)}'`],
    ['that ends early', 'a ='],
    ['of nothing', ''],
  ] as const) {
    const sql = { expressionType: 'SQL92', subscription }
    answers.set(`a pull by a condition ${what}`, said(await peer.pull(topic, group, sql)))
    const body = {
      clientId: 'c',
      group,
      subscriptionData: { topic, subString: subscription, ...sql },
    }
    answers.set(`a check of a condition ${what}`, said(await peer.ask(46, {}, body)))
  }
}

// A property string with stray separators.

const ADDED = /^(CLUSTER|MSG_REGION|TRACE_ON|UNIQ_KEY|TRIVET.*)$/

async function separators({ peer }: Broker, answers: Answers): Promise<void> {
  const shown = (text: string): string =>
    JSON.stringify(text.replaceAll('\u0001', '=').replaceAll('\u0002', ';'))
  const topic = await peer.topic()
  const texts = [
    'a\u00011\u0002\u0002b\u00012',
    '\u0002\u0002a\u00011\u0002',
    'a',
    'a\u0001',
    '\u00011\u0002a\u00011',
    'a\u00011\u00012\u0002b\u00012',
    '\u0001\u0001\u0002\u0002\u0001',
    'a\u00011\u0002a\u00012',
    'KEYS\u0001\u0002TAGS\u0001\u0002a\u00011',
  ]
  for (const i of texts) {
    const { code, remark } = await send(peer.broker, { topic, i })
    answers.set(`a message with ${shown(i)}`, said({ code, remark }))
  }
  const group = await peer.group()
  const messages = await eventually(async () => {
    const { body } = await peer.pull(topic, group)
    return [...recordsOf(body)].length === texts.length && decodeMessages(Buffer.from(body))
  })
  for (const [i, { properties }] of messages.entries()) {
    const own = [...properties].filter(([name]) => !ADDED.test(name)).sort()
    answers.set(`what is read of ${shown(texts[i]!)}`, JSON.stringify(Object.fromEntries(own)))
  }
}

// A POP receipt that is forged, or of another group.

async function receipts({ peer }: Broker, answers: Answers): Promise<void> {
  const [topic, group, other] = [await peer.topic(), await peer.group(), await peer.group()]
  await peer.sent(topic, 1)
  const [mine, theirs] = [group, other].map((name) => new PopClient(peer.broker, topic, name))
  const take = (client: PopClient) =>
    eventually(async () => (await client.take({ invisibleTime: 60_000 }))[0])
  const taken = await take(mine!)
  await take(theirs!)
  for (const [what, handle] of [
    ['of another time', taken.handle.replace(/ (\d+)/, (_, time) => ` ${Number(time) - 1}`)],
    ['of time 0', taken.handle.replace(/ \d+/, ' 0')],
    ['of the year 5138', taken.handle.replace(/ \d+/, ' 99999999999999')],
  ] as const) {
    answers.set(`an ack of a receipt ${what}`, said(await mine!.ack(handle)))
    answers.set(`a batch ack of a receipt ${what}`, said(await mine!.batchAck([handle])))
  }
  for (const [what, extraInfo] of [
    ['that is no text of ours', 'nonsense'],
    ['of words', 'a b c d e f g h'],
    ['of one number too few', taken.handle.split(' ').slice(0, -1).join(' ')],
    ['that is empty', ''],
  ] as const) {
    answers.set(`an ack of a receipt ${what}`, said(await mine!.ack(taken.handle, { extraInfo })))
    const changed = await mine!.change(taken.handle, 1000, { extraInfo })
    answers.set(`a change of a receipt ${what}`, said(changed))
  }
  const offset = { offset: 7 }
  answers.set('an ack beyond the queue', said(await mine!.ack(taken.handle, offset)))
  answers.set('an ack of offset -1', said(await mine!.ack(taken.handle, { offset: -1 })))
  answers.set("an ack of another group's receipt", said(await theirs!.ack(taken.handle)))
  const raw = { topic, consumerGroup: group, queueId: 0, offset: 0, extraInfo: taken.handle }
  answers.set('an ack of queue 9', said(await peer.ask(200_051, { ...raw, queueId: 9 })))
  answers.set('an ack of the right one', said(await mine!.ack(taken.handle)))
}

// 10,000 pulls and POPs held on one queue, and a consumer that never acknowledges.

async function held(broker: Broker, answers: Answers): Promise<void> {
  const { peer } = broker
  const [topic, group] = [await peer.topic(), await peer.group()]
  const readers = await Promise.all(Array.from({ length: 10 }, () => broker.connect()))
  const pulls = Array.from({ length: HELD }, (_, i) =>
    pull(readers[i % 10]!, { topic, group, sysFlag: 6, suspendMs: 30_000 }),
  )
  const early = new Set<unknown>()
  for (const one of pulls) void one.then(() => early.add(one))
  // Answered behind the last of them.
  for (const reader of readers) await send(reader, { topic: await peer.topic() })
  answers.set('held pulls that are answered without a message', `${early.size}`)
  await send(peer.broker, { topic })
  const codes = new Set((await Promise.all(pulls)).map(({ code }) => code))
  answers.set('held pulls, when one comes', [...codes].join())
  const empty = await peer.topic()
  const pops = Array.from({ length: HELD }, (_, i) => {
    const popping = { queueId: 0, pollTime: 10_000, bornTime: Date.now() }
    return new PopClient(readers[i % 10]!, empty, group).pop(popping)
  })
  const refused = (await Promise.all(pops)).filter(({ code }) => code !== 210)
  answers.set('POPs beyond what is held', [...new Set(refused.map(({ code }) => code))].join())
  // Apache's count is a few more or less where many come at once.
  answers.set('POPs that are held', `about ${Math.round((HELD - refused.length) / 100)} hundred`)
  for (const reader of readers) reader.close()
}

async function neverAcks({ peer }: Broker, answers: Answers): Promise<void> {
  const [topic, group] = [await peer.topic(), await peer.group()]
  await peer.sent(topic, 40)
  const client = new PopClient(peer.broker, topic, group)
  const handles = new Set<string>()
  const taken = (count: number): Promise<unknown> =>
    eventually(async () => {
      for (const { handle } of await client.take({ invisibleTime: 10_000 })) handles.add(handle)
      return handles.size >= count
    })
  await taken(40)
  answers.set('a POP when all are popped', said(await client.pop()))
  await taken(80)
  answers.set('messages that were popped, and again at their time', `${handles.size}`)
}

const PROBES: Readonly<Record<string, Probe>> = {
  'a client that lies about its version': lies,
  'half a batch': halves,
  'negative offsets': negatives,
  'a commit for a transaction that is absent or was rolled back': ends,
  'a check-back answered twice, by two producers': checks,
  'an SQL bomb': bombs,
  'a property string with stray separators': separators,
  'a POP receipt that is forged, or of another group': receipts,
  '10,000 pulls and POPs held on one queue': held,
  'a consumer that never acknowledges': neverAcks,
}

const NO_QUEUE = "29 'NAME' has no queue -1; its queues are 0 to 0"
const BAD_BATCH = '29 message 1 of the batch is malformed: its lengths do not fit'
const NOT_HALF = '1 Find prepared transaction message failed'
const ROLLED_BACK = '1 the transaction was rolled back or given up before; it is not committed'
const COMMITTED = '1 the transaction was committed before; it is not rolled back'
const ENDS_EARLY = '23 the SQL92 expression ends at character'
const noHandle = (text: string): string =>
  `1 the extraInfo '${text}' is no receipt handle: eight words are due`
const tooDeep = '23 the SQL92 expression is nested more than 200 deep'
const tooMany = '23 the SQL92 expression has more than 1024 comparisons and values'
const tooLong = '23 the SQL92 expression has 16385 characters; at most 16384 are taken'

/** Apache's answer, and ours; docs/reference/compatibility.md says why. */
const DIFFERENCES: Readonly<Record<string, readonly [theirs: string, ours: string]>> = {
  'a batch that ends within a message': ['1 ArrayIndexOutOfBoundsException', BAD_BATCH],
  'a batch that ends within a length': ['1 BufferUnderflowException', BAD_BATCH],
  'a batch of no bytes': ['1 NullPointerException', '13 the batch has no messages'],
  'a pull from queue -1': [
    '29 queueId[-1] is illegal, topic:[NAME] topicConfig.readQueueNums:[1]',
    "29 a pull from queue -1 of 'NAME'; 0 is the first",
  ],
  'a commit to queue -1': ['0', NO_QUEUE],
  'the offset of queue -1': ['0 offset 1', NO_QUEUE],
  'the end of queue -1': ['0 offset 0', NO_QUEUE],
  'the beginning of queue -1': ['0 offset 0', NO_QUEUE],
  'a search in queue -1': ['0 offset 0', NO_QUEUE],
  'a commit of what is no half message': ['1 NullPointerException', NOT_HALF],
  'a commit within a message': ['1 IllegalArgumentException', NOT_HALF],
  'a commit after a rollback': ['0', ROLLED_BACK],
  'a commit after a rollback: delivered': ['1', '0'],
  'a rollback after a commit': ['0', COMMITTED],
  'a commit after a commit: delivered': ['2', '1'],
  'commit, then rollback: answer 2': ['0', COMMITTED],
  'rollback, then commit: answer 2': ['0', ROLLED_BACK],
  'rollback, then commit: delivered': ['1', '0'],
  'commit twice: delivered': ['2', '1'],
  'a pull by a condition of 201 levels': ['20 NO_MATCHED_MESSAGE', tooDeep],
  'a check of a condition of 201 levels': ['0', tooDeep],
  'a pull by a condition of 1,025 comparisons': ['20 NO_MATCHED_MESSAGE', tooMany],
  'a check of a condition of 1,025 comparisons': ['0', tooMany],
  'a pull by a condition of 16,385 characters': ['20 NO_MATCHED_MESSAGE', tooLong],
  'a check of a condition of 16,385 characters': ['0', tooLong],
  'a pull by a condition that ends early': ['0 FOUND', `${ENDS_EARLY} 4; expected a value`],
  'a check of a condition that ends early': [
    '23 ParseException',
    `${ENDS_EARLY} 4; expected a value`,
  ],
  'a pull by a condition of nothing': [
    "23 parse the consumer's subscription failed",
    `${ENDS_EARLY} 1; expected a value`,
  ],
  'a check of a condition of nothing': ['23 ParseException', `${ENDS_EARLY} 1; expected a value`],
  'an ack of a receipt that is no text of ours': [
    '1 IllegalArgumentException',
    noHandle('nonsense'),
  ],
  'a change of a receipt that is no text of ours': [
    '1 IllegalArgumentException',
    noHandle('nonsense'),
  ],
  'an ack of a receipt of words': ['1 NumberFormatException', noHandle('a b c d e f g h')],
  'a change of a receipt of words': ['1 NumberFormatException', noHandle('a b c d e f g h')],
  'an ack of a receipt that is empty': ['1 IllegalArgumentException', noHandle('')],
  'a change of a receipt that is empty': ['1 IllegalArgumentException', noHandle('')],
}

const brokerAt = async (address: string, nameServer: string): Promise<Broker> => {
  const [host = '', port] = address.split(':')
  return {
    peer: await Peer.connect(address, nameServer),
    port: Number(port),
    connect: (onPush) =>
      dial({ host, port: Number(port), clock: systemClock, ...(onPush && { onPush }) }),
  }
}

let theirs: Broker
let ours: Broker
const leftovers: (() => unknown)[] = []

test.before(async (t) => {
  t.timeout(400_000)
  if (missing !== undefined) return
  const settings = { enablePropertyFilter: 'true', transactionCheckInterval: '1000' }
  const apache = await startApacheRocketmq({ broker: settings })
  leftovers.unshift(() => apache.stop())
  const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }
  const server = await spawnServer(later)
  theirs = await brokerAt(apache.broker, apache.nameServer)
  ours = await brokerAt(server.address('remoting'), server.address('nameServer'))
})
test.after.always(async () => {
  theirs?.peer[Symbol.dispose]()
  ours?.peer[Symbol.dispose]()
  for (const end of leftovers) await end()
})

for (const [name, probe] of Object.entries(PROBES)) {
  testBoth(`${name} is answered as by Apache`, async (t) => {
    t.timeout(180_000)
    const [expected, answers] = [new Map<string, string>(), new Map<string, string>()]
    await probe(theirs, expected)
    await probe(ours, answers)
    t.deepEqual([...answers.keys()], [...expected.keys()])
    for (const [what, answer] of answers) {
      const said = expected.get(what)!
      const known = DIFFERENCES[what] ?? [said, said]
      t.deepEqual([said, answer], [...known], what)
    }
    // Others are served all the same.
    t.is((await send(ours.peer.broker, { topic: await ours.peer.topic() })).code, 0)
  })
}
