// Unmodified clients of Go and of Node (ali-ons) with copies of a broker: they read from a slave,
// write again when it was promoted, and go on over an automatic failover. They know nothing but
// their name server.
import type { ExecutionContext } from 'ava'
import { type Client, connect } from '../../src/client/index.ts'
import { eventually } from '../../test/support/waiting.ts'
import { aliOns } from '../support/ali-ons-client.ts'
import { startElected } from '../support/elected-brokers.ts'
import { etcdMissing } from '../support/etcd-cluster.ts'
import { bodyOf, type ForeignClient } from '../support/foreign-client.ts'
import { goClient, goMissing } from '../support/go-client.ts'
import { promote, startMasterWithSlave } from '../support/master-with-slave.ts'
import { needing } from '../support/needing.ts'

const GROUP = 'G_copies'
const COUNT = 100
/** Sent before the master dies. */
const BEFORE = 20

interface Kind {
  readonly name: string
  readonly missing: string | undefined
  /** Of a consumer that starts while there is no master: Go asks for its place there alone. */
  readonly needsMaster: boolean
  readonly consume: Start
  /** Each message until it is acknowledged, and a pause before the next. */
  readonly produce: Start
}

type Start = (t: ExecutionContext, nameServer: string, topic: string) => Promise<ForeignClient>

const GO = 'remoting/go'
const KINDS: readonly Kind[] = [
  {
    name: 'Go',
    missing: await goMissing(),
    needsMaster: true,
    consume: (t, nameServer, topic) => goClient(t, GO, nameServer, topic, GROUP),
    produce: (t, nameServer, topic) => goClient(t, GO, nameServer, topic, 'steady', `${COUNT}`),
  },
  {
    name: 'ali-ons',
    missing: undefined,
    needsMaster: false,
    consume: async (t, nameServer, topic) =>
      aliOns(t, { role: 'consume', nameServer, topic, group: GROUP }),
    produce: async (t, nameServer, topic) =>
      aliOns(t, { role: 'produce', nameServer, topic, count: COUNT, isSteady: true }),
  },
]

const bodiesOf = (client: ForeignClient): ReadonlySet<string> => new Set(client.got.map(bodyOf))

async function clientOf(t: ExecutionContext, nameServer: string): Promise<Client> {
  const mq = await connect({ nameServers: nameServer })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  return mq
}

const createTopic = (mq: Client, name: string): Promise<unknown> =>
  eventually(async () => {
    try {
      return (await mq.admin.topics.create({ name, queues: 2 })) ?? true
    } catch {
      return undefined
    }
  })

async function withSlave(t: ExecutionContext) {
  const brokers = await startMasterWithSlave(t)
  return { ...brokers, mq: await clientOf(t, brokers.nameServer) }
}

for (const { name, missing, needsMaster, consume, produce } of KINDS) {
  const test = needing(`a client of ${name} with a slave`, missing)
  const testElected = needing(`a client of ${name} over a failover`, missing ?? etcdMissing())

  const reading = needsMaster ? 'reads what a slave has' : 'reads on from a slave'
  test(`${name} ${reading}, and writes again when it was promoted`, async (t) => {
    t.timeout(600_000)
    const { nameServer, master, slave, mq } = await withSlave(t)
    const topic = 'Replicated'
    await createTopic(mq, topic)
    const consumer = await consume(t, nameServer, topic)
    await consumer.ready()
    await mq.send({ topic, body: 'of the master' })
    await consumer.until('the first', () => bodiesOf(consumer).has('of the master'))
    await consumer.stop()
    const bodies = Array.from({ length: BEFORE }, (_, n) => `kept-${n}`)
    for (const body of bodies) await mq.send({ topic, body })
    await master.kill()
    const reader = await consume(t, nameServer, topic)
    const kept = () =>
      reader.until('what the slave has', () => bodies.every((body) => bodiesOf(reader).has(body)))
    if (!needsMaster) await kept()
    await promote(slave)
    await kept()
    const producer = await produce(t, nameServer, topic)
    await producer.until('all were sent', () => producer.of('sent').length === COUNT)
    await reader.until('the rest', () => bodiesOf(reader).size >= bodies.length + COUNT)
    t.pass()
  })

  testElected(`${name} goes on when an elected master dies`, async (t) => {
    t.timeout(600_000)
    const group = await startElected(t)
    const nameServer = group.nameServer.address('nameServer')
    await group.settled()
    const topic = 'Elected'
    await createTopic(await clientOf(t, nameServer), topic)
    const consumer = await consume(t, nameServer, topic)
    await consumer.ready()
    const producer = await produce(t, nameServer, topic)
    const sent = (): number => producer.of('sent').length
    await producer.until('some were sent', () => sent() >= BEFORE)
    const master = await group.master()
    const before = sent()
    const lostMs = performance.now()
    await master.kill()
    await producer.until('it sends again', () => sent() > before + 1)
    t.log(`the next message: ${Math.round(performance.now() - lostMs)} ms`)
    t.not(await group.master(), master)
    await producer.until('all were sent', () => sent() === COUNT)
    await consumer.until('all came', () => bodiesOf(consumer).size >= COUNT)
  })
}
