// Light queues as native clients know them: `%LMQ%name`, named by messages in INNER_MULTI_DISPATCH.
import test from 'ava'
import { REQUEST } from '../../../src/remoting/codes.ts'
import type { RemotingConnection } from '../../../src/remoting/connection.ts'
import {
  decodeLockedQueues,
  encodeLockRequest,
} from '../../../src/remoting/requests/queue-locks.ts'
import { fields, pull, send, startFrontEnd } from '../../support/native/native-front-end.ts'
import { decodeMessages } from '../../support/native/wire-message.ts'

const NAMES = { INNER_MULTI_DISPATCH: '%LMQ%a,%LMQ%$p$b' }
const SUBSCRIBED = { sysFlag: 4, subscription: '*' }

const ask = (
  connection: RemotingConnection,
  code: number,
  values: Record<string, string | number>,
) =>
  connection.request(code, {
    fields: fields({ topic: '%LMQ%a', queueId: 0, consumerGroup: 'G', group: 'G', ...values }),
  })

test('messages of several queues have the offsets of the light queue that they are pulled from', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (const e of [0, 1, 1]) await send(connection, { topic: 'T', e, properties: NAMES })
  for (const topic of ['%LMQ%a', '%LMQ%$p$b']) {
    const answer = await pull(connection, { topic, group: 'G', offset: 1, ...SUBSCRIBED })
    const [second, third] = decodeMessages(answer.body)
    t.is(answer.fields.get('nextBeginOffset'), '3')
    t.deepEqual([second?.topic, third?.topic], ['T', 'T'])
    t.deepEqual([second?.queueOffset, third?.queueOffset].map(Number), [1, 2])
  }
})

test('tools are told of a light queue by the name that clients know', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  await send(connection, { topic: 'T', properties: NAMES })
  await pull(connection, { topic: '%LMQ%a', group: 'G', ...SUBSCRIBED })
  t.is((await ask(connection, 15, { commitOffset: 1 })).code, 0)
  t.is((await ask(connection, 14, {})).fields.get('offset'), '1')
  t.is((await ask(connection, 30, {})).fields.get('offset'), '1')
  for (const [code, topic] of [
    [208, '%LMQ%a'],
    [43, ''],
    [343, ''],
  ] as const) {
    const told = (await ask(connection, code, { topic })).body.toString()
    t.true(told.includes('%LMQ%a'), `${code}: ${told}`)
    t.false(told.includes('$lmq'), `${code}: ${told}`)
  }
  t.true((await ask(connection, 300, {})).body.toString().includes('"G"'))
})

test('a light queue is locked for a consumer in order, also before its first message', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  await pull(connection, { topic: '%LMQ%b', group: 'G', ...SUBSCRIBED })
  const lock = async (clientId: string, ...queueIds: number[]) => {
    const queues = queueIds.map((queueId) => ({ topic: '%LMQ%a', brokerName: 'x', queueId }))
    const body = encodeLockRequest({ clientId, consumerGroup: 'G', queues })
    const locked = decodeLockedQueues((await connection.request(REQUEST.lockQueues, { body })).body)
    return locked.map(({ topic, queueId }) => `${topic} ${queueId}`)
  }
  t.deepEqual(await lock('one', 0, 1), ['%LMQ%a 0'])
  t.deepEqual(await lock('two', 0), [])
  await send(connection, { topic: 'T', properties: NAMES })
  const answer = await pull(connection, { topic: '%LMQ%a', group: 'G', ...SUBSCRIBED })
  t.is(decodeMessages(answer.body).length, 1)
})

test('a light queue is deleted as a topic is', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  await send(connection, { topic: 'T', properties: NAMES })
  t.is((await ask(connection, 215, {})).code, 0)
  t.is((await ask(connection, 30, {})).fields.get('offset'), '0')
  t.is((await ask(connection, 215, {})).code, 0)
})

test('naming a light queue takes the right to publish to it, pulling it the right to consume', async (t) => {
  const rights = { admin: false, create: [] }
  const users = {
    root: { admin: true, secretKey: 'root', publish: [], consume: [], create: [] },
    both: { ...rights, secretKey: 'both', publish: ['T', '%LMQ%*'], consume: ['%LMQ%a', 'G'] },
    topic: { ...rights, secretKey: 'topic', publish: ['T'], consume: ['T', 'G'] },
  }
  const { connect } = await startFrontEnd(t, { users })
  const as = (accessKey: string) => connect({ credentials: { accessKey, secretKey: accessKey } })
  const [root, both, topic] = [await as('root'), await as('both'), await as('topic')]
  await send(root, { topic: 'T' })
  const pulled = { topic: '%LMQ%a', group: 'G', ...SUBSCRIBED }
  t.is((await send(both, { topic: 'T', properties: NAMES })).code, 0)
  t.is((await pull(both, pulled)).code, 0)
  t.is((await send(topic, { topic: 'T' })).code, 0)
  t.is((await send(topic, { topic: 'T', properties: NAMES })).code, 16)
  t.is((await pull(topic, pulled)).code, 16)
})

test('a light queue is reached by the name that rights are for, and by no other', async (t) => {
  const rights = { admin: false, create: [], publish: ['T', '%LMQ%$*'], consume: ['%LMQ%$*', 'G'] }
  const root = { admin: true, secretKey: 'root', publish: [], consume: [], create: [] }
  const { connect } = await startFrontEnd(t, {
    users: { root, lite: { ...rights, secretKey: 'l' } },
  })
  const admin = await connect({ credentials: { accessKey: 'root', secretKey: 'root' } })
  await send(admin, { topic: 'T', properties: { INNER_MULTI_DISPATCH: '%LMQ%secret' } })
  const lite = await connect({ credentials: { accessKey: 'lite', secretKey: 'l' } })
  const topic = '%LMQ%$lmq/secret'
  t.is((await send(lite, { topic: 'T', properties: { INNER_MULTI_DISPATCH: topic } })).code, 13)
  t.is((await pull(lite, { topic, group: 'G', ...SUBSCRIBED })).code, 17)
})
