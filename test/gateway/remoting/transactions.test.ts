import test from 'ava'
import { parseOffsetMessageId } from '../../../src/model/message-id.ts'
import { HALF_TOPIC } from '../../../src/model/names.ts'
import { REQUEST } from '../../../src/remoting/codes.ts'
import type { Command } from '../../../src/remoting/command.ts'
import type { RemotingConnection } from '../../../src/remoting/connection.ts'
import { drain } from '../../support/broker.ts'
import {
  fields,
  type NativeFrontEnd,
  pull,
  send,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'
import { decodeMessages } from '../../support/native/wire-message.ts'

const COMMIT = 8
const ROLLBACK = 12
const PROPERTIES = { TRAN_MSG: 'true', PGROUP: 'PG', UNIQ_KEY: 'id-1' }

/** The answer to a half message that was born now. */
function half({ clock }: NativeFrontEnd, connection: RemotingConnection, body = 'half') {
  const properties = PROPERTIES
  return send(connection, { topic: 'T', properties, body: Buffer.from(body), f: 4, g: clock.now() })
}

interface Ended {
  readonly outcome: number
  readonly group?: string
  readonly tableOffset?: number
  readonly position?: number
}

function endFields(sent: Command, ended: Ended): Map<string, string> {
  const { outcome, group = 'PG', tableOffset = Number(sent.fields.get('queueOffset')) } = ended
  const { position = parseOffsetMessageId(sent.fields.get('msgId')!).position } = ended
  return fields({
    ...{ producerGroup: group, tranStateTableOffset: tableOffset, commitLogOffset: position },
    ...{ commitOrRollback: outcome, msgId: 'id-1', transactionId: 'id-1' },
  })
}

const end = (connection: RemotingConnection, sent: Command, ended: Ended): Promise<Command> =>
  connection.request(REQUEST.endTransaction, { fields: endFields(sent, ended) })

const bodies = async (connection: RemotingConnection): Promise<string[]> => {
  const answer = await pull(connection, { topic: 'T' })
  return answer.code === 0 ? decodeMessages(answer.body).map(({ body }) => body.toString()) : []
}

test('a half message is answered with its transaction, and is there once it is committed', async (t) => {
  const front = await startFrontEnd(t)
  const connection = await front.connect()
  const sent = await half(front, connection)
  t.is(sent.code, 0)
  t.is(sent.fields.get('transactionId'), 'id-1')
  t.deepEqual(await bodies(connection), [])
  t.is((await end(connection, sent, { outcome: COMMIT })).code, 0)
  const [message] = decodeMessages((await pull(connection, { topic: 'T' })).body)
  t.is(message!.body.toString(), 'half')
  t.is(message!.sysFlag, COMMIT)
  t.is(message!.properties.get('TRAN_MSG'), 'true')
  t.is(message!.properties.get('__transactionId__'), 'id-1')
})

test('a commit after a commit delivers nothing more, nor does one after a rollback', async (t) => {
  const front = await startFrontEnd(t)
  const connection = await front.connect()
  const committed = await half(front, connection, 'committed')
  t.is((await end(connection, committed, { outcome: COMMIT })).code, 0)
  t.is((await end(connection, committed, { outcome: COMMIT })).code, 0)
  t.is((await end(connection, committed, { outcome: ROLLBACK })).code, 1)
  const other = await half(front, connection, 'rolled back')
  t.is((await end(connection, other, { outcome: ROLLBACK })).code, 0)
  const late = await end(connection, other, { outcome: COMMIT })
  t.is(late.code, 1)
  t.regex(late.remark!, /rolled back/)
  t.deepEqual(await bodies(connection), ['committed'])
})

for (const [name, ended, remark] of [
  ['another group', { group: 'others' }, 'The producer group wrong'],
  ['another table offset', { tableOffset: 9 }, 'The transaction state table offset wrong'],
  ['no log position', { position: 3 }, 'Find prepared transaction message failed'],
  ['a position beyond the log', { position: 2 ** 52 }, 'Find prepared transaction message failed'],
  ['a negative position', { position: -1 }, 'Find prepared transaction message failed'],
  ['an outcome that is none', { outcome: 5 }, 'commitOrRollback is 5; 8 commits, 12 rolls back'],
] as const) {
  test(`an end that names ${name} is refused as by Apache's broker`, async (t) => {
    const front = await startFrontEnd(t)
    const connection = await front.connect()
    const sent = await half(front, connection)
    const answer = await end(connection, sent, { outcome: COMMIT, ...ended })
    t.is(answer.code, 1)
    t.is(answer.remark, remark)
    t.deepEqual(await bodies(connection), [])
  })
}

test('a producer that does not know yet gets no answer', async (t) => {
  const front = await startFrontEnd(t)
  const connection = await front.connect()
  const sent = await half(front, connection)
  let isAnswered = false
  void end(connection, sent, { outcome: 0 }).then(
    () => {
      isAnswered = true
    },
    () => {},
  )
  t.is((await end(connection, sent, { outcome: ROLLBACK })).code, 0)
  t.false(isAnswered)
})

const heartbeat = (connection: RemotingConnection, clientID: string) =>
  connection.request(REQUEST.heartbeat, {
    body: Buffer.from(
      JSON.stringify({ clientID, producerDataSet: [{ groupName: 'PG' }], consumerDataSet: [] }),
    ),
  })

test('a producer is asked in the way of Apache’s broker, and its answer counts', async (t) => {
  const front = await startFrontEnd(t)
  const asked: Command[] = []
  const onPush = (command: Command) => {
    asked.push(command)
    return undefined
  }
  const connection = await front.connect({ onPush })
  await heartbeat(connection, 'c1')
  const sent = await half(front, connection)
  const { position } = parseOffsetMessageId(sent.fields.get('msgId')!)
  front.clock.advance(6_000)
  await drain(front)
  // The answer comes behind what was pushed before.
  await heartbeat(connection, 'c1')
  const [check] = asked
  t.is(check!.code, REQUEST.checkTransactionState)
  t.deepEqual(Object.fromEntries(check!.fields), {
    topic: HALF_TOPIC,
    bname: 'broker-a',
    tranStateTableOffset: '0',
    commitLogOffset: String(position),
    msgId: 'id-1',
    transactionId: 'id-1',
    offsetMsgId: sent.fields.get('msgId')!,
  })
  const [message] = decodeMessages(check!.body)
  t.is(message!.topic, 'T')
  t.is(message!.sysFlag, 0)
  t.is(message!.properties.get('TRANSACTION_CHECK_TIMES'), '1')
  t.is(message!.properties.get('REAL_TOPIC'), 'T')
  t.is((await end(connection, sent, { outcome: COMMIT, position })).code, 0)
  t.deepEqual(await bodies(connection), ['half'])
})

test('ends that come together are each answered, those that are one-way only by what they do', async (t) => {
  const front = await startFrontEnd(t)
  const connection = await front.connect()
  const sent = await Promise.all(['a', 'b', 'c'].map((body) => half(front, connection, body)))
  const [a, b, c] = sent as [Command, Command, Command]
  connection.oneWay(REQUEST.endTransaction, { fields: endFields(c, { outcome: COMMIT }) })
  const answers = await Promise.all([
    end(connection, a, { outcome: COMMIT }),
    end(connection, b, { outcome: COMMIT, group: 'another' }),
    end(connection, b, { outcome: ROLLBACK }),
    end(connection, a, { outcome: COMMIT }),
  ])
  t.deepEqual(
    answers.map(({ code }) => code),
    [0, 1, 0, 0],
  )
  t.deepEqual((await bodies(connection)).toSorted(), ['a', 'c'])
})
