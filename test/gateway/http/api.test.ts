// The admin API over real HTTP, before a whole server.
import { connect as connectTo } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { connect } from '../../../src/client/index.ts'
import type { ConfigInput } from '../../../src/config.ts'
import { ENDPOINTS } from '../../../src/gateway/http/api/table.ts'
import { cheapHash } from '../../support/cheap-password.ts'
import { ask, basic, type HttpQuestion } from '../../support/http.ts'
import { mqttClient } from '../../support/mqtt/mqtt.ts'
import { startServer } from '../../support/server.ts'
import { apiPage } from '../../support/sources/api-page.ts'
import { textOf } from '../../support/sources/sources.ts'
import { eventually } from '../../support/waiting.ts'

type Json = Record<string, unknown>

async function start(t: ExecutionContext, config: ConfigInput = {}) {
  const started = await startServer(t, { config })
  const port = started.port('http')
  const api = async (method: string, path: string, body?: unknown, headers: Json = {}) => {
    const question: HttpQuestion = {
      method,
      headers: {
        ...(headers as Record<string, string>),
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }
    const { status, text } = await ask(port, `/api/v1${path}`, question)
    return { status, json: (text === '' ? {} : JSON.parse(text)) as Json }
  }
  return { ...started, http: port, api }
}

test('a topic is made, changed, listed, described and deleted', async (t) => {
  const { api, http } = await start(t)
  const made = await api('PUT', '/topics/orders', { queues: 2 })
  t.is(made.status, 200)
  t.like(made.json, { name: 'orders', kind: 'user', readQueues: 2, permission: 'read-write' })
  t.like((await api('PUT', '/topics/orders', { permission: 'read' })).json, {
    ...{ readQueues: 2, permission: 'read' },
  })
  await api('PUT', '/topics/orders', { permission: 'read-write' })
  await api('POST', '/topics/orders/messages', { body: 'one' })
  const list = await api('GET', '/topics?contains=order')
  t.like(list.json, { total: 1 })
  t.like((list.json['topics'] as Json[])[0], { name: 'orders', messages: 1, stored: 1 })
  const all = (await api('GET', '/topics?all=true')).json['topics'] as Json[]
  t.true(all.some(({ kind }) => kind === 'system'))
  const described = await api('GET', '/topics/orders')
  t.is((described.json['queues'] as Json[]).length, 2)
  const { status, headers, text } = await ask(http, '/api/v1/topics/orders', { method: 'DELETE' })
  t.deepEqual([status, headers['content-length'], text], [204, undefined, ''])
  const gone = await api('GET', '/topics/orders')
  t.is(gone.status, 404)
  t.like(gone.json, { code: 'TOPIC_NOT_FOUND', status: 404, retryable: false })
})

test('a long list comes page by page', async (t) => {
  const { api } = await start(t)
  for (const name of ['a1', 'a2', 'b1', 'a3']) await api('PUT', `/topics/${name}`, { queues: 1 })
  const names: unknown[] = []
  let after = ''
  for (;;) {
    const { json } = await api('GET', `/topics?max=2&contains=a${after}`)
    t.is(json['total'], 3)
    names.push(...(json['topics'] as Json[]).map(({ name }) => name))
    if (json['next'] === undefined) break
    after = `&after=${json['next']}`
  }
  t.deepEqual(names, ['a1', 'a2', 'a3'])
})

test('a message is sent and found by id, key, place and time, whatever its bytes are', async (t) => {
  const { api, address } = await start(t)
  await api('PUT', '/topics/orders', { queues: 1 })
  const properties = { colour: 'grün' }
  const sent = await api('POST', '/topics/orders/messages', {
    ...{ body: 'hällo', tag: 'paid', keys: ['o-1', 'c-7'], properties },
  })
  t.like(sent.json, { topic: 'orders', queueId: 0, queueOffset: 0 })
  const bytes = Buffer.from([0, 255, 1, 2])
  await api('POST', '/topics/orders/messages', { bodyBase64: bytes.toString('base64') })
  const { messageId, offsetMessageId } = sent.json
  const wanted = { messageId, tag: 'paid', keys: ['o-1', 'c-7'], body: 'hällo', properties }
  for (const query of [`id=${messageId}`, 'key=c-7', 'queue=0&offset=0&max=1', 'fromMs=0&max=1']) {
    const { json } = await api('GET', `/topics/orders/messages?${query}`)
    const messages = json['messages'] as Json[]
    t.is(messages.length, 1, query)
    t.like(messages[0], wanted, query)
  }
  const newest = (await api('GET', '/topics/orders/messages')).json['messages'] as Json[]
  t.is(newest[0]!['bodyBase64'], bytes.toString('base64'))
  t.like((await api('GET', `/messages/${offsetMessageId}`)).json, wanted)
  t.is((await api('GET', `/messages/${'0'.repeat(32)}`)).status, 404)
  t.is((await api('GET', '/messages/none')).status, 400)
  // A native client reads what was sent here.
  const mq = await connect({ nameServers: address('nameServer') })
  t.teardown(() => mq.close())
  for await (const delivery of mq.subscribe({ group: 'g', topic: 'orders', from: 'first' })) {
    t.is(delivery.text(), 'hällo')
    t.is(delivery.properties.get('colour'), 'grün')
    await delivery.ack()
    break
  }
})

test('of a long body a list has the beginning, and the message itself all', async (t) => {
  const { api } = await start(t)
  await api('PUT', '/topics/orders', { queues: 1 })
  const body = 'x'.repeat(300_000)
  const { json } = await api('POST', '/topics/orders/messages', { body })
  const [preview] = (await api('GET', '/topics/orders/messages')).json['messages'] as Json[]
  t.like(preview, { body: 'x'.repeat(1024), bodyBytes: 300_000, isTruncated: true })
  t.is((await api('GET', `/messages/${json['offsetMessageId']}`)).json['body'], body)
})

test('a group shows its members and places, and is moved', async (t) => {
  const { api, address } = await start(t)
  await api('PUT', '/topics/orders', { queues: 1 })
  for (const body of ['1', '2', '3']) await api('POST', '/topics/orders/messages', { body })
  const mq = await connect({ nameServers: address('nameServer') })
  t.teardown(() => mq.close())
  let count = 0
  for await (const delivery of mq.subscribe({ group: 'billing', topic: 'orders', from: 'first' })) {
    await delivery.ack()
    if (++count < 3) continue
    const { json } = await api('GET', '/groups/billing')
    t.like(json, { name: 'billing' })
    t.like((json['members'] as Json[])[0], { protocol: 'remoting', topics: ['orders'] })
    break
  }
  const reset = await api('POST', '/groups/billing/reset', { topic: 'orders', to: 'first' })
  t.deepEqual(reset.json['queues'], [
    { topic: 'orders', brokerName: 'broker-a', queueId: 0, offset: 0 },
  ])
  const [group] = (await api('GET', '/groups')).json['groups'] as Json[]
  t.like(group, { name: 'billing', lag: 3 })
  t.deepEqual((await api('GET', '/topics/orders/groups')).json['groups'], [
    { group: 'billing', lag: 3 },
  ])
  const to = { offset: 99 }
  const refused = await api('POST', '/groups/billing/reset', { topic: 'orders', to })
  t.is(refused.json['code'], 'OFFSET_OUT_OF_RANGE')
  t.like((await api('PUT', '/groups/billing', { retryTimesMax: 3 })).json, { retryTimesMax: 3 })
  t.is((await api('DELETE', '/groups/billing')).status, 204)
  t.is((await api('GET', '/groups/billing')).status, 404)
})

test('dead letters are listed and replayed to where they came from', async (t) => {
  const { api, server, address } = await start(t)
  await api('PUT', '/topics/orders', { queues: 1 })
  await api('PUT', '/groups/billing', { retryTimesMax: 0 })
  const sent = await api('POST', '/topics/orders/messages', { body: 'bad', tag: 'paid' })
  const mq = await connect({ nameServers: address('nameServer') })
  t.teardown(() => mq.close())
  t.truthy(server)
  for await (const delivery of mq.subscribe({ group: 'billing', topic: 'orders', from: 'first' })) {
    await delivery.nack()
    break
  }
  const listed = (await api('GET', '/groups/billing/dead-letters')).json['messages'] as Json[]
  t.is(listed.length, 1)
  t.like(listed[0], { topic: 'orders', storedTopic: '%DLQ%billing', body: 'bad', tag: 'paid' })
  const ids = [sent.json['messageId']]
  t.is(listed[0]!['messageId'], ids[0])
  const path = '/groups/billing/dead-letters/replay'
  t.is((await api('POST', path, { ids: [...ids, 'other'] })).status, 404)
  const replayed = (await api('POST', path, { ids })).json['replayed'] as Json[]
  t.like(replayed[0], { from: ids[0], topic: 'orders' })
  const messages = (await api('GET', '/topics/orders/messages')).json['messages'] as Json[]
  t.is(messages.length, 2)
  t.like(messages[0], { messageId: replayed[0]!['messageId'], body: 'bad', tag: 'paid' })
})

test('of several dead letters those that are not taken are told, and the others are sent', async (t) => {
  const { api, address } = await start(t)
  await api('PUT', '/groups/billing', { retryTimesMax: 0 })
  const mq = await connect({ nameServers: address('nameServer') })
  t.teardown(() => mq.close())
  const ids: unknown[] = []
  for (const topic of ['open', 'shut']) {
    await api('PUT', `/topics/${topic}`, { queues: 1 })
    ids.push((await api('POST', `/topics/${topic}/messages`, { body: topic })).json['messageId'])
    for await (const delivery of mq.subscribe({ group: 'billing', topic, from: 'first' })) {
      await delivery.nack()
      break
    }
  }
  await api('PUT', '/topics/shut', { permission: 'read' })
  const path = '/groups/billing/dead-letters/replay'
  const { json } = await api('POST', path, { ids })
  t.like(json['replayed'], [{ from: ids[0], topic: 'open' }])
  t.like(json['failed'], [{ from: ids[1], code: 'PERMISSION_DENIED' }])
  t.is((await api('POST', path, { ids: ids.slice(1) })).status, 403)
})

test('status, numbers, settings and clients are told, without secrets', async (t) => {
  const { api, port } = await start(t)
  await mqttClient(t, port('mqtt'), 5)
  t.like((await api('GET', '/status')).json, { brokerName: 'broker-a', writable: true })
  t.is((await api('GET', '/numbers')).json['trivet_mqtt_sessions{state="connected"}'], 1)
  t.like((await api('GET', '/config')).json, { store: { flush: 'sync' } })
  const { json } = await api('GET', '/clients?protocol=mqtt')
  t.is(json['total'], 1)
  t.like((json['clients'] as Json[])[0], { protocol: 'mqtt', language: 'MQTT', consumers: [] })
  t.is((await api('GET', '/clients?protocol=amqp')).json['total'], 0)
})

test('MQTT sessions and retained names are told, page by page', async (t) => {
  const { api, port } = await start(t)
  const sensor = await mqttClient(t, port('mqtt'), 5, { clientId: 'sensor' })
  await sensor.subscribe('plant/+/state', { qos: 1 })
  await mqttClient(t, port('mqtt'), 5, { clientId: 'other' })
  for (const name of ['a', 'b', 'c']) {
    await sensor.publish(`plant/${name}`, 'on', { qos: 1, retain: true })
  }
  const first = (await api('GET', '/mqtt/sessions?max=1')).json
  t.like(first, { total: 2, next: 'other' })
  const second = (await api('GET', '/mqtt/sessions?max=1&after=other')).json
  t.like((second['sessions'] as Json[])[0], {
    clientId: 'sensor',
    isConnected: true,
    subscriptions: 1,
  })
  t.is(second['next'], undefined)
  t.like((await api('GET', '/mqtt/sessions/sensor')).json, {
    subscriptions: [{ filter: 'plant/+/state', qos: 1 }],
  })
  t.is((await api('GET', '/mqtt/sessions/none')).status, 404)
  const names = async (query: string) => (await api('GET', `/mqtt/retained?${query}`)).json
  t.deepEqual(await names('max=2'), { names: ['plant/a', 'plant/b'], next: 'plant/b' })
  t.deepEqual(await names('max=2&after=plant/b'), { names: ['plant/c'] })
  t.deepEqual(await names('filter=plant/b'), { names: ['plant/b'] })
})

const users = {
  root: { password: cheapHash('root'), secretKey: 'a secret of root', admin: true },
  alice: { password: cheapHash('alice'), publish: ['orders'], consume: ['orders', 'billing'] },
}

test('a user may do by HTTP what it may do by other protocols', async (t) => {
  const { api } = await start(t, { users })
  const root = basic('root', 'root')
  const alice = basic('alice', 'alice')
  t.is((await api('GET', '/topics')).status, 401)
  await api('PUT', '/topics/orders', { queues: 1 }, root)
  await api('PUT', '/topics/secret', { queues: 1 }, root)
  const status = async (...question: Parameters<typeof api>) => (await api(...question)).status
  t.is(await status('POST', '/topics/orders/messages', { body: 'x' }, alice), 200)
  t.is(await status('GET', '/topics/orders/messages', undefined, alice), 200)
  for (const [method, path, body] of [
    ['POST', '/topics/secret/messages', { body: 'x' }],
    ['POST', '/topics/fresh/messages', { body: 'x' }],
    ['GET', '/topics/secret/messages', undefined],
    ['GET', '/topics/secret', undefined],
    ['PUT', '/topics/fresh', { queues: 1 }],
    ['PUT', '/topics/orders', { queues: 4 }],
    ['DELETE', '/topics/orders', undefined],
    ['DELETE', '/groups/billing', undefined],
    ['POST', '/groups/billing/reset', { topic: 'orders', to: 'end' }],
    ['GET', '/clients', undefined],
    ['GET', '/mqtt/sessions', undefined],
    ['GET', '/amqp/links', undefined],
    ['GET', '/mqtt/retained', undefined],
    ['GET', '/status', undefined],
    ['GET', '/config', undefined],
    ['GET', '/users', undefined],
    ['POST', '/users', { name: 'mallory', password: 'x', admin: true }],
  ] as const) {
    const refused = await status(method, path, body, alice)
    const isHidden = path === '/topics/fresh/messages'
    t.true(refused === 403 || (isHidden && refused === 404), `${method} ${path}: ${refused}`)
  }
  const seen = (await api('GET', '/topics', undefined, alice)).json['topics'] as Json[]
  t.deepEqual(
    seen.map(({ name }) => name),
    ['orders'],
  )
})

test('a group is shown without its place in topics that its reader may not read', async (t) => {
  const { api } = await start(t, { users })
  const root = basic('root', 'root')
  const alice = basic('alice', 'alice')
  await api('PUT', '/groups/billing', {}, root)
  for (const topic of ['orders', 'secret']) {
    await api('PUT', `/topics/${topic}`, { queues: 1 }, root)
    for (const body of ['one', 'two'])
      await api('POST', `/topics/${topic}/messages`, { body }, root)
    await api('POST', '/groups/billing/reset', { topic, to: { offset: 1 } }, root)
  }
  for (const [user, topics, lag] of [
    [root, ['orders', 'secret'], 2],
    [alice, ['orders'], 1],
  ] as const) {
    const { json } = await api('GET', '/groups/billing', undefined, user)
    const queues = json['queues'] as Json[]
    const own = queues.map(({ topic }) => String(topic)).filter((topic) => !topic.startsWith('%'))
    t.deepEqual(own.toSorted(), topics)
    t.is(json['lag'], lag)
    const list = await api('GET', '/groups?contains=billing', undefined, user)
    t.like((list.json['groups'] as Json[])[0], { lag })
  }
})

test('users are made, given rights, disabled and deleted, and no secret is told', async (t) => {
  const { api } = await start(t, { users })
  const root = basic('root', 'root')
  const bob = basic('bob', 'secret of bob')
  t.is((await api('POST', '/users', { name: 'bob', password: 'secret of bob' }, root)).status, 204)
  await api('PUT', '/topics/orders', { queues: 1 }, root)
  t.is((await api('GET', '/topics/orders', undefined, bob)).status, 403)
  const entries = [{ resource: 'Topic:orders', actions: ['Get'] }]
  t.is((await api('PUT', '/users/bob/rights', { entries }, root)).status, 204)
  t.is((await api('GET', '/topics/orders', undefined, bob)).status, 200)
  const listed = await api('GET', '/users', undefined, root)
  const [, , third] = listed.json['users'] as Json[]
  t.like(third, { name: 'bob', admin: false, enabled: true, isConfigured: false })
  t.notRegex(JSON.stringify(listed.json), /secret of|scrypt/)
  t.notRegex(
    JSON.stringify((await api('GET', '/config', undefined, root)).json),
    /secret of|scrypt/,
  )
  t.is((await api('DELETE', '/users/bob/rights', undefined, root)).status, 204)
  t.is((await api('GET', '/topics/orders', undefined, bob)).status, 403)
  t.is((await api('PATCH', '/users/bob', { enabled: false }, root)).status, 204)
  t.is((await api('GET', '/topics/orders', undefined, bob)).status, 401)
  t.is((await api('DELETE', '/users/bob', undefined, root)).status, 204)
  t.is((await api('DELETE', '/users/bob', undefined, root)).status, 400)
})

for (const [what, headers, status] of [
  ['another site', { 'Sec-Fetch-Site': 'cross-site', 'Content-Type': 'application/json' }, 403],
  ['another host', { Origin: 'http://pages.example', 'Content-Type': 'application/json' }, 403],
  ['a plain form', { 'Content-Type': 'text/plain' }, 415],
  ['a name that was led here', { Host: 'pages.example', 'Content-Type': 'application/json' }, 421],
] as const) {
  test(`a page of ${what} changes nothing`, async (t) => {
    const { http, api } = await start(t)
    const question = { method: 'PUT', headers, body: '{"queues":1}' }
    t.is((await ask(http, '/api/v1/topics/forged', question)).status, status)
    t.is((await api('GET', '/topics/forged')).status, 404)
  })
}

test('nothing that changes anything is open to a page of another site', async (t) => {
  const { http } = await start(t)
  const changing = ENDPOINTS.filter(({ method }) => method !== 'GET')
  t.true(changing.length > 10)
  for (const { method, path, body } of changing) {
    const target = `/api/v1${path.replaceAll(/:\w+/g, 'x')}`
    for (const foreign of [
      { 'Sec-Fetch-Site': 'cross-site' },
      { 'Sec-Fetch-Site': 'same-site' },
      { Origin: 'http://pages.example' },
      { Origin: 'null' },
    ]) {
      const headers = { ...foreign, 'Content-Type': 'application/json' }
      const question = { method, headers, ...(body !== undefined && { body: '{}' }) }
      const { status } = await ask(http, target, question)
      t.is(status, 403, `${method} ${path} ${JSON.stringify(foreign)}`)
    }
  }
})

test('what is asked wrongly is refused with what is wrong', async (t) => {
  const { api, http } = await start(t)
  const detail = async (...question: Parameters<typeof api>) => {
    const { status, json } = await api(...question)
    return `${status} ${json['detail']}`
  }
  t.regex(await detail('PUT', '/topics/a', { queues: 0 }), /^400 .*queues/)
  t.regex(await detail('PUT', '/topics/a', { queus: 1 }), /^400 .*queus/)
  t.regex(await detail('PUT', '/topics/a%20b', { queues: 1 }), /^400 .*character outside/)
  t.regex(await detail('GET', '/topics?maxx=1'), /^400 .*maxx/)
  t.regex(await detail('GET', '/status?x=1'), /^400 .*'x'/)
  t.regex(await detail('POST', '/topics/a/messages', {}), /^400 say 'body' or 'bodyBase64'/)
  const given = { 'Content-Type': 'application/json' }
  const broken = { method: 'PUT', headers: given, body: '{"queues":' }
  t.is((await ask(http, '/api/v1/topics/a', broken)).status, 400)
  const long = { method: 'PUT', headers: given, body: `"${'x'.repeat(300_000)}"` }
  t.is((await ask(http, '/api/v1/topics/a', long)).status, 413)
  t.is((await ask(http, '/api/v1/topics/%ff')).status, 400)
})

test('the OpenAPI document has every endpoint, and the reference page is made from them', async (t) => {
  const { http } = await start(t)
  const document = (await ask(http, '/api/v1/openapi.json')).json() as {
    openapi: string
    paths: Record<string, Record<string, { responses: Json; parameters: { in: string }[] }>>
  }
  t.is(document.openapi, '3.1.0')
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path))
  t.is(operations.length, ENDPOINTS.length)
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const { parameters } of Object.values(methods)) {
      const inPath = parameters.filter((one) => one.in === 'path').length
      t.is(inPath, path.split('{').length - 1, path)
    }
  }
  t.is(textOf('docs/reference/admin-api.md'), apiPage(ENDPOINTS))
})

test('beyond the room for bodies under way others are told to come again', async (t) => {
  const { http, api } = await start(t, { broker: { bodyBytesMax: 16_777_216 } })
  await api('PUT', '/topics/orders', { queues: 1 })
  const head = (bytes: number): string =>
    'POST /api/v1/topics/orders/messages HTTP/1.1\r\nHost: localhost\r\n' +
    `Content-Type: application/json\r\nContent-Length: ${bytes}\r\n\r\n`
  const peers = [1, 2, 3].map(() => connectTo(http, '127.0.0.1'))
  let answered = ''
  for (const peer of peers) {
    t.teardown(() => peer.destroy())
    peer.setEncoding('utf8').on('data', (text: string) => {
      answered += text
    })
    peer.write(head(23_000_000))
  }
  await eventually(async () => answered !== '')
  t.regex(answered, /^HTTP\/1\.1 503 /)
  for (const peer of peers) peer.destroy()
  const sent = async () => (await api('POST', '/topics/orders/messages', { body: 'x' })).status
  await eventually(async () => (await sent()) === 200)
})
