// The admin API of a gateway before a cluster of two brokers: it reads and does there what the
// cluster can, and says what a cluster cannot.
import test, { type ExecutionContext } from 'ava'
import { ask } from '../../support/http.ts'
import { mqttClient } from '../../support/mqtt/mqtt.ts'
import { startServer } from '../../support/server.ts'
import { eventually } from '../../support/waiting.ts'

type Json = Record<string, unknown>

async function start(t: ExecutionContext) {
  const off = { mqtt: { enabled: false }, amqp: { enabled: false }, http: { enabled: false } }
  const first = await startServer(t, { config: off })
  const nameServers = [first.address('nameServer')]
  const broker = { name: 'broker-b', nameServers }
  await startServer(t, { role: 'broker', config: { ...off, broker } })
  const own = { broker: { name: 'gateway-1' }, cluster: { nameServers } }
  const gateway = await startServer(t, { role: 'gateway', config: own })
  const api = async (method: string, path: string, body?: unknown) => {
    const headers = { 'Content-Type': 'application/json' }
    const question = { method, ...(body !== undefined && { headers, body: JSON.stringify(body) }) }
    const { status, text } = await ask(gateway.port('http'), `/api/v1${path}`, question)
    return { status, json: (text === '' ? {} : JSON.parse(text)) as Json }
  }
  const brokers = async (path: string) => {
    const queues = (await api('GET', path)).json['queues'] as Json[]
    return [...new Set(queues.map(({ brokerName }) => brokerName))].toSorted()
  }
  return { gateway, api, brokers }
}

test('topics, messages and groups of all brokers are made, found, moved and deleted', async (t) => {
  const { api, brokers } = await start(t)
  t.is((await api('PUT', '/topics/orders', { queues: 2 })).status, 200)
  t.deepEqual(await brokers('/topics/orders'), ['broker-a', 'broker-b'])
  t.like((await api('PUT', '/topics/orders', { permission: 'read' })).json, {
    ...{ readQueues: 2, permission: 'read' },
  })
  await api('PUT', '/topics/orders', { permission: 'read-write' })
  const places = new Set<unknown>()
  await eventually(async () => {
    const sent = await api('POST', '/topics/orders/messages', { body: 'x', keys: ['k-1'] })
    t.is(sent.status, 200)
    places.add(sent.json['brokerName'])
    return places.size === 2
  })
  const found = (await api('GET', '/topics/orders/messages?key=k-1')).json['messages'] as Json[]
  const named = new Set(found.map(({ brokerName }) => brokerName))
  t.deepEqual([...named].toSorted(), [...places].toSorted())
  const [{ messageId, brokerName, queueId }] = found as [Json]
  for (const { offsetMessageId, brokerName } of found) {
    const shown = (await api('GET', `/messages/${offsetMessageId}`)).json
    t.like(shown, { offsetMessageId, brokerName, body: 'x' })
  }
  const byId = await api('GET', `/topics/orders/messages?id=${messageId}`)
  t.like((byId.json['messages'] as Json[])[0], { messageId })
  const place = `queue=${queueId}&offset=0&broker=${brokerName}`
  t.like((await api('GET', `/topics/orders/messages?${place}`)).json, {
    messages: [{ brokerName, queueId }],
  })
  const unclear = await api('GET', '/topics/orders/messages?queue=0&offset=0')
  t.is(unclear.status, 400)
  t.regex(String(unclear.json['detail']), /broker-a, broker-b: say which/)
  const all = (await api('GET', '/topics/orders/messages?fromMs=0')).json['messages'] as Json[]
  t.is(all.length, found.length)
  t.is((await api('PUT', '/groups/billing', { retryTimesMax: 3 })).status, 200)
  const moved = await api('POST', '/groups/billing/reset', { topic: 'orders', to: 'first' })
  t.is((moved.json['queues'] as Json[]).length, 4)
  t.like((await api('GET', '/groups/billing')).json, { retryTimesMax: 3, lag: all.length })
  t.deepEqual((await api('GET', '/topics/orders/groups')).json, {
    groups: [{ group: 'billing', lag: all.length }],
  })
  await api('POST', '/groups/billing/reset', { topic: 'orders', to: 'end' })
  t.like((await api('GET', '/groups/billing')).json, { lag: 0 })
  t.deepEqual((await api('GET', '/groups/billing/dead-letters')).json, { messages: [] })
  t.is((await api('DELETE', '/groups/billing')).status, 204)
  t.is((await api('DELETE', '/topics/orders')).status, 204)
  t.is((await api('GET', '/topics/orders')).status, 404)
})

test('clients and sessions are those of the gateway, whose topic of states is not deleted', async (t) => {
  const { api, gateway } = await start(t)
  await mqttClient(t, gateway.port('mqtt'), 5, { clientId: 'sensor' })
  const clients = (await api('GET', '/clients')).json['clients'] as Json[]
  t.deepEqual(
    clients.map(({ clientId, protocol }) => [clientId, protocol]),
    [['sensor', 'mqtt']],
  )
  t.like((await api('GET', '/mqtt/sessions')).json, { total: 1 })
  t.deepEqual((await api('GET', '/mqtt/retained')).json, { names: [] })
  t.deepEqual((await api('GET', '/amqp/links')).json, { links: [], total: 0 })
  t.like((await api('GET', '/status')).json, { writable: true, brokerName: 'gateway-1' })
  t.is((await api('GET', '/numbers')).status, 200)
  t.is((await api('GET', '/config')).status, 200)
  const topics = (await api('GET', '/topics')).json['topics'] as Json[]
  t.false(topics.some(({ name }) => name === 'TRIVET_STATE'))
  t.like((await api('GET', '/topics/TRIVET_STATE')).json, { kind: 'system' })
  const kept = await api('DELETE', '/topics/TRIVET_STATE')
  t.is(kept.status, 403)
  t.regex(String(kept.json['detail']), /gateways keep sessions/)
  for (const [method, body] of [
    ['GET', undefined],
    ['POST', { name: 'ann', password: 'a long word' }],
  ] as const) {
    const refused = await api(method, '/users', body)
    t.is(refused.status, 501)
    t.regex(String(refused.json['detail']), /configuration alone/)
  }
})
