// Load over RocketMQ's native protocol, against us or against Apache RocketMQ: raw sockets, frames
// encoded before the start, only the correlation id patched per message. Bounded in time; prints,
// asserts nothing.
//
//   npx tsc -b && node dist/bench/native.js --namesrv 127.0.0.1:9876
//
//   --namesrv host:port    find the broker by its route      --host H --port P   or say where it is
//   --mode send|pull       send messages, or read what is there from the beginning of each queue
//   --mode pop|pop-batch   pop what is there and acknowledge one by one, or each POP together
//   --mode transact        half messages and their commits (JSON headers)
//   --sql                  send: a property n from 0 to 99; pull: the one in a hundred with n = 0
//   --topic bench          created with --queues [8] when missing
//   --connections 16       --in-flight 128 per connection (pull: one; pop: 4 POPs of --batch each)
//   --body 100             bytes                              --batch 32   messages per pull
//   --seconds 5            after --warmup 1                   --codec json|binary
//   --count N              until so many messages are done, in at most --seconds
//   --tls                  over TLS 1.3, whatever the certificate
//   --pid P                the broker's process: its CPU time per message
//   --json                 one line of JSON
import { parseArgs } from 'node:util'
import { systemClock } from '../src/clock.ts'
import { splitAddress } from '../src/model/host.ts'
import { REQUEST, RESPONSE } from '../src/remoting/codes.ts'
import { dial } from '../src/remoting/connection.ts'
import { CODEC_BINARY, CODEC_JSON } from '../src/remoting/frame.ts'
import { writeFields } from '../src/remoting/layout.ts'
import { decodeRoute } from '../src/remoting/requests/route.ts'
import { UPDATE_TOPIC } from '../src/remoting/requests/topics.ts'
import { CpuMeter } from './native/cpu-meter.ts'
import { Histogram } from './native/histogram.ts'
import { type Load, type LoadOptions, PullLoad, SendLoad } from './native/load.ts'
import { PopLoad } from './native/pop-load.ts'
import { TransactLoad } from './native/transact.ts'

const { values } = parseArgs({
  options: {
    namesrv: { type: 'string' },
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '10911' },
    mode: { type: 'string', default: 'send' },
    topic: { type: 'string', default: 'bench' },
    queues: { type: 'string', default: '8' },
    connections: { type: 'string', default: '16' },
    'in-flight': { type: 'string' },
    body: { type: 'string', default: '100' },
    batch: { type: 'string', default: '32' },
    seconds: { type: 'string', default: '5' },
    count: { type: 'string' },
    warmup: { type: 'string', default: '1' },
    codec: { type: 'string', default: 'json' },
    sql: { type: 'boolean', default: false },
    tls: { type: 'boolean', default: false },
    pid: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})

const SECONDS_MAX = 600
/** A POP answers with a batch, so a window of 128 would be one of 65,536 messages. */
const inFlight = Number(values['in-flight'] ?? (values.mode.startsWith('pop') ? 4 : 128))
const topic = values.topic
const queues = Number(values.queues)

/** The broker, told by the name server or by the command line; the topic is there afterwards. */
async function prepare(): Promise<{ host: string; port: number }> {
  const given = { host: values.host, port: Number(values.port) }
  const broker = values.namesrv === undefined ? given : await brokerOf(values.namesrv)
  const connection = await dial({ ...broker, clock: systemClock })
  const fields = writeFields(UPDATE_TOPIC, {
    ...{ topic, defaultTopic: 'TBW102', readQueueNums: queues, writeQueueNums: queues, perm: 6 },
    ...{ topicFilterType: 'SINGLE_TAG', topicSysFlag: 0, order: false },
  })
  const made = await connection.request(REQUEST.updateTopic, { fields, timeoutMs: 10_000 })
  connection.close()
  if (made.code !== RESPONSE.success) throw new Error(`the topic: ${made.code} ${made.remark}`)
  return broker
}

async function brokerOf(nameServer: string): Promise<{ host: string; port: number }> {
  const connection = await dial({ ...splitAddress(nameServer), clock: systemClock })
  const fields = new Map([['topic', 'TBW102']])
  const { brokers } = decodeRoute((await connection.request(REQUEST.getRoute, { fields })).body)
  connection.close()
  const address = brokers[0]?.addresses.get(0)
  if (address === undefined) throw new Error(`${nameServer} knows no broker`)
  return splitAddress(address)
}

async function main(): Promise<void> {
  const broker = await prepare()
  const latency = new Histogram()
  const options = {
    ...broker,
    ...{
      topic,
      queues,
      latency,
      isSql: values.sql,
      isTls: values.tls,
      bodyBytes: Number(values.body),
      batch: Number(values.batch),
    },
    inFlight,
    codec: values.codec === 'binary' ? CODEC_BINARY : CODEC_JSON,
  } as const
  const loads: Load[] = []
  for (let i = 0; i < Number(values.connections); i++) {
    loads.push(loadOf(values.mode, { ...options, index: i }))
  }
  await Promise.all(loads.map((load) => load.connect()))
  for (const load of loads) load.start()
  await pause(Number(values.warmup) * 1000)
  const cpu = values.pid === undefined ? undefined : new CpuMeter(Number(values.pid))
  const own = process.cpuUsage()
  latency.reset()
  const before = total(loads)
  const startedMs = performance.now()
  const untilMs = startedMs + Math.min(Number(values.seconds), SECONDS_MAX) * 1000
  if (values.count === undefined) await pause(untilMs - startedMs)
  else await done(loads, before + Number(values.count), untilMs)
  const seconds = (performance.now() - startedMs) / 1000
  const messages = total(loads) - before
  const used = cpu?.read()
  const ownUsed = process.cpuUsage(own)
  for (const load of loads) load.stop()
  const errors = loads.reduce((sum, load) => sum + load.tally.errors, 0)
  print({
    mode: values.mode,
    perSecond: Math.round(messages / seconds),
    ...latency.summary(),
    errors,
    firstError: loads.find(({ tally }) => tally.firstError !== undefined)?.tally.firstError,
    brokerUs: used && round(used.processUs / messages),
    brokerMainUs: used && round(used.mainUs / messages),
    brokerRssMb: used?.rssMb,
    generatorUs: round((ownUsed.user + ownUsed.system) / messages),
  })
}

function loadOf(mode: string, options: LoadOptions): Load {
  if (mode === 'pull') return new PullLoad(options)
  if (mode === 'transact') return new TransactLoad(options)
  if (mode === 'pop' || mode === 'pop-batch') return new PopLoad(options, mode === 'pop-batch')
  return new SendLoad(options)
}

/** Looked at often enough that few more than those are sent. */
async function done(loads: readonly Load[], messages: number, untilMs: number): Promise<void> {
  while (total(loads) < messages && performance.now() < untilMs) await pause(10)
}

const total = (loads: readonly Load[]): number =>
  loads.reduce((sum, load) => sum + load.tally.messages, 0)
const round = (value: number): number => Math.round(value * 100) / 100
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function print(result: Record<string, unknown>): void {
  const about = {
    topic,
    queues,
    connections: Number(values.connections),
    inFlight,
    bodyBytes: Number(values.body),
    codec: values.codec,
  }
  if (values.json) console.log(JSON.stringify({ ...about, ...result }))
  else {
    const given = Object.entries({ ...about, ...result }).filter(([, value]) => value !== undefined)
    console.log(given.map(([name, value]) => `${name} ${value}`).join('  '))
  }
}

await main()
process.exit(0)
