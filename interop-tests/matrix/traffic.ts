// Every client sends to one topic at the same time, and every client receives all of it, as a group of two
// members and in broadcast.
import { connect } from '../../src/client/index.ts'
import type { SpawnedServer } from '../../test/support/server.ts'
import { MatrixClient } from './client.ts'
import type { Addresses } from './driver.ts'
import {
  type Arrival,
  CLIENTS,
  type ClientName,
  idOf,
  isOfRound,
  KEYS_PER_PRODUCER,
  type Sample,
  warmUpBody,
} from './sample.ts'

export const MESSAGES_PER_PRODUCER = 1000
const TOPIC = 'matrix'
const QUEUES = 8
/** Without any news of a client. */
const SILENCE_MS_MAX = 120_000
/** Two for each queue. */
const WARM_UPS = 2 * QUEUES
const SHARED_MS_MAX = 120_000

export type Mode = 'group' | 'broadcast'
export const MODES: readonly Mode[] = ['group', 'broadcast']

export interface Traffic {
  /** What each member of a consumer received, in its order. */
  received(consumer: ClientName, mode: Mode): readonly (readonly Arrival[])[]
  stop(): Promise<void>
}

export interface TrafficOptions {
  /** Called this often, evenly over the messages as they are acknowledged, while everything runs. */
  readonly interruptions?: number
  readonly interrupt?: () => Promise<void>
}

export const samplesOf = (producer: ClientName): readonly Sample[] =>
  Array.from({ length: MESSAGES_PER_PRODUCER }, (_, i) => ({
    producer,
    lane: i % KEYS_PER_PRODUCER,
    n: Math.floor(i / KEYS_PER_PRODUCER),
  }))

export async function runTraffic(
  server: SpawnedServer,
  { interruptions = 0, interrupt = async () => {} }: TrafficOptions = {},
): Promise<Traffic> {
  const at: Addresses = {
    nameServer: server.address('nameServer'),
    mqtt: server.address('mqtt'),
    amqp: server.address('amqp'),
  }
  await createTopic(at)
  let changed: () => void = () => {}
  let newsMs = performance.now()
  const news = (): void => {
    newsMs = performance.now()
    changed()
  }
  const until = async (what: string, isTrue: () => boolean): Promise<void> => {
    newsMs = performance.now()
    while (!isTrue()) {
      if (performance.now() > newsMs + SILENCE_MS_MAX) throw new Error(`${what}:\n${stateOf(all)}`)
      await new Promise<void>((resolve) => {
        changed = resolve
        setTimeout(resolve, 1000)
      })
    }
  }
  const consumers = startConsumers(at, news)
  const producers = CLIENTS.map(
    (client) =>
      new MatrixClient(
        { role: 'produce', client, at, topic: TOPIC, count: MESSAGES_PER_PRODUCER },
        news,
      ),
  )
  const all = [...producers, ...consumers.flatMap((consumer) => consumer.members)]
  const stop = async (): Promise<void> => {
    await Promise.all(all.map((client) => client.stop()))
  }
  try {
    await Promise.all(all.map((client) => client.ready))
    await untilShared(at, consumers, until)
    for (const producer of producers) producer.go()
    const total = CLIENTS.length * MESSAGES_PER_PRODUCER
    const sent = (): number => producers.reduce((sum, producer) => sum + producer.sent, 0)
    for (let n = 1; n <= interruptions; n++) {
      const enough = (n * total) / (interruptions + 1)
      await until(`${enough} are not sent`, () => sent() >= enough)
      await interrupt()
    }
    await until('not everything is sent', () => producers.every((producer) => producer.isDone))
    await until('not everything arrived', () =>
      consumers.every((consumer) => idsOf(consumer.members).size >= total),
    ).catch((error: unknown) => {
      // Each cell tells what it misses.
      process.stderr.write(`${String(error)}\n`)
    })
  } catch (error) {
    await stop()
    throw error
  }
  return {
    received: (client, mode) =>
      consumers
        .find((consumer) => consumer.client === client && consumer.mode === mode)!
        .members.map((member) => member.reports),
    stop,
  }
}

interface ConsumerOf {
  readonly client: ClientName
  readonly mode: Mode
  readonly members: readonly MatrixClient[]
}

function startConsumers(at: Addresses, news: () => void): readonly ConsumerOf[] {
  return CLIENTS.flatMap((client) =>
    MODES.map((mode) => {
      const ids = mode === 'group' ? ['one', 'two'] : ['all']
      const group = mode === 'group' ? { group: `matrix-${client}` } : {}
      const members = ids.map(
        (id) =>
          new MatrixClient(
            { role: 'consume', client, at, topic: TOPIC, ...group, clientId: `${client}-${id}` },
            news,
          ),
      )
      return { client, mode, members }
    }),
  )
}

async function createTopic({ nameServer }: Addresses): Promise<void> {
  const client = await connect({ nameServers: nameServer, timeoutMs: 60_000 })
  await client.admin.topics.create({ name: TOPIC, queues: QUEUES })
  await client.close()
}

/**
 * Sends messages of nobody until two members of each group that shares by queue have half of the queues each.
 * While one of them does not know yet what the other has, both get the same messages.
 */
async function untilShared(
  { nameServer }: Addresses,
  consumers: readonly ConsumerOf[],
  until: (what: string, isTrue: () => boolean) => Promise<void>,
): Promise<void> {
  const groups = consumers.filter(
    ({ client, mode }) => mode === 'group' && (client === 'sdk' || client === 'ali-ons'),
  )
  const counts = (round: number): number[][] =>
    groups.map(({ members }) =>
      members.map(({ warmUps }) => warmUps.filter((id) => isOfRound(id, round)).length),
    )
  const isComplete = (round: number): boolean =>
    counts(round).every((of) => of.reduce((sum, count) => sum + count, 0) >= WARM_UPS)
  const isShared = (round: number): boolean =>
    counts(round).every((of) => of.every((count) => count === WARM_UPS / of.length))
  const deadline = performance.now() + SHARED_MS_MAX
  await using client = await connect({ nameServers: nameServer })
  for (let round = 0; performance.now() < deadline; round++) {
    // One after the other, so that each queue gets as many.
    for (let n = 0; n < WARM_UPS; n++) {
      await client.send({ topic: TOPIC, body: warmUpBody(round, n) })
    }
    await until('a round did not arrive', () => isComplete(round))
    // What came twice may show only after the round is complete.
    if (round > 0 && isShared(round - 1) && isShared(round)) return
  }
  throw new Error('the members of a group do not share its queues')
}

const idsOf = (members: readonly MatrixClient[]): Set<string> =>
  new Set(members.flatMap((member) => member.reports.map((report) => report.id)))

const stateOf = (clients: readonly MatrixClient[]): string =>
  clients
    .map((client) => {
      const { task, name, sent, reports, stderr } = client
      const did =
        task.role === 'produce' ? `sent ${sent}` : `got ${reports.length} (${idsOf([client]).size})`
      return `${name}: ${did} ${stderr.slice(-500)}`
    })
    .join('\n')

/** Ids of a producer's samples. */
export const expectedIds = (producer: ClientName): readonly string[] =>
  samplesOf(producer).map(idOf)
