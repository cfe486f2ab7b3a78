// What each kind of client is told of a topic that was never made, by the commands that the client
// sends.
import test, { type ExecutionContext } from 'ava'
import { Slice, systemClock } from '../../src/clock.ts'
import { type Command, decodeCommand, encodeCommand } from '../../src/remoting/command.ts'
import { CODEC_JSON } from '../../src/remoting/frame.ts'
import { encodeRegistration } from '../../src/remoting/requests/registration.ts'
import { decodeRoute } from '../../src/remoting/requests/route.ts'
import { startNameServer } from '../support/native/name-server.ts'
import { RawPeer } from '../support/peers/raw-peer.ts'

const JAVA = { language: 'JAVA', version: 479 }
const MISSING = 'missing'
const GET_ROUTE = 105
const CLUSTER_INFO = 106

interface Peer {
  readonly language: string
  readonly version: number
}

type Ask = (peer: Peer, topic: string, more?: Record<string, string>) => Promise<number | string>

/**
 * A broker that makes topics on first use, and `ask`: queues of the route, or the code and its
 * remark.
 */
async function asker(t: ExecutionContext): Promise<{ ask: Ask; tool: () => Promise<void> }> {
  const { port, connect } = await startNameServer(t)
  const template = { readQueues: 8, writeQueues: 8, perm: 7, ordered: false, sysFlag: 0 }
  const topics = ['TBW102', 'known'].map((name) => ({ ...template, name }))
  const broker = await connect()
  const registered = await broker.request(103, {
    fields: new Map([
      ['brokerName', 'broker-a'],
      ['brokerAddr', '10.0.0.1:10911'],
      ['clusterName', 'DefaultCluster'],
      ['haServerAddr', '10.0.0.1:10912'],
      ['brokerId', '0'],
    ]),
    body: await encodeRegistration(
      { version: { counter: 1, stateVersion: 0, timestamp: 5 }, topics },
      new Slice(systemClock),
    ),
  })
  t.is(registered.code, 0)
  const client = await RawPeer.connect(port)
  t.teardown(() => client.end())
  const request = async (
    peer: Peer,
    code: number,
    fields: Record<string, string>,
  ): Promise<Command> => {
    const header = { ...peer, code, opaque: 1, flag: 0, remark: undefined }
    client.send(encodeCommand({ ...header, fields: new Map(Object.entries(fields)) }))
    const length = (await client.read(4)).readUInt32BE()
    const frame = await client.read(length)
    const bodyAt = 4 + (frame.readUInt32BE() & 0xffffff)
    return decodeCommand(frame, 4, bodyAt, length, CODEC_JSON)
  }
  return {
    ask: async (peer, topic, more = {}) => {
      const { code, remark, body } = await request(peer, GET_ROUTE, { topic, ...more })
      return code === 0 ? decodeRoute(body).queues[0]!.readQueues : `${code} ${remark}`
    },
    tool: async () => void (await request(JAVA, CLUSTER_INFO, {})),
  }
}

const missing = (topic = MISSING): string =>
  `17 No topic route info in name server for the topic: ${topic}`

test('a Java producer or tool is told that a topic is missing, however often it asks', async (t) => {
  const { ask } = await asker(t)
  t.is(await ask(JAVA, MISSING), missing())
  t.is(await ask(JAVA, MISSING), missing())
  t.is(await ask(JAVA, 'TBW102'), 8)
  t.is(await ask(JAVA, MISSING), missing())
  t.is(await ask(JAVA, 'known'), 8)
})

test('a Java push consumer gets the route to be once it asked for the retry topic of its group', async (t) => {
  const { ask } = await asker(t)
  t.is(await ask(JAVA, '%RETRY%G'), 1)
  t.is(await ask(JAVA, MISSING), 4)
})

test('a tool that looks at groups on its connection is told the truth', async (t) => {
  const { ask, tool } = await asker(t)
  await tool()
  t.is(await ask(JAVA, '%RETRY%G'), 1)
  t.is(await ask(JAVA, MISSING), missing())
})

test('a consumer that turns out to be a tool is told the truth from then on', async (t) => {
  const { ask, tool } = await asker(t)
  t.is(await ask(JAVA, '%RETRY%G'), 1)
  await tool()
  t.is(await ask(JAVA, MISSING), missing())
})

test('a Java lite pull consumer, which says so in each request, gets the route to be', async (t) => {
  const { ask } = await asker(t)
  t.is(await ask(JAVA, MISSING, { ReqT: '0' }), 4)
})

test('ali-ons, which calls itself Java 3.4.9 and has no way back from a missing route, gets the route to be', async (t) => {
  const { ask } = await asker(t)
  t.is(await ask({ language: 'JAVA', version: 121 }, MISSING), 4)
  t.is(await ask({ language: 'JAVA', version: 122 }, MISSING), missing())
})

for (const language of ['GO', 'CPP', 'NODE_JS']) {
  test(`a client of the language ${language} gets the route to be`, async (t) => {
    const { ask } = await asker(t)
    t.is(await ask({ language, version: 317 }, MISSING), 4)
  })
}

test('our own client is told that a topic is missing, also after it asked for a retry topic', async (t) => {
  const { ask } = await asker(t)
  const standard = { acceptStandardJsonOnly: 'true' }
  t.is(await ask(JAVA, '%RETRY%G', standard), 1)
  t.is(await ask(JAVA, MISSING, standard), missing())
})

test('a dead-letter topic that is missing has no route for any client', async (t) => {
  const { ask } = await asker(t)
  t.is(await ask({ language: 'GO', version: 317 }, '%DLQ%G'), missing('%DLQ%G'))
})
