// How long a scrape of /metrics takes, and how long it holds up the event loop (by the clock, and
// in processor time, which no neighbour makes longer), with very many topics and groups; then the
// same of what the pages of the dashboard ask for every two seconds.
//
//   node dist/bench/scrape.js [TOPICS] [GROUPS]
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBroker } from '../src/broker/broker.ts'
import { systemClock } from '../src/clock.ts'
import { configOf } from '../src/config.ts'
import { silentLogger } from '../src/log.ts'
import { queueOffset } from '../src/model/positions.ts'
import { openServer } from '../src/server.ts'
import { openStore } from '../src/store/open.ts'
import { newMessage } from '../test/support/broker.ts'
import { cpuNow } from './cpu.ts'

const [topics = 10_000, groups = 2_000] = process.argv.slice(2).map(Number)
const QUEUES = 8
const SCRAPES = 20
const LOOKS = 5
const PATHS = ['/metrics', '/api/v1/status', '/api/v1/topics', '/api/v1/groups', '/api/v1/clients']

const topicName = (n: number): string => `topic-${n}`

const dataDir = mkdtempSync(join(tmpdir(), 'trivet-scrape-'))
await fill()
await scrape()
rmSync(dataDir, { recursive: true })

async function fill(): Promise<void> {
  const log = silentLogger
  const storeHost = { ip: 0x7f000001, port: 10_911 }
  const clock = systemClock
  const store = await openStore({ directory: dataDir, storeHost, log, clock })
  const broker = openBroker({
    store,
    clock,
    log,
    options: { topicsMax: 100_000, groupsMax: 100_000 },
  })
  const { brokerName } = broker.identity
  const definition = {
    readQueues: QUEUES,
    writeQueues: QUEUES,
    perm: 6,
    ordered: false,
    sysFlag: 0,
  }
  await inBatches(topics, (n) => broker.topics.put({ ...definition, name: topicName(n) }))
  await inBatches(topics, async (n) => {
    await broker.publish(
      Array.from({ length: QUEUES }, (_, queueId) => newMessage(topicName(n), { queueId })),
    )
  })
  await inBatches(groups, async (n) => {
    const group = `group-${n}`
    await broker.groups.ensure(group)
    for (let queueId = 0; queueId < QUEUES; queueId++) {
      const queue = { topic: topicName(n % topics), brokerName, queueId }
      await broker.cursors.commit(group, queue, queueOffset(n % 2))
    }
  })
  await broker.close()
  await store.close()
}

async function inBatches(count: number, work: (n: number) => Promise<void>): Promise<void> {
  for (let from = 0; from < count; from += 500) {
    const batch = Array.from({ length: Math.min(500, count - from) }, (_, at) => work(from + at))
    await Promise.all(batch)
  }
}

async function scrape(): Promise<void> {
  const free = { port: 0 }
  const listeners = { nameServer: free, remoting: free, mqtt: free, amqp: free, http: free }
  const limits = { topicsMax: 100_000, groupsMax: 100_000 }
  const config = configOf({ dataDir, ...listeners, broker: limits })
  const server = await openServer({ config, log: silentLogger })
  const { port } = server.address('http')
  let [last, stallMs, busyMs, isOver] = [cpuNow(), 0, 0, false]
  const turn = (): void => {
    const now = cpuNow()
    stallMs = Math.max(stallMs, now.wallMs - last.wallMs)
    busyMs = Math.max(busyMs, (now.mainUs - last.mainUs) / 1000)
    last = now
    if (!isOver) setImmediate(turn)
  }
  for (const path of PATHS) {
    for (let n = 0; n < (path === '/metrics' ? SCRAPES : LOOKS); n++) {
      ;[last, stallMs, busyMs, isOver] = [cpuNow(), 0, 0, false]
      turn()
      const [startedMs, cpu] = [performance.now(), process.cpuUsage()]
      const response = await fetch(`http://127.0.0.1:${port}${path}`)
      const text = await response.text()
      const tookMs = performance.now() - startedMs
      const { user, system } = process.cpuUsage(cpu)
      isOver = true
      const lines = text.split('\n').length
      console.log(
        `${path} ${tookMs.toFixed(0)} ms, longest turn ${stallMs.toFixed(1)} ms ` +
          `(${busyMs.toFixed(1)} of the processor), in all ` +
          `${((user + system) / 1000).toFixed(1)} ms (with this client), ${lines} lines`,
      )
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  await server.close()
}
