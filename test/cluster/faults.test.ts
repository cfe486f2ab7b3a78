// A gateway before a cluster that is not as it should be: what it says, and what goes on.
import test from 'ava'
import { systemClock } from '../../src/clock.ts'
import { openClusterBroker } from '../../src/cluster/broker.ts'
import type { ClusterOptions } from '../../src/cluster/options.ts'
import type { ConfigInput } from '../../src/config.ts'
import { BrokerError } from '../../src/errors.ts'
import { REQUEST, RESPONSE } from '../../src/remoting/codes.ts'
import { encodeClusterInfo } from '../../src/remoting/requests/route.ts'
import { newMessage, receiptsOf, receiveRequest, topicOf } from '../support/broker.ts'
import { pem, SERVER_TLS } from '../support/certificates.ts'
import { startFakeRocketmq } from '../support/native/fake-rocketmq.ts'
import { RunningClock } from '../support/running-clock.ts'
import { startServer } from '../support/server.ts'

const opening = (options: Partial<ClusterOptions> & Pick<ClusterOptions, 'nameServers'>) =>
  openClusterBroker({ clock: systemClock, name: 'gateway', options })

test('without a name server it says which were asked and what to set', async (t) => {
  const fake = await startFakeRocketmq(t)
  const nameServers = [fake.address]
  await fake.stop()
  const error = await t.throwsAsync(opening({ nameServers }), { code: 'UNREACHABLE' })
  t.regex(error!.message, new RegExp(`${fake.address} \\(cluster\\.nameServers\\)`))
  t.regex(error!.message, /no name server answers/)
})

test('a broker that advertises where it is not is named, with what to set', async (t) => {
  const fake = await startFakeRocketmq(t)
  const other = await startFakeRocketmq(t)
  fake.setBroker(other.address)
  await other.stop()
  const error = await t.throwsAsync(opening({ nameServers: [fake.address] }), {
    code: 'UNREACHABLE',
  })
  t.true(error!.message.includes(other.address))
  t.regex(error!.message, /broker 'broker-a' says it is.*brokerIP1/)
})

test('brokers that advertise one address are named', async (t) => {
  const fake = await startFakeRocketmq(t)
  const addresses = new Map([[0, fake.address]])
  const brokers = ['broker-a', 'broker-b'].map((brokerName) => ({
    ...{ cluster: 'DefaultCluster', brokerName, addresses },
  }))
  fake.intercept(REQUEST.getClusterInfo, () => ({ body: encodeClusterInfo({ brokers }) }))
  const error = await t.throwsAsync(opening({ nameServers: [fake.address] }), {
    code: 'CONFIG_INVALID',
  })
  t.regex(error!.message, /'broker-a' and 'broker-b' both say.*brokerIP1/)
})

test('a broker of RocketMQ 4 is named, with what a gateway needs', async (t) => {
  const fake = await startFakeRocketmq(t)
  fake.intercept(REQUEST.getTopicConfig, () => ({ code: RESPONSE.requestCodeNotSupported }))
  const error = await t.throwsAsync(opening({ nameServers: [fake.address] }), {
    code: 'NOT_SUPPORTED',
  })
  t.regex(error!.message, /broker 'broker-a' at .* is of RocketMQ 4.*brokers of RocketMQ 5/)
})

test('while no name server answers, what is known goes on', async (t) => {
  const clock = new RunningClock()
  t.teardown(clock.run())
  const names = await startServer(t, { clock, role: 'namesrv' })
  const nameServers = [names.address('nameServer')]
  await startServer(t, { clock, role: 'broker', config: { broker: { nameServers } } })
  const broker = await openClusterBroker({ clock, name: 'gateway', options: { nameServers } })
  t.teardown(() => broker.close())
  await broker.topics.put(topicOf('orders', 1))
  await broker.groups.ensure('workers')
  const publish = (body: string) => broker.publish([newMessage('orders', { body })])
  await publish('before')
  const take = async (): Promise<void> => {
    const request = receiveRequest('orders', 'workers', { waitMs: 20_000 })
    const receipts = receiptsOf(await broker.receive(request))
    t.deepEqual(await broker.ack(receipts), [null])
  }
  await take()
  await names.server.close()
  // Longer than a route is fresh.
  await clock.pass(40_000)
  t.is((await broker.topics.ensure('orders')).name, 'orders')
  t.is((await broker.groups.ensure('workers')).name, 'workers')
  const [result] = await publish('after')
  t.false(result instanceof BrokerError, String(result))
  await take()
  await t.throwsAsync(opening({ nameServers }), { code: 'UNREACHABLE' })
})

const SECURED: ConfigInput = {
  tls: SERVER_TLS,
  nameServer: { tls: 'enforcing' },
  remoting: { tls: 'enforcing' },
  users: {
    gateway: {
      secretKey: 'open-sesame',
      publish: ['open', 'TRIVET_STATE'],
      consume: ['*'],
      create: ['*'],
    },
  },
}

test('over TLS and as a user: what is not granted is refused, and nothing else', async (t) => {
  const server = await startServer(t, { config: SECURED })
  const nameServers = [server.address('nameServer')]
  const tls = { ca: pem('ca.pem') }
  const credentials = { accessKey: 'gateway', secretKey: 'open-sesame' }
  await t.throwsAsync(opening({ nameServers, credentials }), { code: 'UNREACHABLE' })
  const stranger = { ...credentials, secretKey: 'open-barley' }
  for (const wrong of [stranger, undefined]) {
    const error = await t.throwsAsync(opening({ nameServers, tls, credentials: wrong }), {
      code: 'PERMISSION_DENIED',
    })
    t.regex(error!.message, /cluster\.accessKey/)
  }
  const broker = await opening({ nameServers, tls, credentials })
  t.teardown(() => broker.close())
  for (const name of ['open', 'closed']) await broker.topics.put(topicOf(name, 1))
  const results = await broker.publish(
    ['open', 'closed', 'open', 'closed'].map((topic) => newMessage(topic)),
  )
  t.deepEqual(
    results.map((result) => (result instanceof BrokerError ? result.code : 'stored')),
    ['stored', 'PERMISSION_DENIED', 'stored', 'PERMISSION_DENIED'],
  )
})
