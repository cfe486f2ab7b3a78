import test, { type ExecutionContext } from 'ava'
import type { RemotingConnection } from '../../../src/remoting/connection.ts'
import { jsonBody } from '../../../src/remoting/json/json-emitter.ts'
import { topicOf } from '../../support/broker.ts'
import { heartbeat, startFrontEnd } from '../../support/native/native-front-end.ts'

const QUERY_ASSIGNMENT = 400
const SET_MESSAGE_REQUEST_MODE = 401

interface Assignment {
  readonly messageQueue: { readonly brokerName: string; readonly queueId: number }
}

interface Named {
  readonly brokerName: string
  readonly readQueues: number
}

/** A broker before name servers that tell so; members of the group G, each with a connection. */
async function assigning(
  t: ExecutionContext,
  told: () => readonly Named[] | undefined,
  ids: string,
) {
  const routes = { isKnown: true, told: async () => {}, queuesOf: async () => told() as never }
  const { broker, connect } = await startFrontEnd(t, { routes })
  t.is(broker.identity.brokerName, 'broker-a')
  await broker.topics.put(topicOf('T', 4))
  const members = new Map<string, RemotingConnection>()
  for (const clientId of ids) {
    const connection = await connect()
    members.set(clientId, connection)
    await heartbeat(connection, clientId, [{ group: 'G', topics: { T: '*' } }])
  }
  /** undefined: it is told to go on as it is. */
  const assigned = async (clientId: string): Promise<string[] | undefined> => {
    const query = { topic: 'T', consumerGroup: 'G', clientId, strategyName: 'AVG' }
    const asked = { body: jsonBody({ ...query, messageModel: 'CLUSTERING' }) }
    const { body } = await members.get(clientId)!.request(QUERY_ASSIGNMENT, asked)
    const { messageQueueAssignments } = JSON.parse(Buffer.from(body).toString())
    return (messageQueueAssignments as Assignment[] | undefined)?.map(
      ({ messageQueue }) => `${messageQueue.brokerName} ${messageQueue.queueId}`,
    )
  }
  const shareByPop = async (popShareQueueNum: number): Promise<void> => {
    const setting = { topic: 'T', consumerGroup: 'G', mode: 'POP', popShareQueueNum }
    const [first] = members.values()
    await first!.request(SET_MESSAGE_REQUEST_MODE, { body: jsonBody(setting) })
  }
  return { assigned, shareByPop }
}

const named = (...names: string[]): Named[] =>
  names.map((brokerName) => ({ brokerName, readQueues: 4 }))

const of = (brokerName: string) => [0, 1, 2, 3].map((queueId) => `${brokerName} ${queueId}`)

test('members are assigned the queues of every broker that a name server knows', async (t) => {
  const { assigned, shareByPop } = await assigning(t, () => named('broker-a', 'broker-z'), 'ab')
  t.deepEqual(await assigned('a'), of('broker-a'))
  t.deepEqual(await assigned('b'), of('broker-z'))
  await shareByPop(0)
  t.deepEqual(await assigned('a'), ['broker-a -1', 'broker-z -1'])
})

test('more members than queues are assigned them by their order, whichever broker is asked', async (t) => {
  const one = { brokerName: 'broker-0', readQueues: 1 }
  const { assigned, shareByPop } = await assigning(t, () => [one], 'abcdef')
  await shareByPop(1)
  // By what they ask they are known to POP.
  for (const id of 'abcdef') await assigned(id)
  t.deepEqual(await assigned('a'), ['broker-0 0'])
  t.deepEqual(await assigned('b'), ['broker-a 0'])
})

test('while no name server tells of other brokers a member keeps what it has', async (t) => {
  let told: Named[] | undefined = named('broker-a', 'broker-z')
  const { assigned } = await assigning(t, () => told, 'ab')
  t.deepEqual(await assigned('b'), of('broker-z'))
  told = undefined
  t.is(await assigned('b'), undefined)
})
