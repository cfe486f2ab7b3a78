// /metrics as Prometheus asks for it.
import { connect as connectTo } from 'node:net'
import test from 'ava'
import { connect } from '../../../src/client/index.ts'
import { nextTurn, systemClock } from '../../../src/clock.ts'
import { BOOLEANS, gauge } from '../../../src/numbers/declared.ts'
import { cheapHash } from '../../support/cheap-password.ts'
import { ask, basic, openHttp } from '../../support/http.ts'
import { startServer } from '../../support/server.ts'
import { eventually } from '../../support/waiting.ts'

/** A line of a sample: name, labels, value. */
const SAMPLE =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?\d[\d.e+-]*|[+-]Inf|NaN)$/

/** @returns the value of each series, by name and labels as they are written */
function samplesOf(text: string): ReadonlyMap<string, number> {
  const samples = new Map<string, number>()
  const typed = new Set<string>()
  for (const line of text.split('\n').slice(0, -1)) {
    const [, declared] = /^# TYPE (\S+) (?:counter|gauge|histogram)$/.exec(line) ?? []
    if (declared !== undefined) {
      if (typed.has(declared)) throw new Error(`${declared} comes in two places`)
      typed.add(declared)
    }
    if (line.startsWith('#')) continue
    const [, name, labels = '', value] = SAMPLE.exec(line) ?? []
    if (name === undefined) throw new Error(`no sample: ${line}`)
    const family = name.replace(/_(bucket|sum|count)$/, '')
    if (!typed.has(name) && !typed.has(family)) throw new Error(`no type: ${line}`)
    if (samples.has(name + labels)) throw new Error(`twice: ${line}`)
    samples.set(name + labels, Number(value!.replace('Inf', 'Infinity')))
  }
  return samples
}

test("RocketMQ's numbers have its names and labels, by topic and group", async (t) => {
  const { port, address } = await startServer(t)
  const mq = await connect({ nameServers: address('nameServer') })
  t.teardown(() => mq.close())
  await mq.admin.topics.create({ name: 'orders', queues: 2 })
  for (let n = 0; n < 5; n++) await mq.send({ topic: 'orders', body: `${n}` })
  for await (const delivery of mq.subscribe({ group: 'billing', topic: 'orders', from: 'first' })) {
    await delivery.ack()
    break
  }
  const answer = await ask(port('http'), '/metrics')
  t.is(answer.status, 200)
  t.is(answer.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  const samples = samplesOf(answer.text)
  const node = 'cluster="DefaultCluster",node_type="broker",node_id="broker-a"'
  t.is(samples.get(`rocketmq_messages_in_total{${node},topic="orders",is_system="false"}`), 5)
  const lag = `rocketmq_consumer_lag_messages{${node},consumer_group="billing",topic="orders",is_retry="false",is_system="false"}`
  t.true(samples.has(lag))
  const out = `rocketmq_messages_out_total{${node},topic="orders",consumer_group="billing",is_system="false"}`
  t.true((samples.get(out) ?? 0) >= 1)
  t.is(samples.get('trivet_messages_in_total{protocol_type="remoting"}'), 5)
  t.is(samples.get('trivet_publish_seconds_bucket{protocol_type="remoting",le="+Inf"}'), 5)
  t.is(samples.get('trivet_publish_seconds_count{protocol_type="remoting"}'), 5)
  t.true((samples.get('trivet_store_sync_seconds_sum') ?? 0) > 0)
})

const user = (name: string, admin: boolean) => ({
  [name]: {
    ...{ password: cheapHash(name), admin },
    ...{ publish: ['*'], consume: ['*'], create: [] },
  },
})

test('with users the numbers are for those that may read about the cluster', async (t) => {
  const users = { ...user('root', true), ...user('alice', false) }
  const { port } = await openHttp(t, { clock: systemClock, users })
  const anonymous = await ask(port, '/metrics')
  t.is(anonymous.status, 401)
  t.is(anonymous.headers['www-authenticate'], 'Bearer realm="trivet"')
  t.is(anonymous.json()['code'], 'UNAUTHENTICATED')
  t.is((await ask(port, '/metrics', { headers: basic('root', 'wrong') })).status, 401)
  t.is((await ask(port, '/metrics', { headers: { Authorization: 'Digest x' } })).status, 400)
  t.is((await ask(port, '/metrics', { headers: basic('alice', 'alice') })).status, 403)
  t.is((await ask(port, '/metrics', { headers: basic('root', 'root') })).status, 200)
})

test('with http.openMetrics they are for all', async (t) => {
  const options = { openMetrics: true }
  const { port } = await openHttp(t, { clock: systemClock, options, users: user('root', true) })
  t.is((await ask(port, '/metrics')).status, 200)
})

test('a page whose name was led here reads nothing where there are no users', async (t) => {
  const options = { hosts: ['broker.example'], advertisedHost: 'mq.example' }
  const { port } = await openHttp(t, { clock: systemClock, options })
  const status = async (Host: string) => (await ask(port, '/metrics', { headers: { Host } })).status
  t.is(await status('pages.example:9877'), 421)
  t.is(await status('127.0.0.1.pages.example'), 421)
  for (const host of [
    'localhost:9877',
    '127.0.0.1',
    '[::1]:9877',
    'Broker.example',
    'mq.example',
  ]) {
    t.is(await status(host), 200, host)
  }
})

test('of thirty scrapes at once two look at the numbers', async (t) => {
  const { port, numbers } = await openHttp(t, { clock: systemClock })
  let looks = 0
  let isHeld = true
  numbers.details([], async () => {
    looks++
    while (isHeld) await nextTurn()
  })
  const socket = connectTo(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  socket.write('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(30))
  await eventually(async () => looks === 1)
  // Answered only after all of the chunk were taken.
  await ask(port, '/healthz')
  isHeld = false
  await eventually(async () => text.split('HTTP/1.1 200 OK').length === 31)
  t.is(looks, 2)
})

test('a number of single topics is not among those of the native protocol', async (t) => {
  const { numbers, port } = await openHttp(t, { clock: systemClock })
  const BY_TOPIC = gauge('test_by_topic', 'messages', {
    help: 'Test.',
    labels: { topic: 2, is_system: BOOLEANS },
    seriesMax: 2,
  })
  numbers.details([BY_TOPIC], (set) => {
    for (const topic of ['a"\\', 'b\nb', 'c']) set(BY_TOPIC, 1.5, { topic, is_system: 'false' })
  })
  t.false((await numbers.read()).some(({ declared }) => declared === BY_TOPIC))
  const samples = samplesOf((await ask(port, '/metrics')).text)
  t.is(samples.get('test_by_topic{topic="a\\"\\\\",is_system="false"}'), 1.5)
  t.is(samples.get('test_by_topic{topic="b\\nb",is_system="false"}'), 1.5)
  t.is(samples.get('trivet_series_left_out'), 1)
})
