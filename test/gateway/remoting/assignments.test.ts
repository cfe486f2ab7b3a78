import test from 'ava'
import { jsonBody } from '../../../src/remoting/json/json-emitter.ts'
import { heartbeat, startFrontEnd } from '../../support/native/native-front-end.ts'

const QUERY_ASSIGNMENT = 400
const SET_MESSAGE_REQUEST_MODE = 401

interface Assignment {
  readonly messageQueue: { readonly brokerName: string; readonly queueId: number }
}

test('members are assigned the queues of every broker that a name server knows', async (t) => {
  const told = ['broker-a', 'broker-z'].map((brokerName) => ({ brokerName, readQueues: 4 }))
  const routes = { isKnown: true, told: async () => {}, queuesOf: async () => told }
  const { broker, connect } = await startFrontEnd(t, { routes })
  t.is(broker.identity.brokerName, 'broker-a')
  await broker.topics.ensure('T')
  const members = new Map([
    ['a', await connect()],
    ['b', await connect()],
  ])
  for (const [clientId, connection] of members) {
    await heartbeat(connection, clientId, [{ group: 'G', topics: { T: '*' } }])
  }
  const assigned = async (clientId: string): Promise<string[]> => {
    const query = { topic: 'T', consumerGroup: 'G', clientId, strategyName: 'AVG' }
    const asked = { body: jsonBody({ ...query, messageModel: 'CLUSTERING' }) }
    const { body } = await members.get(clientId)!.request(QUERY_ASSIGNMENT, asked)
    const { messageQueueAssignments } = JSON.parse(Buffer.from(body).toString())
    return (messageQueueAssignments as Assignment[]).map(
      ({ messageQueue }) => `${messageQueue.brokerName} ${messageQueue.queueId}`,
    )
  }
  const of = (brokerName: string) => [0, 1, 2, 3].map((queueId) => `${brokerName} ${queueId}`)
  t.deepEqual(await assigned('a'), of('broker-a'))
  t.deepEqual(await assigned('b'), of('broker-z'))
  const setting = { topic: 'T', consumerGroup: 'G', mode: 'POP', popShareQueueNum: 0 }
  await members.get('a')!.request(SET_MESSAGE_REQUEST_MODE, { body: jsonBody(setting) })
  t.deepEqual(await assigned('a'), ['broker-a -1', 'broker-z -1'])
})
