// The page about backups: its command is run against a broker that is being written to,
// and what it says of a plain copy is shown.
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { type Client, connect } from '../../src/client/index.ts'
import type { ConfigInput } from '../../src/config.ts'
import type { ListenerName } from '../../src/listening.ts'
import { runCommand } from '../support/command-line.ts'
import { LogLines } from '../support/log-lines.ts'
import { mqttClient, persistent } from '../support/mqtt/mqtt.ts'
import { spawnServer, startServer } from '../support/server.ts'
import { textOf } from '../support/sources/sources.ts'
import { tempDir } from '../support/temp-dir.ts'
import { latch } from '../support/waiting.ts'

const PAGE = 'docs/operate/backup.md'
const KIB = 1024
const TOPIC = 'orders'
const GROUP = 'billing'
/** Longer than the copy takes. */
const DELAY_MS = 5000
/** Small, so that a copy has several. */
const SEGMENT_BYTES = 1024 * KIB

interface Running {
  readonly broker: Broker
  readonly log: LogLines
  readonly mq: Client
}

interface Broker {
  readonly dataDir: string
  port(name: ListenerName): number
  address(name: ListenerName): string
  stop(): Promise<unknown>
}

const configOf = (dataDir: string): ConfigInput => ({
  dataDir,
  store: { segmentBytes: SEGMENT_BYTES },
})

async function running(t: ExecutionContext, dataDir?: string): Promise<Running> {
  const directory = dataDir ?? (await tempDir(t))
  const log = new LogLines()
  const { server, port, address } = await startServer(t, { config: configOf(directory), log })
  const broker = { dataDir: directory, port, address, stop: () => server.close() }
  return { broker, log, mq: await clientOf(t, broker) }
}

async function clientOf(t: ExecutionContext, broker: Pick<Broker, 'address'>): Promise<Client> {
  const mq = await connect({ nameServers: broker.address('nameServer') })
  t.teardown(() => mq.close())
  return mq
}

/** A machine that does much else is slow to sync. */
const SEND_MS_MAX = 120_000

/** Sends without a pause; `acknowledged` holds the numbers of what was accepted. */
class Writers {
  readonly acknowledged: number[] = []
  readonly #all: Promise<unknown>
  #isOver = false

  constructor(mq: Client, count: number, onAcknowledged: () => void) {
    let next = 0
    const filler = '.'.repeat(8 * KIB)
    const write = async (): Promise<void> => {
      while (!this.#isOver) {
        const number = next++
        const body = `${number} ${filler}`
        await mq.send({ topic: TOPIC, body }, { timeoutMs: SEND_MS_MAX })
        this.acknowledged.push(number)
        onAcknowledged()
      }
    }
    this.#all = Promise.all(Array.from({ length: count }, write))
  }

  async stop(): Promise<void> {
    this.#isOver = true
    await this.#all
  }
}

/** Reads until all of these were seen; a missing one is a test that takes too long. */
async function readAll(mq: Client, numbers: readonly number[]): Promise<void> {
  const missing = new Set(numbers)
  const deliveries = mq.subscribe({ group: 'restored', topic: TOPIC, from: 'first' })
  for await (const delivery of deliveries) {
    missing.delete(Number(delivery.text().split(' ')[0]))
    await delivery.ack()
    if (missing.size === 0) return
  }
}

/** The next message of the group, acknowledged. */
async function readOne(mq: Client): Promise<string> {
  for await (const delivery of mq.subscribe({ group: GROUP, topic: TOPIC, from: 'first' })) {
    await delivery.ack()
    return delivery.text()
  }
  throw new Error('the subscription ended')
}

/** The command of the page, with other directories. */
async function backUp(broker: Broker, copy: string): Promise<void> {
  const [, data, target] = /^trivet backup (\S+) (\S+)$/m.exec(textOf(PAGE)) ?? []
  const argv = ['backup', data!, target!].map(
    (word) => ({ '/var/lib/trivetmq': broker.dataDir, '/backup/monday': copy })[word] ?? word,
  )
  const env = { TRIVET_NAME_SERVERS: broker.address('nameServer') }
  const { code, terminal } = await runCommand(argv, env)
  if (code !== 0) throw new Error(terminal.errors)
}

test('the command copies a broker that is being written to, and the copy has all that was acknowledged', async (t) => {
  const first = await running(t)
  await first.mq.admin.topics.create({ name: TOPIC, queues: 8 })
  const enough = latch(400)
  const writers = new Writers(first.mq, 4, () => enough.count())
  await enough.reached
  const before = [...writers.acknowledged]
  const copy = join(await tempDir(t), 'copy')
  await backUp(first.broker, copy)
  const during = writers.acknowledged.length - before.length
  await writers.stop()
  t.true(during > 0, 'nothing was written during the copy')
  // The first broker goes on: the copy has nothing of its lock.
  const second = await running(t, copy)
  await readAll(second.mq, before)
  const events = second.log.events()
  t.false(events.some((evt) => /log\.(damage|lost|torn_tail)/.test(evt)))
  t.true(events.includes('views.built'))
})

test('the copy has places of groups, sessions, retained and delayed messages', async (t) => {
  const first = await running(t)
  await first.mq.admin.topics.create({ name: TOPIC, queues: 1 })
  for (const body of ['one', 'two']) await first.mq.send({ topic: TOPIC, body })
  const reader = await connect({ nameServers: first.broker.address('nameServer') })
  t.teardown(() => reader.close())
  t.is(await readOne(reader), 'one')
  // Commits what was acknowledged.
  await reader.close()
  await first.mq.send({ topic: TOPIC, body: 'late', delayMs: DELAY_MS })
  const device = await mqttClient(t, first.broker.port('mqtt'), 5, persistent('device'))
  await device.subscribe('devices/7/cmd')
  await device.end()
  const sender = await mqttClient(t, first.broker.port('mqtt'), 5)
  await sender.publish('devices/7/cmd', 'reboot')
  await sender.publish('devices/7/state', 'on', { retain: true })
  const copy = join(await tempDir(t), 'copy')
  await backUp(first.broker, copy)
  const { broker, mq } = await running(t, copy)
  t.is(await readOne(mq), 'two')
  t.is(await readOne(mq), 'late')
  const again = await mqttClient(t, broker.port('mqtt'), 5, persistent('device'))
  const [missed] = await again.messages(1)
  t.is(missed!.text, 'reboot')
  await again.subscribe('devices/7/state')
  const [, state] = await again.messages(2)
  t.like(state, { text: 'on', retain: true })
})

test('layout and log of a stopped broker are a whole copy', async (t) => {
  const first = await running(t)
  await first.mq.admin.topics.create({ name: TOPIC, queues: 1 })
  await first.mq.send({ topic: TOPIC, body: 'one' })
  await first.broker.stop()
  const copy = join(await tempDir(t), 'copy')
  for (const name of ['layout', 'log']) {
    cpSync(join(first.broker.dataDir, name), join(copy, name), { recursive: true })
  }
  t.is(await readOne((await running(t, copy)).mq), 'one')
})

interface Torn {
  readonly dataDir: string
  readonly acknowledged: readonly number[]
  readonly segment: string
  /** Where the log ended when the copy began. */
  readonly end: number
}

/**
 * A copy whose only segment was read in two pieces, and the log grew over the seam between the two.
 */
async function tornCopy(t: ExecutionContext): Promise<Torn> {
  const { broker, mq } = await running(t)
  await mq.admin.topics.create({ name: TOPIC, queues: 1 })
  const acknowledged = [0, 1, 2, 3]
  for (const number of acknowledged) await mq.send({ topic: TOPIC, body: String(number) })
  const [told] = await mq.admin.brokers()
  const { logEnd } = await mq.admin.brokerState([...told!.addresses.values()][0]!)
  const segment = join(broker.dataDir, 'log', '0'.repeat(20))
  const early = readFileSync(segment)
  for (const body of ['a', 'b', 'c']) await mq.send({ topic: TOPIC, body: body.repeat(4 * KIB) })
  const late = readFileSync(segment)
  const seam = logEnd! + 2 * KIB
  const dataDir = join(await tempDir(t), 'copy')
  mkdirSync(dataDir)
  cpSync(join(broker.dataDir, 'layout'), join(dataDir, 'layout'))
  cpSync(join(broker.dataDir, 'log'), join(dataDir, 'log'), { recursive: true })
  const copied = join(dataDir, 'log', '0'.repeat(20))
  writeFileSync(copied, Buffer.concat([early.subarray(0, seam), late.subarray(seam)]))
  return { dataDir, acknowledged, segment: copied, end: logEnd! }
}

test('a plain copy of the newest segment may show damage, and has what was acknowledged before', async (t) => {
  const torn = await tornCopy(t)
  const { log, mq } = await running(t, torn.dataDir)
  t.true(log.events().includes('log.damage'))
  await readAll(mq, torn.acknowledged)
})

test('cut where the log ended when it began, the same copy shows none', async (t) => {
  const torn = await tornCopy(t)
  writeFileSync(torn.segment, readFileSync(torn.segment).subarray(0, torn.end))
  const { log, mq } = await running(t, torn.dataDir)
  t.false(log.events().includes('log.damage'))
  await readAll(mq, torn.acknowledged)
})

test('a plain copy with the lock of a live broker is refused on the same machine', async (t) => {
  const { broker } = await running(t)
  const copy = join(await tempDir(t), 'copy')
  cpSync(broker.dataDir, copy, { recursive: true })
  t.true(readdirSync(copy).some((name) => name.startsWith('lock.')))
  await t.throwsAsync(spawnServer(t, { config: configOf(copy) }), {
    message: /is in use by process/,
  })
})
