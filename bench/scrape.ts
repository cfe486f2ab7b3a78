// How long a scrape of /metrics takes, and how long it holds up the event loop, with very many
// topics and groups: node dist/bench/scrape.js [TOPICS] [GROUPS]
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

const [topics = 10_000, groups = 2_000] = process.argv.slice(2).map(Number)
const QUEUES = 8
const SCRAPES = 20

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
  let [lastMs, stallMs, isOver] = [performance.now(), 0, false]
  const turn = (): void => {
    const nowMs = performance.now()
    stallMs = Math.max(stallMs, nowMs - lastMs)
    lastMs = nowMs
    if (!isOver) setImmediate(turn)
  }
  for (let n = 0; n < SCRAPES; n++) {
    ;[lastMs, stallMs, isOver] = [performance.now(), 0, false]
    turn()
    const [startedMs, cpu] = [performance.now(), process.cpuUsage()]
    const response = await fetch(`http://127.0.0.1:${port}/metrics`)
    const text = await response.text()
    const tookMs = performance.now() - startedMs
    const { user, system } = process.cpuUsage(cpu)
    isOver = true
    const lines = text.split('\n').length
    console.log(
      `${tookMs.toFixed(0)} ms, longest turn ${stallMs.toFixed(1)} ms, processor ` +
        `${((user + system) / 1000).toFixed(0)} ms (with this client), ${lines} lines`,
    )
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await server.close()
}
