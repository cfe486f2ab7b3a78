// A broker of two that is frozen: its process stands still, its connections stay, and the routes
// name it on. The gateway's clock runs slower than the brokers', so only a wait that is much too
// long shows.
import test, { type ExecutionContext } from 'ava'
import { nextTurn } from '../../src/clock.ts'
import { type ClusterBroker, openClusterBroker } from '../../src/cluster/broker.ts'
import { BrokerError } from '../../src/errors.ts'
import { newMessage, receiveRequest, topicOf } from '../support/broker.ts'
import { RunningClock } from '../support/running-clock.ts'
import { type SpawnedServer, spawnServer } from '../support/server.ts'

/** Less than one request to the frozen broker waits. */
const SOON_MS = 2_500

let broker: ClusterBroker
let frozen: SpawnedServer
const clock = new RunningClock()
const endings: (() => unknown)[] = []

test.before(async () => {
  // A hook has no teardown of its own.
  const t = { teardown: (end: () => unknown) => void endings.unshift(end) }
  t.teardown(clock.run())
  const first = await spawnServer(t)
  const nameServers = [first.address('nameServer')]
  const config = { broker: { name: 'broker-b', nameServers } }
  frozen = await spawnServer(t, { role: 'broker', config })
  broker = await openClusterBroker({ clock, name: 'gateway', options: { nameServers } })
  t.teardown(() => broker.close())
  await broker.topics.put(topicOf('known', 1))
})
test.after.always(async () => {
  for (const end of endings) await end()
})

/** Returns how to wake it. */
function freeze(t: ExecutionContext): () => void {
  process.kill(frozen.pid, 'SIGSTOP')
  const wake = (): void => void process.kill(frozen.pid, 'SIGCONT')
  t.teardown(async () => {
    wake()
    while (await asked('known').catch(() => true)) await nextTurn()
  })
  return wake
}

/** The frozen broker is asked for something. */
const asked = async (topic: string): Promise<undefined> => {
  await broker.topics.range({ topic, brokerName: 'broker-b', queueId: 0 })
}

/** It is found out that it does not answer. */
async function foundOut(t: ExecutionContext): Promise<void> {
  const asking = t.throwsAsync(asked('known'), { code: 'TIMED_OUT' })
  await clock.pass(4_000)
  await asking
}

/** Fails for what took longer by the gateway's clock than a wait for the frozen broker. */
async function soon<T>(t: ExecutionContext, what: string, doing: Promise<T>): Promise<T> {
  const beganMs = clock.monotonic()
  const result = await doing
  const tookMs = clock.monotonic() - beganMs
  t.true(tookMs < SOON_MS, `${what} took ${tookMs} ms`)
  return result
}

test.serial('consumers go on with the messages of the other one', async (t) => {
  await broker.topics.put(topicOf('received', 2))
  await broker.groups.ensure('workers')
  const receive = (waitMs: number) =>
    broker.receive(receiveRequest('received', 'workers', { waitMs, maxMessages: 1 }))
  t.deepEqual(await receive(0), [])
  freeze(t)
  for (let n = 0; n < 4; n++) {
    const message = { body: `${n}`, brokerName: 'broker-a', queueId: 0 }
    const receiving = receive(20_000)
    const [result] = await broker.publish([newMessage('received', message)])
    t.false(result instanceof BrokerError)
    const [received] = await soon(t, `message ${n}`, receiving)
    t.deepEqual(await broker.ack([received!.receipt]), [null])
  }
})

test.serial('messages without a key go to the other one', async (t) => {
  await broker.topics.put(topicOf('sent', 2))
  const publish = (n: number) => broker.publish([newMessage('sent', { body: `${n}` })])
  freeze(t)
  await foundOut(t)
  for (let n = 0; n < 30; n++) {
    const [result] = await soon(t, `message ${n}`, publish(n))
    t.like(result, { brokerName: 'broker-a' })
  }
})

test.serial('once it is awake it takes messages again', async (t) => {
  await broker.topics.put(topicOf('awake', 1))
  const publish = () =>
    broker.publish([newMessage('awake', { body: 'a', brokerName: 'broker-b', queueId: 0 })])
  const wake = freeze(t)
  const publishing = publish()
  await clock.pass(5_000)
  wake()
  t.like(await publishing, [{ brokerName: 'broker-b' }])
  t.like(await publish(), [{ brokerName: 'broker-b' }])
})

test.serial('groups that are known are used on', async (t) => {
  await broker.groups.ensure('known')
  freeze(t)
  await clock.pass(2_000)
  await foundOut(t)
  await soon(t, 'the group', broker.groups.ensure('known'))
})
