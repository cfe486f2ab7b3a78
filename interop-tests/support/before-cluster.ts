// What the tests of gateways before a cluster share: gateways, topics, consumers, waiting.
import { setTimeout as delay } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { connect } from '../../src/client/index.ts'
import type { ConfigInput } from '../../src/config.ts'
import { type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import type { Addresses, Driver, Producing } from '../matrix/driver.ts'
import type { Received, Sample } from '../matrix/sample.ts'

/** A busy machine may take long; nothing is made to wait that has come. */
const WAITS_MAX = 900
const WAIT_MS = 100

export class BeforeCluster {
  readonly apache: { readonly nameServer: string }

  constructor(apache: { readonly nameServer: string }) {
    this.apache = apache
  }

  gateway(t: ExecutionContext, config: ConfigInput = {}): Promise<SpawnedServer> {
    const cluster = { nameServers: [this.apache.nameServer], ...config.cluster }
    return spawnServer(t, { role: 'gateway', config: { ...config, cluster } })
  }

  addressesOf(server: SpawnedServer): Addresses {
    const { nameServer } = this.apache
    return { nameServer, mqtt: server.address('mqtt'), amqp: server.address('amqp') }
  }

  /** Queues on each master. */
  async newTopic(name: string, queues = 4): Promise<string> {
    await using mq = await connect({ nameServers: this.apache.nameServer })
    await mq.admin.topics.create({ name, queues })
    return name
  }

  /** What it receives, in its order; closed after the test. */
  async consumer(
    t: ExecutionContext,
    driver: Driver,
    server: SpawnedServer,
    of: { readonly topic: string; readonly group?: string; readonly clientId?: string },
  ): Promise<readonly Received[]> {
    const received: Received[] = []
    const { topic, group, clientId = `c-${Math.random().toString(36).slice(2)}` } = of
    const consuming = await driver.openConsumer(this.addressesOf(server), {
      ...{ topic, group, clientId },
      received: (message) => void received.push(message),
    })
    t.teardown(() => consuming.close().catch(() => {}))
    return received
  }
}

export const idOfBody = (body: Uint8Array): string =>
  Buffer.from(body).toString().split('\n', 1)[0]!

/** Each once, in the order in which they came first. */
export const ids = (received: readonly Received[]): string[] => [
  ...new Set(received.map(({ body }) => idOfBody(body))),
]

export async function until(
  t: ExecutionContext,
  isDone: () => boolean | Promise<boolean>,
  what: () => string,
): Promise<void> {
  for (let waits = 0; !(await isDone()); waits++) {
    if (waits > WAITS_MAX) throw new Error(what())
    if (waits % 50 === 49) t.log(what())
    await delay(WAIT_MS)
  }
}

/** Four lanes, each in order; every one acknowledged. */
export async function sendAll(
  producing: Producing,
  producer: Sample['producer'],
  count: number,
  from = 0,
): Promise<readonly Sample[]> {
  const sent: Sample[] = []
  for (let n = from; n < from + count; n++) {
    const sample = { producer, lane: n % 4, n: Math.floor(n / 4) }
    await producing.send(sample)
    sent.push(sample)
  }
  return sent
}

/** As `sendAll`, each again and again until it is acknowledged. */
export async function sendPatiently(
  producing: Producing,
  producer: Sample['producer'],
  count: number,
  from: number,
): Promise<readonly Sample[]> {
  const patient: Producing = {
    async send(sample) {
      for (let tries = 0; ; tries++) {
        try {
          return await producing.send(sample)
        } catch (error) {
          if (tries >= WAITS_MAX) throw error
          await delay(WAIT_MS)
        }
      }
    },
    close: () => producing.close(),
  }
  return sendAll(patient, producer, count, from)
}
