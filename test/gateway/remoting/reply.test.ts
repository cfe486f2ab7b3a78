// Request-reply: a responder's answer reaches the connection of the client that asked.
import test, { type ExecutionContext } from 'ava'
import { BODY_BYTES_DEFAULT } from '../../../src/model/limits.ts'
import { decodeProperties, encodeProperties } from '../../../src/model/properties.ts'
import type { Command } from '../../../src/remoting/command.ts'
import type { PushAnswer, RemotingConnection } from '../../../src/remoting/connection.ts'
import { queueOf } from '../../support/broker.ts'
import {
  fields,
  heartbeat,
  type Sent,
  send,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'

const REPLY_TOPIC = 'DefaultCluster_REPLY_TOPIC'
const PUSH_REPLY = 326

const replyTo = (clientId: string, more: Partial<Sent> = {}): Sent => ({
  code: 325,
  topic: REPLY_TOPIC,
  body: Buffer.from('the answer'),
  properties: { MSG_TYPE: 'reply', CORRELATION_ID: 'r-1', REPLY_TO_CLIENT: clientId, TTL: '3000' },
  ...more,
})

/** The client c1, which answers so to what is pushed to it, and a responder. */
async function requester(
  t: ExecutionContext,
  onPush: (command: Command) => PushAnswer | undefined = () => ({ code: 0 }),
) {
  const front = await startFrontEnd(t)
  const heard: Command[] = []
  const asker = await front.connect({
    onPush: (command) => {
      heard.push(command)
      return onPush(command)
    },
  })
  await heartbeat(asker, 'c1', [], ['PG'])
  return { ...front, heard, asker, responder: await front.connect() }
}

test('a reply is pushed to the client that asked, as it was sent', async (t) => {
  const { responder, heard } = await requester(t)
  const answer = await send(responder, replyTo('c1', { e: 3, f: 1, h: 7 }))
  t.is(answer.code, 0)
  t.is(answer.fields.get('msgId'), '0')
  t.is(answer.fields.get('queueId'), '3')
  const [pushed] = heard
  t.is(pushed!.code, PUSH_REPLY)
  t.is(pushed!.body.toString(), 'the answer')
  const named = (name: string): string | undefined => pushed!.fields.get(name)
  t.is(named('topic'), REPLY_TOPIC)
  t.is(named('sysFlag'), '1')
  t.is(named('flag'), '7')
  t.regex(named('bornHost')!, /^127\.0\.0\.1:\d+$/)
  const properties = decodeProperties(Buffer.from(named('properties')!))
  t.is(properties.get('CORRELATION_ID'), 'r-1')
  t.regex(properties.get('PUSH_REPLY_TIME')!, /^\d+$/)
})

test('a reply that is sent to any other topic reaches no client', async (t) => {
  const { responder, heard } = await requester(t)
  await send(responder, { topic: 'T' })
  const answer = await send(responder, replyTo('c1', { topic: 'T' }))
  t.is(answer.code, 1)
  t.is(answer.remark, `a reply is sent to the topic ${REPLY_TOPIC}`)
  t.deepEqual(heard, [])
})

test('the fields of a reply may have their full names', async (t) => {
  const { responder, heard } = await requester(t)
  const properties = encodeProperties([['REPLY_TO_CLIENT', 'c1']]).toString()
  const answer = await responder.request(324, {
    fields: fields({
      ...{ producerGroup: 'PG', topic: REPLY_TOPIC, defaultTopic: 'TBW102', queueId: -1 },
      ...{ defaultTopicQueueNums: 4, sysFlag: 0, bornTimestamp: 1, flag: 0, properties },
    }),
    body: Buffer.from('of Go'),
  })
  t.is(answer.code, 0)
  t.is(answer.fields.get('queueId'), '0')
  t.is(heard[0]!.body.toString(), 'of Go')
})

test('a reply to a client that is not there, or to none, is refused as by RocketMQ', async (t) => {
  const { responder, heard, asker } = await requester(t)
  const missing = await send(responder, replyTo('c9'))
  t.is(missing.code, 1)
  t.is(missing.remark, 'push reply message fail, channel of <c9> not found.')
  const unnamed = await send(responder, replyTo('c1', { properties: { MSG_TYPE: 'reply' } }))
  t.is(unnamed.code, 1)
  t.is(unnamed.remark, 'reply message properties[REPLY_TO_CLIENT] is null')
  await asker.request(35, { fields: fields({ clientID: 'c1', producerGroup: 'PG' }) })
  t.is((await send(responder, replyTo('c1'))).code, 1)
  t.is(heard.length, 0)
})

test('a requester that does not take the reply is a failure of the reply', async (t) => {
  const { responder } = await requester(t, () => ({ code: 1 }))
  const answer = await send(responder, replyTo('c1'))
  t.is(answer.code, 1)
  t.is(answer.remark, 'push reply message to c1 fail.')
})

test('a requester that goes away is a failure of the reply', async (t) => {
  let asker: RemotingConnection | undefined
  const joined = await requester(t, () => {
    asker!.close()
    return undefined
  })
  asker = joined.asker
  const answer = await send(joined.responder, replyTo('c1'))
  t.is(answer.code, 1)
  t.is(answer.remark, 'push reply message to c1 fail.')
})

test('of two connections with one client id the newest is asked, and the other when that is gone', async (t) => {
  const { connect, heard, responder } = await requester(t)
  const later: Command[] = []
  const again = await connect({
    onPush: (command) => {
      later.push(command)
      return { code: 0 }
    },
  })
  await heartbeat(again, 'c1', [], ['PG'])
  await send(responder, replyTo('c1'))
  t.deepEqual([heard.length, later.length], [0, 1])
  await again.request(35, { fields: fields({ clientID: 'c1', producerGroup: 'PG' }) })
  await send(responder, replyTo('c1'))
  t.deepEqual([heard.length, later.length], [1, 1])
})

test('of two users with one client id it is the first whose client has the reply', async (t) => {
  const rights = { admin: false, consume: ['*'], create: ['*'], publish: ['*'] }
  const { connect } = await startFrontEnd(t, {
    users: {
      asker: { ...rights, secretKey: 'asker-secret' },
      eve: { ...rights, secretKey: 'eve-secret' },
    },
  })
  const heard: string[] = []
  const as = async (accessKey: string): Promise<RemotingConnection> => {
    const onPush = (): PushAnswer => {
      heard.push(accessKey)
      return { code: 0 }
    }
    const connection = await connect({
      credentials: { accessKey, secretKey: `${accessKey}-secret` },
      onPush,
    })
    await heartbeat(connection, 'c1', [], ['PG'])
    return connection
  }
  const [asker] = [await as('asker'), await as('eve')]
  t.is((await send(asker, replyTo('c1'))).code, 0)
  t.deepEqual(heard, ['asker'])
})

test('a reply may be as long as a message', async (t) => {
  const { responder, heard } = await requester(t)
  const body = Buffer.alloc(BODY_BYTES_DEFAULT)
  t.is((await send(responder, replyTo('c1', { body }))).code, 0)
  t.is(heard[0]!.body.length, BODY_BYTES_DEFAULT)
  const longer = await send(responder, replyTo('c1', { body: Buffer.alloc(body.length + 1) }))
  t.is(longer.code, 13)
})

test('a reply needs the right to publish to its topic, which has to be there', async (t) => {
  const none = { admin: false, consume: [], create: [] }
  const { connect } = await startFrontEnd(t, {
    users: {
      replier: { ...none, publish: [REPLY_TOPIC, 'T'], secretKey: 'replier-secret' },
      other: { ...none, publish: ['T'], secretKey: 'other-secret' },
    },
  })
  const as = (accessKey: string): Promise<RemotingConnection> =>
    connect({ credentials: { accessKey, secretKey: `${accessKey}-secret` } })
  const [replier, other] = [await as('replier'), await as('other')]
  t.is((await send(other, replyTo('c1'))).code, 16)
  t.is((await send(replier, replyTo('c1'))).code, 1)
  t.is((await send(replier, replyTo('c1', { topic: 'T' }))).code, 17)
})

test('a reply to a topic goes to no light queue that it names', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const responder = await connect()
  await send(responder, { topic: 'T' })
  const properties = { REPLY_TO_CLIENT: 'topic:T', INNER_MULTI_DISPATCH: '%LMQ%others' }
  t.is((await send(responder, replyTo('', { properties }))).code, 0)
  const { maxOffset } = await broker.cursors.range(queueOf('%LMQ%$lmq/others'))
  t.is(Number(maxOffset), 0)
})
