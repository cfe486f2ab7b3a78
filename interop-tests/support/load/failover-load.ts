// Clients of three protocols that send to whichever copy of a broker takes it, one message after
// the other, and keep what was acknowledged.
import { once } from 'node:events'
import type { ExecutionContext } from 'ava'
import mqtt from 'mqtt'
import rhea, { type Connection, type EventContext, type Sender } from 'rhea'
import { type Client, connect } from '../../../src/client/index.ts'
import { formatHost } from '../../../src/model/host.ts'
import { parseOffsetMessageId } from '../../../src/model/message-id.ts'
import type { SpawnedServer } from '../../../test/support/server.ts'
import type { ElectedBrokers } from '../elected-brokers.ts'

/** Of one message at one address; then the next address is tried. */
const ANSWER_MS = 1_500
/** No failover takes so long: the machine is busy, and what answers is slow. */
const BUSY_AFTER_MS = 10_000
const BUSY_ANSWER_MS = 15_000

/** An open connection that sends. Rejects when the message may not have been taken. */
interface Line {
  /** @returns host:port of the broker that acknowledged it, where native clients find that */
  send(body: string): Promise<string>
  close(): void
}

export interface Acknowledged {
  readonly body: string
  /** host:port */
  readonly by: string
  readonly atMs: number
}

export class Load {
  readonly name: string
  readonly acknowledged: Acknowledged[] = []
  readonly #running: Promise<void>
  #isOver = false

  /** `open`: to one of the copies, another one with each number. */
  constructor(name: string, open: (attempt: number, answerMs: number) => Promise<Line>) {
    this.name = name
    this.#running = this.#run(open)
  }

  async end(): Promise<void> {
    this.#isOver = true
    await this.#running
  }

  /** The first after the moment; undefined: none yet. */
  after(ms: number): number | undefined {
    return this.acknowledged.find(({ atMs }) => atMs > ms)?.atMs
  }

  async #run(open: (attempt: number, answerMs: number) => Promise<Line>): Promise<void> {
    let lastMs = performance.now()
    for (let attempt = 0, next = 0; !this.#isOver; attempt++) {
      let line: Line | undefined
      try {
        const isBusy = performance.now() - lastMs > BUSY_AFTER_MS
        const answerMs = isBusy ? BUSY_ANSWER_MS : ANSWER_MS
        line = await within(open(attempt, answerMs), answerMs)
        for (; !this.#isOver; next++) {
          const body = `${this.name}-${next}`
          const by = await within(line.send(body), answerMs)
          lastMs = performance.now()
          this.acknowledged.push({ body, by, atMs: lastMs })
        }
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20))
      } finally {
        line?.close()
      }
    }
  }
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('late')), ms)
  })
  work.catch(() => {})
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

export function startLoads(
  t: ExecutionContext,
  { brokers, nameServer }: Pick<ElectedBrokers, 'brokers' | 'nameServer'>,
  topic: string,
): readonly Load[] {
  const at = (attempt: number): SpawnedServer => brokers[attempt % brokers.length]!
  const mq = connect({ nameServers: nameServer.address('nameServer'), timeoutMs: ANSWER_MS })
  t.teardown(async () => (await mq).close({ deadlineMs: 0 }))
  const loads = [
    new Load('native', async () => nativeLine(await mq, topic)),
    new Load('mqtt', (attempt, answerMs) => mqttLine(at(attempt), topic, answerMs)),
    new Load('amqp', (attempt) => amqpLine(at(attempt), topic)),
  ]
  t.teardown(() => Promise.all(loads.map((load) => load.end())))
  return loads
}

/** It finds the master by its name server. */
function nativeLine(mq: Client, topic: string): Line {
  return {
    send: async (body) => {
      const { offsetMessageId, status } = await mq.send({ topic, body })
      if (status !== 'stored') throw new Error(status)
      return formatHost(parseOffsetMessageId(offsetMessageId).host)
    },
    close: () => {},
  }
}

async function mqttLine(broker: SpawnedServer, topic: string, answerMs: number): Promise<Line> {
  const client = mqtt.connect({
    ...{ host: broker.host, port: broker.port('mqtt'), protocolVersion: 5 },
    ...{ reconnectPeriod: 0, connectTimeout: answerMs },
  })
  client.on('error', () => {})
  const gone = new Promise<never>((_, reject) => {
    client.once('close', () => reject(new Error('closed')))
  })
  gone.catch(() => {})
  await Promise.race([new Promise((resolve) => client.once('connect', resolve)), gone])
  return {
    send: async (body) => {
      await Promise.race([client.publishAsync(topic, body, { qos: 1 }), gone])
      return broker.address('remoting')
    },
    close: () => client.end(true),
  }
}

async function amqpLine(broker: SpawnedServer, topic: string): Promise<Line> {
  const container = rhea.create_container()
  for (const event of ['connection_error', 'session_error', 'sender_error', 'error', 'rejected']) {
    container.on(event, () => {})
  }
  const connection: Connection = container.connect({
    ...{ host: broker.host, port: broker.port('amqp'), username: 'anonymous', reconnect: false },
  })
  connection.on('error', () => {})
  const gone = new Promise<never>((_, reject) => {
    connection.once('disconnected', () => reject(new Error('closed')))
    container.once('connection_close', () => reject(new Error('closed')))
  })
  gone.catch(() => {})
  const sender: Sender = connection.open_sender(topic)
  await Promise.race([once(sender as never, 'sendable'), gone])
  const waiting = new Map<unknown, (kind: string) => void>()
  for (const kind of ['accepted', 'rejected', 'released', 'modified'] as const) {
    sender.on(kind, ({ delivery }: EventContext) => waiting.get(delivery)?.(kind))
  }
  return {
    send: async (body) => {
      const delivery = sender.send({ body })
      const settled = new Promise<string>((resolve) => waiting.set(delivery, resolve))
      const kind = await Promise.race([settled, gone])
      waiting.delete(delivery)
      if (kind !== 'accepted') throw new Error(kind)
      return broker.address('remoting')
    },
    close: () => connection.close(),
  }
}

/** Reads the topic from its beginning; what of the bodies it does not have. */
export async function missingOf(
  mq: Client,
  topic: string,
  bodies: Iterable<string>,
): Promise<ReadonlySet<string>> {
  const missing = new Set(bodies)
  const stop = new AbortController()
  const idle = (): NodeJS.Timeout => setTimeout(() => stop.abort(), 20_000)
  let timer = idle()
  const group = `readers-${Math.round(performance.now())}`
  try {
    for await (const delivery of mq.subscribe({
      group,
      topic,
      from: 'first',
      signal: stop.signal,
    })) {
      clearTimeout(timer)
      timer = idle()
      missing.delete(delivery.text())
      await delivery.ack()
      if (missing.size === 0) break
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error
  } finally {
    clearTimeout(timer)
  }
  return missing
}
