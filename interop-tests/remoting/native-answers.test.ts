// Plain requests at the edges of what there is, asked of Apache RocketMQ 5.5.0 and of our server: the same code and
// offset, but for what is named here.
import { recordsOf } from '../../src/model/record.ts'
import type { Command } from '../../src/remoting/command.ts'
import { heartbeat, send } from '../../test/support/native/native-front-end.ts'
import { decodeMessages } from '../../test/support/native/wire-message.ts'
import { eventually } from '../../test/support/waiting.ts'
import {
  type Answers,
  besideApache,
  type Differences,
  type Probe,
} from '../support/beside-apache.ts'
import type { Peer } from '../support/compatibility-peer.ts'

const said = ({ code, fields }: Command): string => {
  const offset = fields.get('nextBeginOffset') ?? fields.get('offset')
  return offset === undefined ? `${code}` : `${code} ${offset}`
}

async function pulls(peer: Peer, answers: Answers): Promise<void> {
  const [topic, empty, group] = [await peer.topic(), await peer.topic(), await peer.group()]
  await peer.sent(topic, 2)
  for (const [what, on, shape] of [
    ['at the end', topic, { offset: 2 }],
    ['one beyond the end', topic, { offset: 3 }],
    ['far beyond the end', topic, { offset: 1000 }],
    ['held, beyond the end', topic, { offset: 3, sysFlag: 6, suspendMs: 5_000 }],
    ['below 0', topic, { offset: -1 }],
    ['of queue 1 of 1', topic, { queueId: 1 }],
    ['of an empty queue', empty, { offset: 0 }],
    ['of an empty queue, at 7', empty, { offset: 7 }],
  ] as const) {
    answers.set(`a pull ${what}`, said(await peer.pull(on, group, shape)))
  }
  for (const maxMessages of [0, -1]) {
    const answer = await peer.pull(topic, group, { maxMsgNums: maxMessages })
    const count = [...recordsOf(answer.body)].length
    answers.set(`a pull of ${maxMessages} messages`, `${said(answer)}, ${count}`)
  }
  const many = await peer.topic()
  await peer.sent(many, 40)
  const { body } = await peer.pull(many, group, { maxMsgNums: 1000 })
  answers.set('messages of a pull of 1,000', `${[...recordsOf(body)].length}`)
}

async function offsets(peer: Peer, answers: Answers): Promise<void> {
  const [topic, empty, group] = [await peer.topic(), await peer.topic(), await peer.group()]
  await peer.sent(topic, 5)
  const at = { consumerGroup: group, topic, queueId: 0 }
  const note = async (what: string, asked: Promise<Command>): Promise<void> => {
    answers.set(what, said(await asked))
  }
  await note('the offset of a new group', peer.ask(14, at))
  await note('the same, not 0', peer.ask(14, { ...at, setZeroIfNotFound: false }))
  await note('the offset in an empty queue', peer.ask(14, { ...at, topic: empty }))
  await note('a commit', peer.ask(15, { ...at, commitOffset: 4 }))
  await note('the offset then', peer.ask(14, at))
  await note('a commit further back', peer.ask(15, { ...at, commitOffset: 2 }))
  await note('the offset after that', peer.ask(14, at))
  await note(
    'a commit to a topic that is not there',
    peer.ask(15, { ...at, topic: 'NoSuch', commitOffset: 1 }),
  )
  await note(
    'a commit of a group that is not there',
    peer.ask(15, { ...at, consumerGroup: 'G_nosuch', commitOffset: 1 }),
  )
  for (const [code, what] of [
    [30, 'end'],
    [31, 'beginning'],
  ] as const) {
    await note(`the ${what} of a queue`, peer.ask(code, { topic, queueId: 0 }))
    await note(`the ${what} of an empty queue`, peer.ask(code, { topic: empty, queueId: 0 }))
  }
  for (const boundaryType of ['lower', 'upper']) {
    for (const [what, timestamp] of [
      ['0', 0],
      ['the future', Date.now() + 1e9],
    ] as const) {
      await note(
        `a search for ${what}, ${boundaryType}`,
        peer.ask(29, { topic, queueId: 0, timestamp, boundaryType }),
      )
      await note(
        `a search for ${what} in an empty queue, ${boundaryType}`,
        peer.ask(29, { topic: empty, queueId: 0, timestamp, boundaryType }),
      )
    }
  }
}

const NAMES = [
  ['of 127 characters', 'T'.repeat(127)],
  ['of 128 characters', 'T'.repeat(128)],
  ['with a blank', 'a b'],
  ['of no characters', ''],
  ['of the broker', 'broker-a'],
  ['of the cluster', 'DefaultCluster'],
  ['TBW102', 'TBW102'],
  ['SCHEDULE_TOPIC_XXXX', 'SCHEDULE_TOPIC_XXXX'],
  ['OFFSET_MOVED_EVENT', 'OFFSET_MOVED_EVENT'],
  ['SELF_TEST_TOPIC', 'SELF_TEST_TOPIC'],
  ['TRANS_CHECK_MAX_TIME_TOPIC', 'TRANS_CHECK_MAX_TIME_TOPIC'],
] as const

const DELAYS = [
  ['DELAY', '-3'],
  ['DELAY', '0'],
  ['DELAY', '99'],
  ['TIMER_DELIVER_MS', '1000'],
  ['TIMER_DELIVER_MS', `${Date.now() + 4 * 86_400_000}`],
  ['TIMER_DELIVER_MS', 'abc'],
  ['TIMER_DELAY_SEC', '2'],
  ['TIMER_DELAY_MS', '1500'],
] as const

async function sends(peer: Peer, answers: Answers): Promise<void> {
  const topic = await peer.topic()
  const note = async (what: string, shape: object): Promise<void> => {
    const { code } = await send(peer.broker, { topic, ...shape })
    answers.set(what, `${code}`)
  }
  await note('a body of 4 MiB', { body: Buffer.alloc(4 * 1024 * 1024) })
  await note('a body of one byte more', { body: Buffer.alloc(4 * 1024 * 1024 + 1) })
  for (const length of [32_600, 32_768]) {
    await note(`${length} bytes of properties`, { i: `a\u0001${'x'.repeat(length - 2)}` })
  }
  for (const [what, name] of NAMES) {
    await note(`a send to a name ${what}`, { topic: name })
  }
  for (const [name, value] of DELAYS) {
    await note(`a send with ${name}=${value.length > 8 ? 'in four days' : value}`, {
      properties: { [name]: value },
    })
  }
  const four = await peer.topic({ readQueueNums: 4, writeQueueNums: 4 })
  for (const priority of ['0', '3', '9', '-1', 'abc']) {
    const { code, fields } = await send(peer.broker, {
      topic: four,
      e: 2,
      properties: { _SYS_MSG_PRIORITY_: priority },
    })
    answers.set(`the queue of priority ${priority}`, `${code} ${fields.get('queueId')}`)
  }
}

const noting =
  (answers: Answers) =>
  (what: string, { code }: Command): void =>
    void answers.set(what, `${code}`)

async function types(peer: Peer, answers: Answers): Promise<void> {
  const note = noting(answers)
  for (const type of ['NORMAL', 'FIFO', 'DELAY', 'TRANSACTION', 'LITE', 'PRIORITY']) {
    note(
      `a topic of type ${type}`,
      await peer.putTopic(peer.name('Compat'), { attributes: `+message.type=${type}` }),
    )
  }
  note(
    'a topic of type BOGUS',
    await peer.putTopic(peer.name('Compat'), { attributes: '+message.type=BOGUS' }),
  )
  note(
    'an attribute that is none',
    await peer.putTopic(peer.name('Compat'), { attributes: '+nosuch=1' }),
  )
  note(
    'an attribute without a sign',
    await peer.putTopic(peer.name('Compat'), { attributes: 'message.type=FIFO' }),
  )
}

async function locks(peer: Peer, answers: Answers): Promise<void> {
  const group = await peer.group()
  const note = noting(answers)
  const shrunk = await peer.topic({ readQueueNums: 4, writeQueueNums: 4 })
  await peer.putTopic(shrunk, { readQueueNums: 4, writeQueueNums: 2 })
  note('a send to a queue that is read only', await send(peer.broker, { topic: shrunk, e: 3 }))
  note('a send beyond all queues', await send(peer.broker, { topic: shrunk, e: 4 }))
  const unreadable = await peer.topic({ perm: 2 })
  note('a pull of a topic that may not be read', await peer.pull(unreadable, group))
  const off = peer.name('G_off')
  await peer.putGroup(off, { consumeEnable: false })
  const topic = await peer.topic()
  await peer.sent(topic, 1)
  note('a pull of a group that may not consume', await peer.pull(topic, off))
  const lock = (clientId: string, name: string) => ({
    clientId,
    consumerGroup: name,
    mqSet: [{ brokerName: 'broker-a', queueId: 0, topic }],
  })
  const locked = async (clientId: string): Promise<string> => {
    const { code, body } = await peer.ask(41, {}, lock(clientId, group))
    return `${code} ${Buffer.from(body).toString().includes('queueId') ? 'granted' : 'none'}`
  }
  answers.set('a lock', await locked('one'))
  answers.set("another client's lock", await locked('two'))
  note('an unlock', await peer.ask(42, {}, lock('one', group)))
  answers.set('the lock after that', await locked('two'))
  note('a heartbeat', await heartbeat(peer.broker, 'one', [{ group, topics: { [topic]: '*' } }]))
  note('an unknown code', await peer.ask(9999))
  note('the connections of a group without members', await peer.ask(203, { consumerGroup: off }))
}

async function deletions(peer: Peer, answers: Answers): Promise<void> {
  const topic = await peer.topic()
  await peer.sent(topic, 3)
  const [kept, gone] = [await peer.group(), await peer.group()]
  for (const consumerGroup of [kept, gone]) {
    await peer.ask(15, { consumerGroup, topic, queueId: 0, commitOffset: 2 })
  }
  const note = async (what: string, asked: Promise<Command>): Promise<void> => {
    answers.set(what, said(await asked))
  }
  await note('deleting a group', peer.ask(207, { groupName: kept, cleanOffset: false }))
  await note('deleting one with its offsets', peer.ask(207, { groupName: gone, cleanOffset: true }))
  for (const [what, group] of [
    ['kept', kept],
    ['forgotten', gone],
  ] as const) {
    await peer.putGroup(group)
    await note(
      `the offset that is ${what}`,
      peer.ask(14, { consumerGroup: group, topic, queueId: 0 }),
    )
  }
  await note('deleting a topic', peer.ask(215, { topic }))
  await note('deleting it again', peer.ask(215, { topic }))
  await note('the end of a queue of a deleted topic', peer.ask(30, { topic, queueId: 0 }))
  await peer.putTopic(topic)
  await note('the end when it is made again', peer.ask(30, { topic, queueId: 0 }))
  await note(
    'the offset in the queue made again',
    peer.ask(14, { consumerGroup: kept, topic, queueId: 0 }),
  )
}

async function retries(peer: Peer, answers: Answers): Promise<void> {
  const [topic, group] = [await peer.topic(), await peer.group()]
  await peer.sent(topic, 1)
  const { body } = await peer.pull(topic, group)
  const [record] = [...recordsOf(body)]
  const back = (changed: object) =>
    peer.ask(36, {
      ...{ offset: Number(record!.position), group, delayLevel: -1, originMsgId: 'x' },
      ...{ originTopic: topic, unitMode: false, maxReconsumeTimes: 16, ...changed },
    })
  answers.set('a message sent back for good', said(await back({})))
  const dead = `%DLQ%${group}`
  const letters = await eventually(async () => {
    const pulled = await peer.pull(dead, group)
    const all = decodeMessages(Buffer.from(pulled.body))
    return all.length > 0 && all
  })
  answers.set(
    'dead letters',
    `${letters.length}, ${letters[0]!.properties.get('RETRY_TOPIC')}`.replace(topic, 'TOPIC'),
  )
  answers.set('the end of the dead letters', said(await peer.ask(30, { topic: dead, queueId: 0 })))
  answers.set(
    'a message sent back by an unknown group',
    said(await back({ group: peer.name('G_new') })),
  )
}

const PROBES: Readonly<Record<string, Probe>> = {
  'pulls at the edges of a queue': pulls,
  'offsets of groups and ends of queues': offsets,
  'sends at the limits, and to odd names': sends,
  'types and attributes of topics': types,
  'permissions, counts of queues, locks': locks,
  'what is deleted, and made again': deletions,
  'messages that are sent back': retries,
}

const DIFFERENCES: Differences = {
  'the offset in an empty queue': ['22', '0 0'],
  'the offset in the queue made again': ['22', '0 0'],
  'the end of a queue of a deleted topic': ['0 0', '17'],
}

await besideApache('plain requests beside Apache RocketMQ', {
  probes: PROBES,
  differences: DIFFERENCES,
})
