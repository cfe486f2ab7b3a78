import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { Connection } from '../../../src/gateway/remoting/connection.ts'
import type { Broker } from '../../../src/port/broker.ts'
import type { Command } from '../../../src/remoting/command.ts'
import type { Json } from '../../../src/remoting/json/json.ts'
import {
  asObject,
  listAt,
  numberAt,
  objectAt,
  parseObject,
} from '../../../src/remoting/json/json-members.ts'
import { decodeConsumerIds } from '../../../src/remoting/requests/clients.ts'
import { decodeConsumerConnections } from '../../../src/remoting/requests/groups.ts'
import {
  decodeLockedQueues,
  encodeLockRequest,
} from '../../../src/remoting/requests/queue-locks.ts'
import { drain, newMessage, receiveRequest } from '../../support/broker.ts'
import { fields, heartbeat, startFrontEnd } from '../../support/native/native-front-end.ts'
import { overridden } from '../../support/overridden.ts'
import { countTurns } from '../../support/turns.ts'
import { eventually } from '../../support/waiting.ts'

/** Keeps what the broker pushes. */
function pushes(): { readonly heard: Command[]; readonly onPush: (command: Command) => undefined } {
  const heard: Command[] = []
  return {
    heard,
    onPush: (command) => {
      heard.push(command)
      return undefined
    },
  }
}

test('members of a group are known as soon as the heartbeat is answered', async (t) => {
  const { connect } = await startFrontEnd(t)
  const [one, two] = [await connect(), await connect()]
  const list = (): Promise<Command> => one.request(38, { fields: fields({ consumerGroup: 'G' }) })
  t.is((await list()).code, 1)
  t.is((await heartbeat(one, 'c1', [{ group: 'G', topics: { T: '*' } }])).code, 0)
  await heartbeat(two, 'c2', [{ group: 'G', topics: { T: '*' } }])
  t.deepEqual(decodeConsumerIds((await list()).body), ['c1', 'c2'])
})

test('the virtual member of a group is shown, and tells what it has', async (t) => {
  const { connect, broker, clock } = await startFrontEnd(t)
  await broker.publish([newMessage('T', { queueId: 0 })])
  const native = await connect()
  await heartbeat(native, 'c1', [{ group: 'G', topics: { T: '*' } }])
  const ask = (code: number, more = {}): Promise<Command> =>
    native.request(code, { fields: fields({ consumerGroup: 'G', ...more }) })
  await broker.receive(receiveRequest('T', 'G'))
  const [virtual = '', ...others] = decodeConsumerIds((await ask(38)).body)
  t.deepEqual(others, ['c1'])
  clock.advance(1_000)
  clock.advance(1_500)
  t.is((await broker.receive(receiveRequest('T', 'G'))).length, 1)
  const shown = decodeConsumerConnections((await ask(203)).body)
  t.deepEqual(
    shown.connections.map((connection) => connection.clientId),
    ['c1', virtual],
  )
  const info = parseObject((await ask(307, { clientId: virtual })).body)
  const queues = [...objectAt(info, 'mqTable')].map(([queue, held]) => [
    numberAt(asObject(queue as Json), 'queueId'),
    numberAt(asObject(held), 'cachedMsgCount'),
  ])
  t.deepEqual(
    queues.filter(([, held]) => held === 1),
    [[0, 1]],
  )
  t.is(listAt(info, 'subscriptionSet').length, 1)
})

test('a heartbeat makes the group, its retry topic and the topics it names', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  await heartbeat(await connect(), 'c1', [{ group: 'G', topics: { T: '*', '%RETRY%G': '*' } }])
  t.truthy(await broker.groups.get('G'))
  t.is((await broker.topics.get('%RETRY%G'))?.readQueues, 1)
  t.truthy(await broker.topics.get('T'))
})

test('the groups of a heartbeat are made together, and so are its topics', async (t) => {
  const turn = countTurns(t)
  const turns = new Set<number>()
  const counted = <T extends { ensure: (name: string) => Promise<unknown> }>(table: T): T =>
    overridden(table, {
      ensure: (name: string) => {
        turns.add(turn())
        return table.ensure(name)
      },
    } as Partial<T>)
  const bend = (broker: Broker): Broker =>
    overridden(broker, { topics: counted(broker.topics), groups: counted(broker.groups) })
  const { connect, broker } = await startFrontEnd(t, { bend })
  const groups = Array.from({ length: 100 }, (_, i) => ({
    group: `G${i}`,
    topics: { [`T${i}`]: '*' },
  }))
  t.is((await heartbeat(await connect(), 'c1', groups)).code, 0)
  t.is(turns.size, 2)
  t.truthy(await broker.groups.get('G99'))
  t.truthy(await broker.topics.get('T99'))
})

test('members are told to rebalance when one comes, leaves in order, or vanishes', async (t) => {
  const { connect } = await startFrontEnd(t)
  const { heard, onPush } = pushes()
  const watching = await connect({ onPush })
  await heartbeat(watching, 'c1', [{ group: 'G' }])
  const told = async (times: number): Promise<void> => {
    await eventually(async () => (heard.length >= times ? true : undefined))
    t.is(heard.length, times)
  }
  await told(1)
  const other = await connect()
  await heartbeat(other, 'c2', [{ group: 'G' }])
  await told(2)
  await other.request(35, { fields: fields({ clientID: 'c2', consumerGroup: 'G' }) })
  await told(3)
  const third = await connect()
  await heartbeat(third, 'c3', [{ group: 'G' }])
  await told(4)
  third.close()
  await told(5)
  const push = heard.at(-1)!
  t.is(push.code, 40)
  t.is(push.fields.get('consumerGroup'), 'G')
  t.is(push.flag, 2)
})

test('members are told of a change although the broker fails to say what the group is', async (t) => {
  const failed = new BrokerError('UNREACHABLE', 'no answer')
  const { connect } = await startFrontEnd(t, {
    bend: (broker) =>
      overridden(broker, {
        groups: overridden(broker.groups, { get: () => Promise.reject(failed) }),
      }),
  })
  const { heard, onPush } = pushes()
  const watching = await connect({ onPush })
  await heartbeat(watching, 'c1', [{ group: 'G', topics: { T: '*' } }])
  await heartbeat(await connect(), 'c2', [{ group: 'G', topics: { T: '*' } }])
  await eventually(async () => heard.length > 0 || undefined)
  t.is(heard[0]!.code, 40)
})

test('members are told once more when clients have the routes of topics that a heartbeat made', async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  const { heard, onPush } = pushes()
  const connection = await connect({ onPush })
  const told = (times: number): Promise<true> =>
    eventually(async () => (heard.length >= times ? true : undefined))
  await heartbeat(connection, 'c1', [{ group: 'G', topics: { New: '*' } }])
  await told(1)
  clock.advance(2_000)
  await told(2)
  await heartbeat(connection, 'c1', [{ group: 'G', topics: { New: '*' } }])
  await heartbeat(connection, 'c1', [{ group: 'Other', topics: { New: '*' } }])
  clock.advance(2_000)
  await connection.request(38, { fields: fields({ consumerGroup: 'G' }) })
  t.deepEqual(
    heard.map((push) => [push.code, push.fields.get('consumerGroup')]),
    [
      [40, 'G'],
      [40, 'G'],
      [40, 'Other'],
    ],
  )
})

test('members of a group that is not to be told of changes are not, those of others are', async (t) => {
  const { connect } = await startFrontEnd(t)
  const { heard, onPush } = pushes()
  const connection = await connect({ onPush })
  const config = { groupName: 'Quiet', notifyConsumerIdsChangedEnable: false }
  const body = Buffer.from(JSON.stringify(config))
  t.is((await connection.request(200, { body })).code, 0)
  await heartbeat(connection, 'c1', [{ group: 'Quiet' }, { group: 'G' }])
  const told = await eventually(async () => heard[0])
  t.is(told.fields.get('consumerGroup'), 'G')
  t.is(heard.length, 1)
})

test('a heartbeat that changes nothing is not told to other members', async (t) => {
  const { connect } = await startFrontEnd(t)
  const { heard, onPush } = pushes()
  const connection = await connect({ onPush })
  await heartbeat(connection, 'c1', [{ group: 'G', topics: { T: '*' } }])
  await eventually(async () => (heard.length === 1 ? true : undefined))
  for (let i = 0; i < 3; i++)
    await heartbeat(connection, 'c1', [{ group: 'G', topics: { T: '*' } }])
  t.is(heard.length, 1)
})

test('a member is told once more when it has looked at its routes again, alone and once', async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  const [one, other] = [pushes(), pushes()]
  const groups = [{ group: 'G', topics: { T: '*' } }]
  const looking = await connect({ onPush: one.onPush })
  await heartbeat(looking, 'c1', groups)
  await heartbeat(await connect({ onPush: other.onPush }), 'c2', groups)
  const heard = () => [one.heard.length, other.heard.length]
  await eventually(async () => String(heard()) === '2,1')
  // The topic was just made: both are told when its route is known.
  clock.advance(5_000)
  await eventually(async () => String(heard()) === '3,2')
  await heartbeat(looking, 'c1', groups)
  t.deepEqual(heard(), [3, 2])
  clock.advance(25_000)
  await heartbeat(looking, 'c1', groups)
  t.deepEqual(heard(), [4, 2])
  clock.advance(30_000)
  await heartbeat(looking, 'c1', groups)
  t.deepEqual(heard(), [4, 2])
})

test('a client that is silent for two minutes is no member any more', async (t) => {
  const { connect, clock } = await startFrontEnd(t, { idleMs: 1e9 })
  const [silent, other] = [await connect(), await connect()]
  await heartbeat(silent, 'c1', [{ group: 'G' }])
  clock.advance(100_000)
  await heartbeat(other, 'c2', [{ group: 'G' }])
  clock.advance(100_000)
  const answer = await other.request(38, { fields: fields({ consumerGroup: 'G' }) })
  t.deepEqual(decodeConsumerIds(answer.body), ['c2'])
})

test('a connection without a command for two minutes is closed', async (t) => {
  const { connect, clock, gateway } = await startFrontEnd(t)
  const connection = await connect()
  await heartbeat(connection, 'c1', [])
  clock.advance(110_000)
  t.is(gateway.connections, 1)
  clock.advance(20_000)
  t.is((await connection.closed)?.code, 'UNREACHABLE')
})

test('a member that was refused reads nothing and locks nothing', async (t) => {
  const { connect } = await startFrontEnd(t)
  const [pops, late] = [await connect(), await connect()]
  const popping = { group: 'G', type: 'CONSUME_POP' }
  t.is((await heartbeat(pops, 'c1', [{ ...popping, topics: { T: '*' } }])).code, 0)
  t.not((await heartbeat(late, 'c2', [{ group: 'G', topics: { T: 'eu' } }])).code, 0)
  const list = await late.request(38, { fields: fields({ consumerGroup: 'G' }) })
  t.deepEqual(decodeConsumerIds(list.body), ['c1'])
  const queue = { brokerName: 'broker-a', queueId: 0, topic: 'T' }
  const body = encodeLockRequest({ clientId: 'c2', consumerGroup: 'G', queues: [queue] })
  t.deepEqual(decodeLockedQueues((await late.request(41, { body })).body), [])
  t.is((await heartbeat(late, 'c2', [{ group: 'G', topics: { T: '*' } }])).code, 0)
  t.is(decodeLockedQueues((await late.request(41, { body })).body).length, 1)
})

test('a lock for a group that does not exist is refused, of members of other groups too', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  await heartbeat(connection, 'c1', [{ group: 'G', topics: { T: '*' } }])
  const queue = { brokerName: 'broker-a', queueId: 0, topic: 'T' }
  const body = encodeLockRequest({ clientId: 'c1', consumerGroup: 'None', queues: [queue] })
  t.is((await connection.request(41, { body })).code, 26)
})

test('an unreadable heartbeat is refused in words', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (const body of ['', '[]', '{', '{"consumerDataSet":[]}', '\xff\xfe']) {
    const answer = await connection.request(34, { body: Buffer.from(body, 'latin1') })
    t.is(answer.code, 29, body)
    t.true(answer.remark!.length > 10)
  }
})

test('a group name from the wire is only a name', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  t.is(
    (
      await heartbeat(connection, '__proto__', [
        { group: '__proto__', topics: { constructor: '*' } },
      ])
    ).code,
    0,
  )
  const list = await connection.request(38, { fields: fields({ consumerGroup: '__proto__' }) })
  t.deepEqual(decodeConsumerIds(list.body), ['__proto__'])
  t.is(({} as Record<string, unknown>)['clientId'], undefined)
})

test('a queue is locked by one client at a time, and free again once it is gone', async (t) => {
  const { connect } = await startFrontEnd(t)
  const [one, two] = [await connect(), await connect()]
  await heartbeat(one, 'c1', [{ group: 'G', topics: { T: '*' } }])
  await heartbeat(two, 'c2', [{ group: 'G', topics: { T: '*' } }])
  const lock = async (connection: typeof one, clientId: string, queues: number[], code = 41) => {
    const body = encodeLockRequest({
      clientId,
      consumerGroup: 'G',
      queues: queues.map((queueId) => ({ brokerName: 'broker-a', queueId, topic: 'T' })),
    })
    const answer = await connection.request(code, { body })
    t.is(answer.code, 0)
    return code === 41 ? decodeLockedQueues(answer.body).map((queue) => queue.queueId) : []
  }
  t.deepEqual(await lock(one, 'c1', [0, 1]), [0, 1])
  t.deepEqual(await lock(two, 'c2', [1, 2]), [2])
  await lock(one, 'c1', [1], 42)
  t.deepEqual(await lock(two, 'c2', [0, 1]), [1])
  // A Java client that ends may lock its queues once more after it unregistered.
  await one.request(35, { fields: fields({ clientID: 'c1', consumerGroup: 'G' }) })
  t.deepEqual(await lock(one, 'c1', [0]), [])
  t.deepEqual(await lock(two, 'c2', [0]), [0])
  await lock(two, 'c2', [0], 42)
  await heartbeat(one, 'c1', [{ group: 'G', topics: { T: '*' } }])
  t.deepEqual(await lock(one, 'c1', [0]), [0])
  one.close()
  await eventually(async () => ((await lock(two, 'c2', [0])).length === 1 ? true : undefined))
})

test('a client that asks is told whether its way to select works', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const check = (expressionType: string, subString: string): Promise<Command> =>
    connection.request(46, {
      body: Buffer.from(
        JSON.stringify({
          clientId: 'c1',
          group: 'G',
          subscriptionData: { topic: 'T', subString, expressionType },
        }),
      ),
    })
  t.is((await check('TAG', 'a')).code, 0)
  t.is((await check('SQL92', 'a > 5')).code, 0)
  const invalid = await check('SQL92', 'a >')
  t.is(invalid.code, 23)
  t.regex(invalid.remark!, /expected a value/)
  const unknown = await check('REGEX', 'a')
  t.is(unknown.code, 3)
  t.regex(unknown.remark!, /filter message by REGEX; use TAG or SQL92/)
})

test('a client that goes while its heartbeat is served is no member', async (t) => {
  let asked = (): void => {}
  const wasAsked = new Promise<void>((resolve) => {
    asked = resolve
  })
  let answer = (): void => {}
  const answered = new Promise<void>((resolve) => {
    answer = resolve
  })
  const front = await startFrontEnd(t, {
    bend: (real) =>
      overridden(real, {
        groups: overridden(real.groups, {
          ensure: async (group) => {
            asked()
            await answered
            return real.groups.ensure(group)
          },
        }),
      }),
  })
  const connection = await front.connect()
  const beat = heartbeat(connection, 'c1', [{ group: 'G', topics: { T: '*' } }])
  await wasAsked
  connection.close()
  await t.throwsAsync(beat)
  await eventually(async () => (front.gateway.connections === 0 ? true : undefined))
  answer()
  await eventually(async () => await front.broker.topics.get('T'))
  await drain(front)
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(await front.broker.clients.list(), [])
})

test('a heartbeat with more groups, or a body with more, than one turn may serve is refused in words', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const groups = Array.from({ length: 1001 }, (_, i) => ({ group: `G${i}` }))
  const many = await heartbeat(connection, 'c1', groups)
  t.regex(many.remark!, /names 1001 consumer groups; 1000 are the most/)
  const topics = { T: 'x'.repeat(256 * 1024) }
  const long = await heartbeat(connection, 'c1', [{ group: 'G', topics }])
  t.regex(long.remark!, /a request with a body of \d+ bytes; 262144 are the most/)
  const dense = Buffer.from(`[${new Array(32_769).fill('{}').join(',')}]`)
  const short = await connection.request(41, { body: dense })
  t.regex(short.remark!, /a request with a body of 32769 values; 32768 are the most/)
  t.is((await heartbeat(connection, 'c1', [{ group: 'G' }])).code, 0)
})

test('members of many groups are told some a turn, and of each change', async (t) => {
  const { connect } = await startFrontEnd(t)
  const { heard, onPush } = pushes()
  const groups = Array.from({ length: 600 }, (_, i) => ({ group: `G${i}` }))
  await heartbeat(await connect({ onPush }), 'c1', groups)
  await eventually(async () => (heard.length >= 600 ? true : undefined))
  const perTurn: number[] = []
  const { prototype } = Connection
  const { push } = prototype
  t.teardown(() => {
    prototype.push = push
  })
  prototype.push = function (this: Connection, message) {
    if (perTurn.length === 0)
      setImmediate(function count() {
        perTurn.push(0)
        if (heard.length < 1800) setImmediate(count)
      })
    if (perTurn.length === 0) perTurn.push(0)
    perTurn[perTurn.length - 1]!++
    push.call(this, message)
  }
  await heartbeat(await connect({ onPush }), 'c2', groups)
  await eventually(async () => (heard.length >= 1800 ? true : undefined))
  t.is(heard.length, 1800)
  t.true(Math.max(...perTurn) <= 512)
})
