// The real server on a disk that gets full, is full from the start, or cannot be written: what clients of
// each protocol and whoever starts it are told, and that nothing acknowledged is lost over it.

import { execFile } from 'node:child_process'
import type { ExecutionContext } from 'ava'
import mqtt, { type Packet } from 'mqtt'
import { type BrokerError, type Client, connect } from '../src/client/index.ts'
import {
  bodyText,
  connectRhea,
  type RheaReceiver,
  type RheaSender,
} from '../test/support/amqp/rhea-client.ts'
import { plainEnv, type SpawnedServer, spawnServer, TRIVET } from '../test/support/server.ts'
import { eventually } from '../test/support/waiting.ts'
import {
  KIB,
  MIB,
  type SmallDisk,
  smallDisk,
  smallDiskMissing,
} from './support/faults/small-disk.ts'
import { needing } from './support/needing.ts'

const missing = await smallDiskMissing()
const testDisk = needing('every test with a full disk', missing)

const TOPIC = 'disk'
const GROUP = 'readers'
const BODY_BYTES = 32 * KIB
/** As the store keeps it beside the log; it is complete some seconds after the start. */
const RESERVE_BYTES = 64 * MIB
/** What the log and its views may take before the disk is full. */
const ROOM_BYTES = 40 * MIB
/** More than what writing waits for: the reserve and a piece of the log. */
const BALLAST_BYTES = 96 * MIB
/** Until the first refusal; the disk has room for fewer. */
const SENDS_MAX = 5000
const START_MS_MAX = 30_000

/** How a producer of one protocol was told, in the words of its protocol. */
interface Refusal {
  readonly what: string
  readonly text: string
}

interface Producer {
  readonly name: string
  /** Settles with undefined when the message was acknowledged. */
  send(body: string): Promise<Refusal | undefined>
}

const bodyOf = (id: string): string => `${id} `.padEnd(BODY_BYTES, '.')
const idOf = (body: string): string => body.split(' ', 1)[0]!

async function nativeProducer(t: ExecutionContext, server: SpawnedServer): Promise<Producer> {
  const client = await connectSdk(t, server)
  return {
    name: 'native',
    async send(body) {
      try {
        await client.send({ topic: TOPIC, body }, { timeoutMs: 60_000 })
        return undefined
      } catch (error) {
        return { what: (error as BrokerError).code, text: (error as Error).message }
      }
    },
  }
}

/** 3.1.1 has no word for a refusal: the server closes, and the message stays with the client. */
function mqttProducer(t: ExecutionContext, server: SpawnedServer, version: 4 | 5): Producer {
  const url = `mqtt://${server.address('mqtt')}`
  let client: mqtt.MqttClient | undefined
  t.teardown(() => client?.end(true))
  return {
    name: `mqtt${version}`,
    async send(body) {
      if (!client?.connected) {
        client = await mqtt.connectAsync(url, { protocolVersion: version, reconnectPeriod: 0 })
        client.on('error', () => {})
        client.setMaxListeners(0)
      }
      const { promise, settle } = outcome()
      client.once('close', () => settle({ what: 'closed', text: '' }))
      client.publish(`${TOPIC}/tag`, body, { qos: 1 }, (error, packet) => {
        if (!error) return settle(undefined)
        const reason = (packet as (Packet & Reasoned) | undefined)?.properties?.reasonString
        settle({ what: String((error as { code?: number }).code ?? 'closed'), text: reason ?? '' })
      })
      return promise
    },
  }
}

interface Reasoned {
  readonly properties?: { readonly reasonString?: string }
}

function outcome() {
  let settle: (refusal: Refusal | undefined) => void = () => {}
  const promise = new Promise<Refusal | undefined>((resolve) => {
    settle = resolve
  })
  return { promise, settle }
}

async function amqpProducer(t: ExecutionContext, server: SpawnedServer): Promise<Producer> {
  const client = await connectRhea(t, server.port('amqp'))
  const sender: RheaSender = await client.sender(`/topics/${TOPIC}`)
  return {
    name: 'amqp',
    async send(body) {
      const { kind, error } = await sender.send({ body })
      if (kind === 'accepted') return undefined
      return { what: `${kind} ${error?.condition}`, text: error?.description ?? '' }
    },
  }
}

async function connectSdk(t: ExecutionContext, server: SpawnedServer): Promise<Client> {
  const client = await connect({ nameServers: server.address('nameServer') })
  t.teardown(() => client.close({ deadlineMs: 0 }))
  return client
}

const allProducers = async (t: ExecutionContext, server: SpawnedServer): Promise<Producer[]> => [
  await nativeProducer(t, server),
  mqttProducer(t, server, 4),
  mqttProducer(t, server, 5),
  await amqpProducer(t, server),
]

/** Every producer sends until it is refused. @returns its refusal by its name */
async function sendUntilRefused(
  producers: readonly Producer[],
  acknowledged: Set<string>,
  round: string,
): Promise<ReadonlyMap<string, Refusal>> {
  const refusals = new Map<string, Refusal>()
  await Promise.all(
    producers.map(async (producer) => {
      for (let i = 0; i < SENDS_MAX; i++) {
        const id = `${round}-${producer.name}-${i}`
        const refusal = await producer.send(bodyOf(id))
        if (refusal !== undefined) {
          refusals.set(producer.name, refusal)
          return
        }
        acknowledged.add(id)
      }
    }),
  )
  return refusals
}

function checkRefusals(t: ExecutionContext, refusals: ReadonlyMap<string, Refusal>): void {
  const native = refusals.get('native')
  t.is(native?.what, 'READ_ONLY')
  t.regex(native?.text ?? '', /free some space/)
  t.deepEqual(refusals.get('mqtt4'), { what: 'closed', text: '' })
  const mqtt5 = refusals.get('mqtt5')
  t.is(mqtt5?.what, String(0x83))
  t.regex(mqtt5?.text ?? '', /free some space/)
  const amqp = refusals.get('amqp')
  t.is(amqp?.what, 'rejected amqp:resource-limit-exceeded')
  t.regex(amqp?.text ?? '', /free some space/)
}

/** Reads the topic from its start until every message that was acknowledged came, each of them whole. */
async function checkAllThere(
  t: ExecutionContext,
  server: SpawnedServer,
  acknowledged: ReadonlySet<string>,
): Promise<void> {
  await using client = await connect({ nameServers: server.address('nameServer') })
  const left = new Set(acknowledged)
  await using reader = client.read({ topic: TOPIC, from: 'first' })
  const overdue = setTimeout(() => void reader.close(), 60_000)
  for await (const message of reader) {
    const body = message.body.toString()
    if (body !== bodyOf(idOf(body))) t.fail(`'${idOf(body)}' is not what was sent`)
    left.delete(idOf(body))
    if (left.size === 0) break
  }
  clearTimeout(overdue)
  t.deepEqual([...left], [], `of ${acknowledged.size} acknowledged messages some are missing`)
}

async function startOn(t: ExecutionContext, disk: SmallDisk): Promise<SpawnedServer> {
  const server = await spawnServer(t, {
    config: { dataDir: disk.dataDir, store: { segmentBytes: MIB } },
  })
  const client = await connectSdk(t, server)
  await client.admin.topics.create({ name: TOPIC, queues: 4 })
  return server
}

async function groupReceiver(t: ExecutionContext, server: SpawnedServer): Promise<RheaReceiver> {
  const client = await connectRhea(t, server.port('amqp'))
  return client.receiver(`/topics/${TOPIC}/groups/${GROUP}`)
}

for (const reserve of ['a complete', 'no'] as const) {
  testDisk(
    `a disk that gets full with ${reserve} reserve costs refusals, and space resumes`,
    async (t) => {
      const reserveBytes = reserve === 'no' ? 0 : RESERVE_BYTES
      const disk = await smallDisk(t, BALLAST_BYTES + ROOM_BYTES + reserveBytes)
      const server = await startOn(t, disk)
      const receiver = await groupReceiver(t, server)
      await eventually(
        async () => (await disk.fileBytes('log/reserve')) >= reserveBytes || undefined,
      )
      await disk.fillUpTo(ROOM_BYTES)

      const acknowledged = new Set<string>()
      const producers = await allProducers(t, server)
      checkRefusals(t, await sendUntilRefused(producers, acknowledged, 'one'))
      t.true(acknowledged.size > 100)
      await checkAllThere(t, server, acknowledged)
      const taken = (await receiver.accept(20)).map((message) => idOf(bodyText(message)))
      t.is(new Set(taken).size, 20)

      disk.giveBack()
      for (const producer of producers) {
        await eventually(
          async () => (await producer.send(bodyOf('again'))) === undefined || undefined,
        )
      }
      t.is(new Set([...taken, ...(await receiver.accept(20)).map(bodyText).map(idOf)]).size, 40)
      const builds = (await disk.names('views')).filter((name) => /^\d+$/.test(name))
      t.is(builds.length, 1, `builds of the views that nobody removed: ${builds}`)

      const before = acknowledged.size
      // Not every client tells what was under way when its server dies.
      void sendUntilRefused(producers, acknowledged, 'two').catch(() => {})
      await eventually(async () => acknowledged.size > before + 200 || undefined)
      await server.kill()
      await server.start()
      await checkAllThere(t, server, acknowledged)
      t.is(await server.stop(), 0)
    },
  )
}

testDisk('a broker that was killed on a full disk comes back with everything', async (t) => {
  const disk = await smallDisk(t, BALLAST_BYTES + ROOM_BYTES)
  const server = await startOn(t, disk)
  await disk.fillUpTo(ROOM_BYTES)
  const acknowledged = new Set<string>()
  await sendUntilRefused(await allProducers(t, server), acknowledged, 'one')
  await server.kill()
  // Not a byte is free: it comes up without writing, and who reads, with a new group too, finds everything.
  await disk.fillUpTo(0)
  for (let round = 0; round < 3; round++) {
    await server.start()
    await checkAllThere(t, server, acknowledged)
    const refusals = await sendUntilRefused(await allProducers(t, server), new Set(), 'full')
    checkRefusals(t, refusals)
    if (round === 1) await server.kill()
    else t.is(await server.stop(), 0)
    await disk.fillUpTo(0)
  }
  disk.giveBack()
  await server.start()
  await checkAllThere(t, server, acknowledged)
  const [producer] = await allProducers(t, server)
  t.is(await producer!.send(bodyOf('after')), undefined)
})

interface Ended {
  readonly code: number | null
  readonly stderr: string
}

/** Starts it for as long as it takes to fail or to come up. */
function tryToStart(dataDir: string): Promise<Ended> {
  const ports = ['NAME_SERVER', 'REMOTING', 'MQTT', 'AMQP'].map(
    (name) => [`TRIVET_${name}__PORT`, '0'] as const,
  )
  const env = { ...plainEnv(), ...Object.fromEntries(ports), TRIVET_DATA_DIR: dataDir }
  return new Promise((resolve) => {
    const options = { env, timeout: START_MS_MAX, killSignal: 'SIGKILL' } as const
    const child = execFile(process.execPath, [TRIVET, 'start'], options, (_error, _out, stderr) =>
      resolve({ code: child.exitCode, stderr }),
    )
    // Up: it has said where it listens.
    child.stdout?.once('data', () => child.kill('SIGTERM'))
  })
}

for (const leftKib of [0, 4, 8, 16, 32, 64, 128, 512, 1024, 1536, 2048, 4096]) {
  testDisk(`a start with ${leftKib} KiB of disk works or says what is missing`, async (t) => {
    const disk = await smallDisk(t, 16 * MIB)
    await disk.fillUpTo(leftKib * KIB)
    const { code, stderr } = await tryToStart(disk.dataDir)
    t.notRegex(stderr, /defect|\n {4}at /)
    if (leftKib === 0) t.not(code, 0)
    if (code !== 0) {
      t.is(code, 2)
      t.regex(stderr, /^trivet: .*free some space/m)
    }
    disk.giveBack()
    t.is((await tryToStart(disk.dataDir)).code, 0)
  })
}

testDisk('a start on a read-only disk says so, with data and without', async (t) => {
  const disk = await smallDisk(t, 16 * MIB)
  for (const round of ['without', 'with']) {
    await disk.remount('ro')
    const { code, stderr } = await tryToStart(disk.dataDir)
    t.is(code, 2, round)
    t.regex(stderr, /^trivet: the data directory '.*' cannot be used .*mount it writable/m)
    t.notRegex(stderr, /defect|\n {4}at /)
    await disk.remount('rw')
    t.is((await tryToStart(disk.dataDir)).code, 0)
  }
})
