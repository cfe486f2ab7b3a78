// kill -9 of an aedes process, and of the broker under it: what was acknowledged stays, sessions go
// on, and wills go out.
import test, { type ExecutionContext } from 'ava'
import { mqttClient, persistent, type TestClient } from '../support/mqtt/mqtt.ts'
import { spawnServer } from '../support/server.ts'
import { eventually } from '../support/waiting.ts'
import { type SpawnedAedes, spawnAedes } from './spawned-aedes.ts'

const client = (t: ExecutionContext, { port }: SpawnedAedes, shape = {}): Promise<TestClient> =>
  mqttClient(t, port, 4, shape)

/** Connects as soon as the server, which comes up again, takes it. */
const again = (t: ExecutionContext, aedes: SpawnedAedes, shape = {}): Promise<TestClient> =>
  eventually(() => client(t, aedes, shape).catch(() => undefined))

/** Publishes one after the other, several at a time, until the connection ends. */
function publishing(publisher: TestClient, qos: 1 | 2) {
  const acknowledged = new Set<string>()
  let isOver = false
  let count = 0
  const line = async (): Promise<void> => {
    while (!isOver) {
      const text = `${qos}-${count++}`
      await publisher.publish(`a/${count % 7}`, text, { qos })
      acknowledged.add(text)
    }
  }
  const ended = Promise.allSettled([...Array(8)].map(() => line()))
  publisher.client.once('close', () => {
    isOver = true
  })
  return { acknowledged, ended }
}

for (const killed of ['aedes', 'the broker'] as const) {
  test.serial(
    `kill -9 of ${killed}: a session is given every message that was acknowledged`,
    async (t) => {
      const broker = await spawnServer(t)
      const aedes = await spawnAedes(t, broker)
      const subscriber = await client(t, aedes, persistent('meter'))
      await subscriber.subscribe('a/#', { qos: 2 })
      await subscriber.end()
      const publishers = [await client(t, aedes), await client(t, aedes)]
      const retaining = await client(t, aedes)
      await retaining.publish('state/a', 'on', { retain: true })
      const [one, two] = [publishing(publishers[0]!, 1), publishing(publishers[1]!, 2)]
      await eventually(async () => one.acknowledged.size > 100 && two.acknowledged.size > 30)

      if (killed === 'aedes') await aedes.kill()
      else await broker.kill()
      for (const publisher of publishers) publisher.client.end(true)
      await Promise.all([one.ended, two.ended])
      await (killed === 'aedes' ? aedes : broker).start()

      const acknowledged = [...one.acknowledged, ...two.acknowledged]
      const back = await again(t, aedes, persistent('meter'))
      await eventually(async () => {
        const seen = new Set(back.texts)
        return acknowledged.every((text) => seen.has(text))
      })
      // Those of QoS 2 are there once each.
      const exact = back.texts.filter((text) => text.startsWith('2-'))
      t.is(new Set(exact).size, exact.length)
      await back.subscribe('state/#')
      await eventually(async () => back.texts.includes('on'))
      await back.publish('a/1', 'live')
      await eventually(async () => back.texts.includes('live'))
    },
  )
}

test.serial(
  'kill -9 of aedes: what a client has not acknowledged comes again, and only that',
  async (t) => {
    const broker = await spawnServer(t)
    const aedes = await spawnAedes(t, broker)
    const subscriber = await client(t, aedes, persistent('meter'))
    await subscriber.subscribe('a/#', { qos: 2 })
    const publisher = await client(t, aedes)
    let holdsBack = false
    subscriber.client.handleMessage = (_packet, done) => {
      if (!holdsBack) done()
    }
    for (let i = 0; i < 20; i++) await publisher.publish('a/b', `acknowledged ${i}`)
    await subscriber.messages(20)
    // Behind its acknowledgements; before a QoS 2 message goes out the session is on the disk.
    await subscriber.publish('a/b', 'of itself', { qos: 2 })
    await subscriber.messages(21)
    holdsBack = true
    for (let i = 0; i < 3; i++) await publisher.publish('a/b', `open ${i}`)
    await aedes.kill()
    subscriber.client.end(true)
    await aedes.start()
    const back = await again(t, aedes, persistent('meter'))
    await back.messages(3)
    t.deepEqual(back.texts.slice(0, 3), ['open 0', 'open 1', 'open 2'])
  },
)

test.serial('kill -9 of aedes: another process publishes the wills of its clients', async (t) => {
  const broker = await spawnServer(t)
  const heartbeatMs = 200
  const [one, other] = [
    await spawnAedes(t, broker, { heartbeatMs }),
    await spawnAedes(t, broker, { heartbeatMs }),
  ]
  await client(t, one, {
    clientId: 'meter',
    will: { topic: 'gone/meter', payload: Buffer.from('bye'), qos: 1, retain: false },
  })
  const watcher = await client(t, other)
  await watcher.subscribe('gone/#')
  await one.kill()
  t.like((await watcher.messages(1))[0], { topic: 'gone/meter', text: 'bye' })
})
