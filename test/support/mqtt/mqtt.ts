// A server that speaks MQTT only, and unmodified mqtt.js clients for it.
import mqtt, { type IClientOptions, type IClientPublishOptions, type MqttClient } from 'mqtt'
import type { Clock } from '../../../src/clock.ts'
import type { ConfigInput } from '../../../src/config.ts'
import { type SpawnedServer, spawnServer, startServer, type TestServer } from '../server.ts'
import type { Teardown } from '../temp-dir.ts'

const OFF = { enabled: false }
const MQTT_ONLY: ConfigInput = { nameServer: OFF, remoting: OFF, amqp: OFF }

export const VERSIONS = [4, 5] as const
export type Version = (typeof VERSIONS)[number]

export interface MqttServer {
  readonly port: number
  readonly server: TestServer
}

export async function startMqtt(
  t: Teardown,
  options: {
    readonly mqtt?: ConfigInput['mqtt']
    readonly config?: ConfigInput
    readonly clock?: Clock
  } = {},
): Promise<MqttServer> {
  const server = await startServer(t, {
    config: { ...MQTT_ONLY, ...options.config, ...(options.mqtt && { mqtt: options.mqtt }) },
    ...(options.clock && { clock: options.clock }),
  })
  return { server, port: server.port('mqtt') }
}

/** In a child process that can be killed. */
export const spawnMqtt = (t: Teardown, config: ConfigInput = {}): Promise<SpawnedServer> =>
  spawnServer(t, { config: { ...MQTT_ONLY, ...config } })

export interface Received {
  readonly topic: string
  readonly text: string
  readonly payload: Buffer
  readonly qos: number
  readonly retain: boolean
  readonly dup: boolean
  readonly properties: Record<string, unknown>
}

/** An mqtt.js client that keeps what it receives in order. */
export class TestClient {
  readonly client: MqttClient
  readonly received: Received[] = []
  #news: (() => void)[] = []

  constructor(client: MqttClient) {
    this.client = client
    client.on('error', () => {})
    client.on('message', (topic, payload, packet) => {
      this.received.push({
        ...{ topic, payload, text: payload.toString() },
        ...{ qos: packet.qos, retain: packet.retain, dup: packet.dup },
        properties: { ...packet.properties },
      })
      for (const news of this.#news.splice(0)) news()
    })
  }

  get texts(): string[] {
    return this.received.map(({ text }) => text)
  }

  /** Everything received, once there are at least `count`. @throws when they do not come */
  async messages(count: number, waitMs = 60_000): Promise<readonly Received[]> {
    const deadline = performance.now() + waitMs
    while (this.received.length < count) {
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) throw new Error(`${this.received.length} of ${count} messages came`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#news.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
    return this.received
  }

  publish(topic: string, payload: string | Buffer, options: IClientPublishOptions = {}) {
    return this.client.publishAsync(topic, payload, { qos: 1, ...options })
  }

  subscribe(
    filter: string | string[],
    options: Parameters<MqttClient['subscribeAsync']>[1] = { qos: 1 },
  ) {
    return this.client.subscribeAsync(filter, options)
  }

  /** Sends DISCONNECT and waits for the end. */
  end(): Promise<void> {
    return this.client.endAsync()
  }

  /** Cuts the connection without a word. */
  async cut(): Promise<void> {
    const closed = new Promise((resolve) => this.client.once('close', () => resolve(undefined)))
    this.client.stream.destroy()
    await closed
    await this.client.endAsync(true)
  }
}

export interface ClientShape extends IClientOptions {
  /** MQTT 5 seconds; makes a persistent session together with `clean: false`. */
  readonly expiry?: number
}

/** Connected, closed after the test, never reconnecting by itself. */
export async function mqttClient(
  t: Teardown,
  port: number,
  version: Version,
  { expiry, ...shape }: ClientShape = {},
): Promise<TestClient> {
  const client = mqtt.connect({
    host: '127.0.0.1',
    port,
    protocolVersion: version,
    reconnectPeriod: 0,
    connectTimeout: 60_000,
    ...shape,
    ...(version === 5 &&
      expiry !== undefined && {
        properties: { ...shape.properties, sessionExpiryInterval: expiry },
      }),
    manualConnect: true,
  })
  const wrapped = new TestClient(client)
  t.teardown(() => client.endAsync(true))
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve())
    client.once('error', reject)
    client.once('close', () => reject(new Error('the server closed the connection')))
    client.connect()
  })
  return wrapped
}

/** A session that survives its connection, in either version. */
export const persistent = (clientId: string): ClientShape => ({
  clientId,
  clean: false,
  expiry: 3600,
})
