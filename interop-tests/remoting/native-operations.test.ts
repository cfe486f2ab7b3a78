// What operators and rarer clients ask by single requests, asked of Apache RocketMQ 5.5.0 and of our server: the same
// answers, but for what is named here.
import { systemClock } from '../../src/clock.ts'
import type { Command } from '../../src/remoting/command.ts'
import { fields, send } from '../../test/support/native/native-front-end.ts'
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

async function recalls(peer: Peer, answers: Answers): Promise<void> {
  const topic = await peer.topic()
  const delayed = async (
    properties: Readonly<Record<string, string>>,
    to = topic,
  ): Promise<string> => {
    const answer = await send(peer.broker, { topic: to, properties })
    return answer.fields.get('recallHandle') ?? ''
  }
  const recall = async (what: string, recallHandle: string, of = topic): Promise<void> => {
    const asked = { producerGroup: 'PG', topic: of, recallHandle }
    answers.set(`a recall ${what}`, said(await peer.ask(370, asked)))
  }
  const inAMinute = { TIMER_DELIVER_MS: `${systemClock.now() + 60_000}` }
  const handle = await delayed(inAMinute)
  answers.set('a handle for a time', `${handle !== ''}`)
  for (const [what, properties] of [
    ['for a time that is over', { TIMER_DELIVER_MS: '1000' }],
    ['for a level', { DELAY: '3' }],
    ['without a delay', {}],
  ] as const) {
    answers.set(`a handle ${what}`, `${(await delayed(properties)) !== ''}`)
  }
  await recall('of a message that waits', handle)
  await recall('of the same again', handle)
  await recall('by nonsense', 'nonsense')
  await recall('by nothing', '')
  await recall('in a topic that is not there', handle, 'NoSuch')
  await recall('in another topic', await delayed(inAMinute), await peer.topic())
  const delivered = await peer.topic()
  const soon = await delayed({ TIMER_DELAY_MS: '1000' }, delivered)
  await eventually(async () => (await peer.end(delivered)) > 0 || undefined)
  await recall('of what was delivered', soon, delivered)
}

async function searches(peer: Peer, answers: Answers): Promise<void> {
  const [topic, group] = [await peer.topic(), await peer.group()]
  await peer.sent(topic, 1)
  for (let count = 2; count <= 4; count++) {
    // Each at a millisecond of its own.
    const last = systemClock.now()
    await peer.until(async () => systemClock.now() > last + 1)
    await peer.sent(topic, 1)
    await peer.until(async () => (await peer.end(topic)) === count)
  }
  const stored = decodeMessages(Buffer.from((await peer.pull(topic, group)).body))
  const times = stored.map(({ storeTimestamp }) => storeTimestamp)
  for (const boundaryType of ['lower', 'upper', undefined]) {
    const note = async (what: string, timestamp: number): Promise<void> => {
      const asked = { topic, queueId: 0, timestamp, ...(boundaryType && { boundaryType }) }
      answers.set(`${what}, ${boundaryType}`, said(await peer.ask(29, asked)))
    }
    await note('a search for a time before all', times[0]! - 1)
    for (const [i, time] of times.entries()) await note(`a search for the time of ${i}`, time)
    await note('a search for a time between two', times[1]! + 1)
    await note('a search for a time after all', times[3]! + 1)
    await note('a search for a time below 0', -1)
  }
}

async function resets(peer: Peer, answers: Answers): Promise<void> {
  const [topic, group] = [await peer.topic(), await peer.group()]
  await peer.sent(topic, 5)
  const at = { consumerGroup: group, topic, queueId: 0 }
  const reset = (changed: object): Promise<Command> =>
    peer.ask(222, { topic, group, timestamp: 0, isForce: true, ...changed })
  const pulled = async (offset: number): Promise<string> =>
    said(await peer.pull(topic, group, { offset }))
  await peer.ask(15, { ...at, commitOffset: 5 })
  answers.set('a reset to the beginning', said(await reset({})))
  answers.set('the offset then', said(await peer.ask(14, at)))
  answers.set('the pull of a member that stood at the end', await pulled(5))
  answers.set('its next pull', await pulled(0))
  answers.set('a reset to offset 2', said(await reset({ timestamp: -1, offset: 2, queueId: 0 })))
  answers.set('the offset after that', said(await peer.ask(14, at)))
  answers.set('a pull of that', await pulled(5))
  answers.set('a reset to offset 99', said(await reset({ timestamp: -1, offset: 99, queueId: 0 })))
  answers.set('a reset to now', said(await reset({ timestamp: -1 })))
  answers.set('the offset at the end', said(await peer.ask(14, at)))
  answers.set('a reset in a topic that is not there', said(await reset({ topic: 'NoSuch' })))
  answers.set(
    'a reset of a group that is not there',
    said(await reset({ group: peer.name('G_none') })),
  )
}

const permOf = async (peer: Peer, topic: string): Promise<string> => {
  const asked = { fields: fields({ topic, acceptStandardJsonOnly: true }) }
  const { code, body } = await peer.names.request(105, asked)
  if (code !== 0) return `${code}`
  const { queueDatas } = JSON.parse(Buffer.from(body).toString())
  return queueDatas.map(({ perm }: { perm: number }) => perm).join()
}

const untilRouted = (peer: Peer, topic: string): Promise<unknown> =>
  eventually(async () => !(await permOf(peer, topic)).startsWith('17') || undefined)

async function wipes(peer: Peer, answers: Answers): Promise<void> {
  const [topic, readOnly] = [await peer.topic(), await peer.topic({ perm: 4 })]
  for (const one of [topic, readOnly]) await untilRouted(peer, one)
  const brokerName = { fields: fields({ brokerName: 'broker-a' }) }
  const note = async (what: string, of: string): Promise<void> =>
    void answers.set(what, await permOf(peer, of))
  answers.set('a wipe', `${(await peer.names.request(205, brokerName)).code}`)
  await note('a topic that may be written, wiped', topic)
  const later = await peer.topic()
  await untilRouted(peer, later)
  await note('it when another topic was made', topic)
  await note('a topic made after the wipe', later)
  await peer.putGroup(peer.name('G_wiped'))
  await note('it when a group was made', topic)
  answers.set('the end of the wipe', `${(await peer.names.request(327, brokerName)).code}`)
  await note('it after that', topic)
  await note('a topic that was made to be read only, after that', readOnly)
  const nowhere = { fields: fields({ brokerName: 'broker-none' }) }
  answers.set(
    'a wipe of a broker that is not there',
    `${(await peer.names.request(205, nowhere)).code}`,
  )
}

async function orders(peer: Peer, answers: Answers): Promise<void> {
  const topic = await peer.topic({ order: true })
  await untilRouted(peer, topic)
  const kv = { namespace: 'ORDER_TOPIC_CONFIG', key: topic }
  const put = { fields: fields({ ...kv, value: 'broker-a:1' }) }
  answers.set('the order of a topic, put', `${(await peer.names.request(100, put)).code}`)
  const got = await peer.names.request(101, { fields: fields(kv) })
  answers.set('the order of a topic, got', `${got.code} ${got.fields.get('value')}`)
  const asked = { fields: fields({ topic, acceptStandardJsonOnly: true }) }
  const route = JSON.parse(Buffer.from((await peer.names.request(105, asked)).body).toString())
  answers.set('the order in its route', `${route.orderTopicConf ?? 'none'}`)
  const { body } = await peer.ask(351, { topic })
  answers.set('the order in its settings', `${JSON.parse(Buffer.from(body).toString()).order}`)
}

async function namespaces(peer: Peer, answers: Answers): Promise<void> {
  const within = (name: string): string => `MQ_INST_1%${name}`
  const [topic, group] = [within(peer.name('Compat')), within(peer.name('G_compat'))]
  answers.set('a topic in a namespace', said(await peer.putTopic(topic)))
  answers.set('a group in a namespace', said(await peer.putGroup(group)))
  const named = { ns: 'MQ_INST_1', nsd: 'true' }
  answers.set('a send within', said(await send(peer.broker, { topic, ...named })))
  await peer.until(async () => (await peer.end(topic)) === 1)
  const pulled = await peer.pull(topic, group, named)
  const [message] = decodeMessages(Buffer.from(pulled.body))
  answers.set('a pull within', `${said(pulled)} ${message?.topic === topic}`)
  const back = {
    ...{ offset: Number(message!.position), group, delayLevel: -1, originMsgId: 'x' },
    ...{ originTopic: topic, unitMode: false, maxReconsumeTimes: 16, ...named },
  }
  answers.set('a message sent back within', said(await peer.ask(36, back)))
  const letters = await eventually(async () => {
    const { body } = await peer.pull(`%DLQ%${group}`, group)
    const all = decodeMessages(Buffer.from(body))
    return all.length > 0 && all
  })
  answers.set('its dead letter', `${letters[0]!.properties.get('RETRY_TOPIC') === topic}`)
}

async function liteTopics(peer: Peer, answers: Answers): Promise<void> {
  const parent = peer.name('Compat')
  const attributes = '+message.type=LITE'
  answers.set('a parent of lite topics', said(await peer.putTopic(parent, { attributes })))
  const bound = { attributes: { '+lite.bind.topic': parent } }
  const group = peer.name('G_lite')
  answers.set('a group bound to it', said(await peer.putGroup(group, bound)))
  const plain = await peer.group()
  for (const [what, properties] of [
    ['with a lite topic', { __LITE_TOPIC: 'L1' }],
    ['without one', {}],
  ] as const) {
    answers.set(`a send ${what}`, said(await send(peer.broker, { topic: parent, properties })))
  }
  await peer.until(async () => (await peer.end(parent)) === 2)
  const { body } = await peer.pull(parent, plain)
  const found = decodeMessages(Buffer.from(body))
  answers.set('a pull of the parent', found.map((one) => one.properties.get('__LITE_TOPIC')).join())
}

const PROBES: Readonly<Record<string, Probe>> = {
  'recalls of delayed messages': recalls,
  'searches by time': searches,
  'resets of offsets': resets,
  'writes that a name server wipes': wipes,
  'topics in order': orders,
  'names in a namespace': namespaces,
  'lite topics': liteTopics,
}

const DIFFERENCES: Differences = {
  'a handle for a level': ['false', 'true'],
  'a group bound to it': ['0', '29'],
}

await besideApache('requests of operators beside Apache RocketMQ', {
  probes: PROBES,
  differences: DIFFERENCES,
  apache: { broker: { recallMessageEnable: 'true' } },
})
