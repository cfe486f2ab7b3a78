import { PROPERTY } from '../../../src/model/properties.ts'
import { RecordView } from '../../../src/model/record.ts'
import type { HalfName, TransactionCheck, TransactionEnd } from '../../../src/model/transaction.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { codeOf, newMessage, pullRequest } from '../../support/broker.ts'
import type { BrokerUnderTest, Case } from '../broker.ts'
import { nameOf } from './names.ts'
import { firstQueue, newTopic, read, send, stored } from './support.ts'

/** More than the time until a first check, and than that between two. */
const CHECK_MS = 31_000

async function newHalf(
  { port, now }: Pick<BrokerUnderTest, 'port' | 'now'>,
  topic: string,
  group: string,
  body = 'half',
  properties: Record<string, string> = {},
): Promise<HalfName> {
  const { brokerName } = await firstQueue(port, topic)
  const message = newMessage(topic, {
    ...{ brokerName, queueId: 0, body, bornTimestamp: now() },
    properties: {
      [PROPERTY.transactionPrepared]: 'true',
      [PROPERTY.producerGroup]: group,
      [PROPERTY.uniqueKey]: `id-${body}`,
      ...properties,
    },
  })
  const [result] = await port.publish([message])
  const receipt = stored(result)
  if (receipt.transactionId !== `id-${body}`) throw new Error('no half message')
  return receipt
}

const end = (
  port: Broker,
  half: HalfName,
  group: string,
  outcome: TransactionEnd['outcome'],
): Promise<void> => port.transactions.end({ half, group, outcome })

const register = (port: Broker, connectionId: string, ...producerGroups: string[]) =>
  port.clients.register({
    ...{ clientId: connectionId, connectionId, protocol: 'remoting', address: 'a:1' },
    ...{ language: 'JAVA', version: 0, consumers: [], producerGroups },
  })

/** The checks of a group, and their connections. */
function checksOf(port: Broker, group: string) {
  const checks: TransactionCheck[] = []
  const watch = port.transactions.watch({
    mayAsk: ({ connectionId }) => !connectionId.includes('stranger'),
    ask: (check) => {
      if (check.group === group) checks.push(check)
    },
  })
  return { checks, [Symbol.dispose]: () => watch[Symbol.dispose]() }
}

export function transactions(test: Case): void {
  test('a half message is seen by no reader until it is committed, and then once', async (t, broker) => {
    const { port } = broker
    const topic = await newTopic(port)
    const group = nameOf('producers')
    const half = await newHalf(broker, topic, group)
    await send(port, topic, 'plain')
    t.deepEqual(await read(port, topic, 1), ['plain'])
    t.is(await port.transactions.topic(half), topic)
    await end(port, half, group, 'commit')
    t.deepEqual(await read(port, topic, 2), ['plain', 'half'])
    const { records } = await port.pull(
      pullRequest(topic, { ...(await firstQueue(port, topic)), offset: 1 }),
    )
    const record = new RecordView(records)
    t.is(record.preparedPosition, half.position)
    t.is(record.property(PROPERTY.transactionId), 'id-half')
    t.is(record.property(PROPERTY.realTopic), undefined)
  })

  test('a message that is rolled back is never seen', async (t, broker) => {
    const { port } = broker
    const topic = await newTopic(port)
    const group = nameOf('producers')
    await end(port, await newHalf(broker, topic, group), group, 'rollback')
    await send(port, topic, 'plain')
    t.deepEqual(await read(port, topic, 1), ['plain'])
  })

  test('the first end of a half message holds', async (t, broker) => {
    const { port } = broker
    const topic = await newTopic(port)
    const group = nameOf('producers')
    const [committed, rolledBack] = [
      await newHalf(broker, topic, group, 'committed'),
      await newHalf(broker, topic, group, 'rolled back'),
    ]
    await end(port, committed, group, 'commit')
    await end(port, committed, group, 'commit')
    t.is(await codeOf(end(port, committed, group, 'rollback')), 'MESSAGE_NOT_FOUND')
    await end(port, rolledBack, group, 'rollback')
    await end(port, rolledBack, group, 'rollback')
    t.is(await codeOf(end(port, rolledBack, group, 'commit')), 'MESSAGE_NOT_FOUND')
    await send(port, topic, 'plain')
    t.deepEqual(await read(port, topic, 2), ['committed', 'plain'])
  })

  test('of many ends at once one holds', async (t, broker) => {
    const { port } = broker
    const topic = await newTopic(port)
    const group = nameOf('producers')
    const half = await newHalf(broker, topic, group)
    const ends = (['commit', 'commit', 'rollback', 'commit', 'rollback'] as const).map((outcome) =>
      end(port, half, group, outcome).then(
        () => outcome,
        () => undefined,
      ),
    )
    const held = new Set((await Promise.all(ends)).filter((outcome) => outcome !== undefined))
    t.is(held.size, 1)
    await send(port, topic, 'plain')
    const expected = held.has('commit') ? ['half', 'plain'] : ['plain']
    t.deepEqual(await read(port, topic, expected.length), expected)
  })

  test('only its own group ends a half message, by its whole name', async (t, broker) => {
    const { port } = broker
    const topic = await newTopic(port)
    const group = nameOf('producers')
    const half = await newHalf(broker, topic, group)
    const queueOffset = (half.queueOffset + 1) as typeof half.queueOffset
    t.is(await codeOf(end(port, half, 'others', 'commit')), 'ARGUMENT_INVALID')
    t.is(await codeOf(end(port, { ...half, queueOffset }, group, 'commit')), 'ARGUMENT_INVALID')
    const position = 7 as typeof half.position
    t.is(await codeOf(end(port, { ...half, position }, group, 'commit')), 'MESSAGE_NOT_FOUND')
    await end(port, half, group, 'commit')
    t.deepEqual(await read(port, topic, 1), ['half'])
  })

  test('many ends in one call have each its own result, and two of one half hold once', async (t, broker) => {
    const { port } = broker
    const topic = await newTopic(port)
    const group = nameOf('producers')
    const halves = [
      await newHalf(broker, topic, group, 'a'),
      await newHalf(broker, topic, group, 'b'),
    ]
    const [a, b] = halves as [HalfName, HalfName]
    const strange = { ...a, position: 7 as typeof a.position }
    const results = await port.transactions.endAll([
      { half: a, group, outcome: 'commit' },
      { half: strange, group, outcome: 'commit' },
      { half: b, group: 'others', outcome: 'commit' },
      { half: b, group, outcome: 'rollback' },
      { half: a, group, outcome: 'commit' },
      { half: b, group, outcome: 'commit' },
    ])
    const codes = results.map((error) => error?.code)
    t.deepEqual(codes, [
      ...[undefined, 'MESSAGE_NOT_FOUND', 'ARGUMENT_INVALID'],
      ...[undefined, undefined, 'MESSAGE_NOT_FOUND'],
    ])
    t.deepEqual(await read(port, topic, 1), ['a'])
  })

  test('a producer of the group is asked what became of it, and another when that is gone', async (t, broker) => {
    const { port, pass } = broker
    const topic = await newTopic(port)
    const group = nameOf('producers')
    using asked = checksOf(port, group)
    const [first, second] = [nameOf('connection'), nameOf('connection')]
    await register(port, first, group)
    const half = await newHalf(broker, topic, group)
    await pass(CHECK_MS)
    const [check] = asked.checks
    t.is(check!.connectionId, first)
    t.is(check!.transactionId, 'id-half')
    const record = new RecordView(check!.record)
    t.is(record.topic, topic)
    t.is(record.body.toString(), 'half')
    t.is(record.property(PROPERTY.transactionCheckTimes), '1')
    await port.clients.unregister(first)
    await register(port, second, group)
    await pass(CHECK_MS)
    t.is(asked.checks.at(-1)!.connectionId, second)
    t.is(asked.checks.length, 2)
    t.deepEqual(asked.checks[1]!.half.position, half.position)
    // An answer to the first check, which comes late.
    await end(port, check!.half, group, 'commit')
    await pass(CHECK_MS)
    t.is(asked.checks.length, 2)
    t.deepEqual(await read(port, topic, 1), ['half'])
  })
}
