// However large a table is, the name server answers others in between.
import test, { type ExecutionContext } from 'ava'
import { silentLogger } from '../../src/log.ts'
import { RouteTable } from '../../src/namesrv/route-table.ts'
import { NameServer } from '../../src/namesrv/server.ts'
import { encodeCommand, requestHeader } from '../../src/remoting/command.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startNameServer } from '../support/native/name-server.ts'
import { RawPeer } from '../support/peers/raw-peer.ts'
import { StillSocket } from '../support/peers/still-socket.ts'
import { countTurns, endSlicesAtOnce } from '../support/turns.ts'

const TOPICS = 300
const fields = (values: Record<string, string>): Map<string, string> =>
  new Map(Object.entries(values))
const BROKER = fields({
  brokerName: 'broker-a',
  brokerAddr: '10.0.0.1:10911',
  clusterName: 'DefaultCluster',
  haServerAddr: '10.0.0.1:10912',
  brokerId: '0',
})
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `T${i}`)
const topicConfig = (topicName: string): object => ({
  topicName,
  readQueueNums: 8,
  writeQueueNums: 8,
  perm: 6,
})
const tableOf = (topics: readonly string[]): Buffer =>
  Buffer.from(
    JSON.stringify({
      topicConfigSerializeWrapper: {
        dataVersion: { counter: 1, stateVersion: 0, timestamp: 5 },
        topicConfigTable: Object.fromEntries(topics.map((name) => [name, topicConfig(name)])),
      },
    }),
  )

test('others are answered while a large registration is read', async (t) => {
  const clock = new FakeClock()
  const { connect } = await startNameServer(t, { clock })
  const [broker, other] = await Promise.all([connect(), connect()])
  endSlicesAtOnce(t, clock)
  let isRegistered = false
  const registering = broker
    .request(103, { fields: BROKER, body: tableOf(names(TOPICS)) })
    .then(() => {
      isRegistered = true
    })
  let answers = 0
  while (!isRegistered) {
    t.is((await other.request(105, { fields: fields({ topic: 'missing' }) })).code, 17)
    answers++
  }
  await registering
  t.true(answers > 10, `${answers} answers`)
  t.is((await other.request(105, { fields: fields({ topic: 'T299' }) })).code, 0)
})

test('what comes behind a registration on its connection finds it done', async (t) => {
  const clock = new FakeClock()
  const { port } = await startNameServer(t, { clock })
  endSlicesAtOnce(t, clock)
  const peer = await RawPeer.connect(port)
  t.teardown(() => peer.end())
  const ask = (code: number, opaque: number, of: Map<string, string>, body?: Buffer): Buffer =>
    encodeCommand(requestHeader({ code, opaque, fields: of, oneWay: false }), body)
  peer.send(
    ask(103, 1, BROKER, tableOf(names(TOPICS))),
    ask(105, 2, fields({ topic: 'T299' })),
    ask(104, 3, BROKER),
    ask(105, 4, fields({ topic: 'T299' })),
  )
  const codes: unknown[] = []
  for (let i = 0; i < 4; i++) {
    const total = (await peer.read(4)).readInt32BE()
    const frame = await peer.read(total)
    const header = frame.subarray(4, 4 + (frame.readInt32BE() & 0xffffff))
    const { opaque, code } = JSON.parse(header.toString()) as { opaque: number; code: number }
    codes.push([opaque, code])
  }
  t.deepEqual(codes, [
    [1, 0],
    [2, 0],
    [3, 0],
    [4, 17],
  ])
})

test('a broker whose connection ended while its table was read is not there', async (t) => {
  const clock = new FakeClock()
  const { connect, nameServer } = await startNameServer(t, { clock })
  endSlicesAtOnce(t, clock)
  const [broker, other] = await Promise.all([connect(), connect()])
  const registering = broker.request(103, { fields: BROKER, body: tableOf(names(TOPICS)) })
  // It is being read.
  await other.request(105, { fields: fields({ topic: 'missing' }) })
  broker.close()
  await t.throwsAsync(registering)
  while (nameServer.connections > 1) await other.request(106)
  // Behind the first one.
  await other.request(103, {
    fields: new Map([...BROKER, ['brokerName', 'broker-b'], ['brokerAddr', '10.0.0.2:10911']]),
    body: tableOf(['U1', 'U2']),
  })
  t.deepEqual([...nameServer.routes.topics()], ['U1', 'U2'])
})

const topicsOf = (topics: readonly string[]) =>
  topics.map((name) => ({
    ...{ name, readQueues: 8, writeQueues: 8, perm: 6, ordered: false, sysFlag: 0 },
  }))

test('the topics of a broker that goes are gone at once, and taken out over many turns', async (t) => {
  const clock = new FakeClock()
  const routes = new RouteTable(undefined, clock)
  const turns = endSlicesAtOnce(t, clock)
  routes.register({
    ...{ clusterName: 'C', brokerName: 'b', brokerId: 0, address: 'a:1', haAddress: 'a:2' },
    ...{ expiryMs: 100, connection: {}, nowMs: 0 },
    table: {
      version: { counter: 1, stateVersion: 0, timestamp: 1 },
      topics: topicsOf(names(TOPICS)),
    },
  })
  await routes.settled()
  t.is([...routes.topics()].length, TOPICS)
  const before = turns().size
  routes.unregister('a:1')
  t.is(routes.route('T1'), undefined)
  t.deepEqual([...routes.topics()], [])
  await routes.settled()
  t.true(turns().size - before >= TOPICS)
})

test('a large body of a request that registers nothing is refused', async (t) => {
  const { connect } = await startNameServer(t)
  const connection = await connect()
  const answer = await connection.request(322, { fields: BROKER, body: Buffer.alloc(262_145, ' ') })
  t.is(answer.code, 29)
  t.regex(answer.remark!, /262144 are the most/)
})

test('the list of all topics is written over many turns', async (t) => {
  const clock = new FakeClock()
  const { connect } = await startNameServer(t, { clock })
  const connection = await connect()
  await connection.request(103, { fields: BROKER, body: tableOf(names(TOPICS)) })
  endSlicesAtOnce(t, clock)
  const turns = countTurns(t)
  const { body } = await connection.request(206)
  t.is((JSON.parse(body.toString()) as { topicList: string[] }).topicList.length, TOPICS)
  t.true(turns() >= TOPICS, `${turns()} turns`)
})

const request = (code: number, opaque: number, of = fields({})): Buffer =>
  encodeCommand(requestHeader({ code, opaque, fields: of, oneWay: false }))

async function peerOf(t: ExecutionContext, clock: FakeClock): Promise<StillSocket> {
  const nameServer = new NameServer({ clock, log: silentLogger })
  t.teardown(() => nameServer.close(0))
  const socket = new StillSocket()
  nameServer.accept(socket)
  return socket
}

test('what stands behind a request that is answered in promises is left for a later turn', async (t) => {
  const socket = await peerOf(t, new FakeClock())
  const [list, route] = [request(206, 1), request(105, 2, fields({ topic: 'T' }))]
  socket.receive(route, route, list, list, route)
  t.is(socket.handedBack?.length, list.length + route.length)
})

test('of short requests in one chunk those beyond the time of a turn are left for a later one', async (t) => {
  const clock = new FakeClock()
  const socket = await peerOf(t, clock)
  const route = request(105, 2, fields({ topic: 'T' }))
  let looks = 0
  clock.monotonic = () => looks++
  socket.receive(...Array.from({ length: 100 }, () => route))
  t.is(socket.written.length, 1)
  t.is(socket.handedBack?.length, 95 * route.length)
})

test('others are answered between the tables that a connection asked for in one chunk', async (t) => {
  const { connect, port } = await startNameServer(t)
  const other = await connect()
  const peer = await RawPeer.connect(port)
  t.teardown(() => peer.end())
  const asked = 500
  let isAllAnswered = false
  peer.send(...Array.from({ length: asked }, (_, i) => request(206, i)))
  const reading = (async () => {
    for (let i = 0; i < asked; i++) await peer.read((await peer.read(4)).readInt32BE())
    isAllAnswered = true
  })()
  let answers = 0
  while (!isAllAnswered) {
    t.is((await other.request(105, { fields: fields({ topic: 'missing' }) })).code, 17)
    answers++
  }
  await reading
  t.true(answers > 100, `${answers} answers`)
})
