// What a gateway before a cluster hands out of a backlog: a group of MQTT ($share, QoS 1) and one
// of AMQP links, received by POP and acknowledged in batches. Before one Apache RocketMQ broker
// (ASYNC_FLUSH, its default) and before one of ours; the CPU of each process is counted, as a JVM
// beside the others leaves them less of the machine than they take alone. Prints, asserts nothing.
//
//   npx tsc -b && node dist/bench/cluster-drain.js [rounds] [messages] [apache|ours]
//
// The AMQP load comes from ../shared/tools/amqp-loadgen.mjs, kept beside the project.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  apacheRocketmqMissing,
  startApacheRocketmq,
} from '../interop-tests/support/apache-rocketmq.ts'
import { sendMessages } from '../src/client/calls/calls.ts'
import { systemClock } from '../src/clock.ts'
import { openClusterBroker } from '../src/cluster/broker.ts'
import { splitAddress } from '../src/model/host.ts'
import type { QueueName } from '../src/model/message.ts'
import { queueOffset } from '../src/model/positions.ts'
import { PERM_READ_WRITE } from '../src/model/topic.ts'
import { dial } from '../src/remoting/connection.ts'
import { spawnServer } from '../test/support/server.ts'
import { load } from './mqtt/load.ts'
import { CpuMeter } from './native/cpu-meter.ts'

const ROUNDS = Number(process.argv[2] ?? 3)
const MESSAGES = Number(process.argv[3] ?? 300_000)
const ONLY = process.argv[4] ?? ''
const AMQP = fileURLToPath(new URL('../../../shared/tools/amqp-loadgen.mjs', import.meta.url))
const run = promisify(execFile)
const QUEUES = 8
const BATCH = 128
/** A gateway knows of a topic that others made after five seconds. */
const KNOWN_MS = 6_000
/** The first round has a young JVM, and a gateway that has compiled nothing. */
const WARMING = 1

const leftovers: (() => unknown)[] = []
const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }

interface Place {
  readonly nameServer: string
  /** host:port */
  readonly broker: string
  readonly brokerPid: number
}

/** Stored, and in no consumer's hands. */
async function fill(broker: string, queues: readonly QueueName[]): Promise<void> {
  const connection = await dial({ ...splitAddress(broker), clock: systemClock })
  const message = { body: Buffer.alloc(100, 'a'), properties: Buffer.alloc(0) }
  const messages = Array.from({ length: BATCH }, () => message)
  const fill = async (queue: QueueName): Promise<void> => {
    for (let sent = 0; sent < MESSAGES / QUEUES; sent += BATCH) {
      const request = { producerGroup: 'bench', queue, bornTimestamp: Date.now(), messages }
      await sendMessages(connection, request, {})
    }
  }
  await Promise.all(queues.map(fill))
  connection.close()
}

type Drain = (topic: string) => Promise<{ readonly messages: number; readonly seconds: number }>

async function rows(title: string, place: Place): Promise<void> {
  const { nameServer } = place
  const cluster = { nameServers: [nameServer] }
  const own = await openClusterBroker({ clock: systemClock, name: 'bench', options: cluster })
  later.teardown(() => own.close())
  const gateway = await spawnServer(later, { role: 'gateway', config: { cluster } })
  const drains: readonly (readonly [name: string, drain: Drain])[] = [
    [
      '$share, 4 clients of QoS 1',
      async (topic) => {
        const shape = { publishers: 0, subscribers: 4, qos: 1, window: 0, payloadBytes: 0 } as const
        const { delivered, seconds } = await load(gateway.port('mqtt'), {
          ...{ ...shape, messages: MESSAGES, topic, group: 'bench' },
        })
        return { messages: delivered, seconds }
      },
    ],
    [
      'AMQP, 4 links with a credit of 1,000',
      async (topic) => {
        const address = `/topics/${topic}/groups/bench`
        const of = ['--mode', 'recv', '--conns', '1', '--links', '4', '--raddress', address]
        const at = ['--port', String(gateway.port('amqp')), '--address', address, '--json']
        const bounds = ['--warmup', '0', '--count', String(MESSAGES), '--seconds', '120']
        const { stdout } = await run(process.execPath, [AMQP, ...at, ...of, ...bounds])
        const result = JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, number>
        return { messages: MESSAGES, seconds: MESSAGES / result['rate_per_s']! }
      },
    ],
  ]
  console.log(`\n${title}: out of a backlog of ${MESSAGES} messages of 100 bytes`)
  for (const [name, drain] of drains) {
    for (let round = 0; round < ROUNDS + WARMING; round++) {
      const topic = `drain-${Date.now()}`
      await own.topics.put({
        ...{ name: topic, readQueues: QUEUES, writeQueues: QUEUES, perm: PERM_READ_WRITE },
        ...{ ordered: false, sysFlag: 0 },
      })
      await own.groups.ensure('bench')
      await new Promise((resolve) => setTimeout(resolve, KNOWN_MS))
      const queues = await own.topics.ranges(topic)
      await fill(place.broker, queues)
      for (const queue of queues) {
        await own.cursors.commit('bench', queue, queueOffset(0))
      }
      const meters = [place.brokerPid, gateway.pid].map((pid) => new CpuMeter(pid))
      const { messages, seconds } = await drain(topic)
      const us = meters.map((meter) => (meter.read().processUs / messages).toFixed(1))
      console.log(
        `  ${name.padEnd(38)} ${Math.round(messages / seconds)}/s; CPU a message: broker ${us[0]} ` +
          `gateway ${us[1]} us; load ${loadavg()[0]!.toFixed(1)}${round < WARMING ? ' (warming)' : ''}`,
      )
    }
  }
}

async function main(): Promise<void> {
  console.log(`${cpus().length} x ${cpus()[0]?.model}, node ${process.version}`)
  if (!existsSync(AMQP)) return console.log(`LEFT OUT: there is no ${AMQP}`)
  const missing = await apacheRocketmqMissing()
  if (missing !== undefined) console.log(`LEFT OUT: Apache RocketMQ, because ${missing}`)
  if (missing === undefined && ONLY !== 'ours') {
    const { nameServer, broker, pid, stop } = await startApacheRocketmq()
    later.teardown(stop)
    await rows('Apache', { nameServer, broker, brokerPid: pid })
  }
  if (ONLY === 'apache') return
  const ours = await spawnServer(later, { config: { mqtt: { enabled: false } } })
  const [nameServer, broker] = [ours.address('nameServer'), ours.address('remoting')]
  await rows('ours', { nameServer, broker, brokerPid: ours.pid })
}

try {
  await main()
} finally {
  for (const end of leftovers) await end()
}
process.exit(0)
