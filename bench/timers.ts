// A million waiting timers: how fast they are parked, what they take in memory, how late they are
// when they come due at a steady rate, and what sends cost beside it. One process; prints, never
// asserts. A message is late by the time from its due time until a consumer has it.
//
//   npx tsc -b && node dist/bench/timers.js [timers] [seconds]
//
// The figures of docs/decisions: 1000000 100.
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EmbeddedBroker, openBroker } from '../src/broker/broker.ts'
import { systemClock } from '../src/clock.ts'
import { silentLogger } from '../src/log.ts'
import { ANY_QUEUE, type NewMessage } from '../src/model/message.ts'
import { type QueueOffset, queueOffset } from '../src/model/positions.ts'
import { encodeProperties, PROPERTY } from '../src/model/properties.ts'
import { recordsOf } from '../src/model/record.ts'
import { EVERY_TAG } from '../src/model/tag-filter.ts'
import { openStore } from '../src/store/open.ts'
import { CpuMeter } from './native/cpu-meter.ts'
import { Histogram } from './native/histogram.ts'

const TIMERS = Number(process.argv[2] ?? 100_000)
const SPAN_MS = Number(process.argv[3] ?? 10) * 1000
const QUEUES = 4
const BATCH = 64
const LANES = 8
const SENDS_ALONE_MS = 5000
/** Parking ends this long before the first is due. */
const LEAD_MS = 3000
const body = Buffer.alloc(100, 'x')
const host = { ip: 0x7f000001, port: 10_911 }

const message = (topic: string, properties: Buffer): NewMessage => ({
  topic,
  queueId: ANY_QUEUE,
  body,
  properties,
  flag: 0,
  sysFlag: 0,
  bornTimestamp: 1_700_000_000_000,
  bornHost: host,
  reconsumeTimes: 0,
  createTopic: true,
})

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Each is parked for a point in time within the span, in no order. */
async function park(broker: EmbeddedBroker, firstMs: number): Promise<void> {
  let parked = 0
  const lane = async (): Promise<void> => {
    while (parked < TIMERS) {
      const batch = Array.from({ length: Math.min(BATCH, TIMERS - parked) }, (_, i) => {
        // A step that shares no divisor with the count visits each place once.
        const place = ((parked + i) * 7_919) % TIMERS
        const dueMs = Math.round(firstMs + (place * SPAN_MS) / TIMERS)
        return message('timers', encodeProperties([[PROPERTY.timerDeliverMs, String(dueMs)]]))
      })
      parked += batch.length
      await broker.publish(batch)
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
}

/** How late each is, until all have come. */
async function lateness(broker: EmbeddedBroker): Promise<Float64Array> {
  const late = new Float64Array(TIMERS)
  let came = 0
  const { brokerName } = broker.identity
  const queue = async (queueId: number): Promise<void> => {
    let offset: QueueOffset = queueOffset(0)
    while (came < TIMERS) {
      const request = { topic: 'timers', brokerName, queueId, offset, maxMessages: 1024 }
      const limits = { maxBytes: 1 << 22, filter: EVERY_TAG, waitMs: 1000 }
      const pulled = await broker.pull({ ...request, ...limits })
      const nowMs = performance.timeOrigin + performance.now()
      for (const record of recordsOf(pulled.records)) {
        late[came++] = nowMs - Number(record.property(PROPERTY.dueMs))
      }
      offset = pulled.nextOffset
    }
  }
  await Promise.all(Array.from({ length: QUEUES }, (_, queueId) => queue(queueId)))
  return late.sort()
}

interface Sends {
  readonly sent: number
  readonly perSecond: number
  /** How long each batch took: what is due cannot be there sooner than what is sent then. */
  readonly took: Histogram
  /** Of the main thread, all that it did. */
  readonly mainUs: number
}

/** Plain messages, as fast as they are taken. */
async function sends(broker: EmbeddedBroker, isOver: () => boolean): Promise<Sends> {
  const properties = encodeProperties([['TAGS', 'eu']])
  const batch = Array.from({ length: BATCH }, () => message('plain', properties))
  const cpu = new CpuMeter(process.pid)
  const took = new Histogram()
  const from = performance.now()
  let sent = 0
  const lane = async (): Promise<void> => {
    while (!isOver()) {
      const sentMs = performance.now()
      await broker.publish(batch)
      took.add((performance.now() - sentMs) * 1000)
      sent += batch.length
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  const perSecond = (sent / (performance.now() - from)) * 1000
  return { sent, perSecond, took, mainUs: cpu.read().mainUs }
}

const sendsAlone = (broker: EmbeddedBroker): Promise<Sends> => {
  const until = performance.now() + SENDS_ALONE_MS
  return sends(broker, () => performance.now() >= until)
}

const shown = (value: number): string => Math.round(value).toLocaleString('en')
const rssMib = (): number => process.memoryUsage().rss / 2 ** 20

async function main(): Promise<void> {
  console.log(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`)
  const directory = mkdtempSync(join(tmpdir(), 'trivet-timers-'))
  const parts = { clock: systemClock, log: silentLogger }
  const store = await openStore({ ...parts, directory, storeHost: host })
  const broker = openBroker({ ...parts, store, options: { queuesDefault: QUEUES } })
  const alone = await sendsAlone(broker)
  const sendUs = alone.mainUs / alone.sent
  console.log(
    `sends alone ${shown(alone.perSecond)}/s, ${sendUs.toFixed(1)} us of the main thread each, ${shown(rssMib())} MiB`,
  )
  // As long as parking may take, at a twentieth of the rate of plain sends.
  const firstMs = Date.now() + LEAD_MS + (TIMERS / alone.perSecond) * 20_000
  const from = performance.now()
  await park(broker, firstMs)
  const rate = (TIMERS / (performance.now() - from)) * 1000
  const { pendingDelayed } = await broker.status()
  console.log(`parked ${shown(pendingDelayed)}  ${shown(rate)}/s, ${shown(rssMib())} MiB`)
  if (Date.now() > firstMs) throw new Error('parking took too long: the first are late by that')
  await sleep(firstMs - Date.now())
  let isOver = false
  const during = sends(broker, () => isOver)
  const late = await lateness(broker)
  isOver = true
  const { perSecond, took, mainUs, sent } = await during
  // Before and after: on a machine with others on it one of them alone may be anything.
  const again = await sendsAlone(broker)
  const ratio = (perSecond * 2) / (alone.perSecond + again.perSecond)
  const firedUs = (mainUs - sent * sendUs) / TIMERS
  const at = (part: number): string => late[Math.floor((TIMERS - 1) * part)]!.toFixed(1)
  console.log(`sends alone ${shown(again.perSecond)}/s afterwards`)
  console.log(`fired ${shown((TIMERS / SPAN_MS) * 1000)}/s, sends beside it ${ratio.toFixed(2)}x`)
  console.log(`late by p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms`)
  const { p50, p99, max } = took.summary()
  console.log(`sends beside it took p50 ${p50} ms, p99 ${p99} ms, most ${max} ms`)
  console.log(`${firedUs.toFixed(1)} us of the main thread for each that was fired and read`)
  await broker.close()
  await store.close()
  rmSync(directory, { recursive: true, force: true })
}

await main()
