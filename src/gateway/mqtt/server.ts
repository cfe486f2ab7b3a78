// The MQTT front-end: MQTT 3.1, 3.1.1 and 5 over the Broker port. Accepts sockets once the saved
// sessions are read, and keeps what its connections share.
import { SharedSlice } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { Connections } from '../../net/connections.ts'
import type { Gateway, GatewayContext, GatewaySocket } from '../../port/gateway.ts'
import { Traffic } from '../../port/traffic.ts'
import { Addresses } from './address.ts'
import { showMqtt } from './backlog.ts'
import { ConnectBudget } from './connect-budget.ts'
import type { Connection } from './connection.ts'
import { LightReading } from './deliver/light-reading.ts'
import { ShareFilters } from './deliver/share-filters.ts'
import { FollowedTopics } from './follow/followed-topics.ts'
import { CONNECTING_BYTES_MAX } from './limits.ts'
import { mqttCounters } from './numbers.ts'
import { MQTT_DEFAULTS, type MqttOptions } from './options.ts'
import type { MqttParts } from './parts.ts'
import { FanOut } from './publish/fan-out.ts'
import { MqttPublisher } from './publish/publisher.ts'
import { Retained } from './publish/retained.ts'
import { askByResponseTopic } from './publish/transactions.ts'
import { FilterCounts } from './session/filter-counts.ts'
import { SessionTable } from './session/session-table.ts'
import { mqttView } from './view.ts'

export type { MqttOptions } from './options.ts'

const SWEEP_MS = 250
/** Of the ids of connections. */
const ID_PREFIX = 'mqtt-'

export class MqttGateway implements Gateway {
  readonly protocol = 'mqtt'
  readonly #parts: MqttParts
  readonly #connections: Connections<Connection>
  readonly #watches: readonly Disposable[]
  /** Saved sessions and retained messages are being read; sockets wait. */
  #opening: Promise<void> | undefined
  /** What comes with the first connection. */
  #code: Promise<typeof import('./connection.ts')> | undefined

  constructor(context: GatewayContext, options: Partial<MqttOptions> = {}) {
    this.#parts = assemble(context, { ...MQTT_DEFAULTS, ...options })
    showMqtt(this.#parts)
    if (context.views !== undefined) context.views.mqtt = mqttView(this.#parts)
    this.#watches = [
      context.broker.transactions.watch({
        // Its sender was allowed to have the answers there.
        mayAsk: ({ connectionId, responseTopic }) =>
          responseTopic !== undefined && connectionId.startsWith(ID_PREFIX),
        ask: (check) => askByResponseTopic(this.#parts, check),
      }),
      context.auth.watch((user) => {
        for (const connection of this.#connections) connection.onUserChanged(user)
      }),
    ]
    this.#connections = new Connections(context.clock)
    this.#connections.every(SWEEP_MS, (nowMs) => this.#sweep(nowMs))
  }

  get connections(): number {
    return this.#connections.size
  }

  /**
   * Reads what an earlier run left: wills that are due go out, also before any client connects.
   * Idempotent.
   */
  open(): Promise<void> {
    this.#opening ??= this.#open()
    return this.#opening
  }

  accept(socket: GatewaySocket): void {
    this.#code ??= import('./connection.ts')
    Promise.all([this.#code, this.open()]).then(
      ([{ Connection }]) => {
        this.#connections.accept(
          socket,
          (serial, gone) => new Connection(this.#parts, socket, `${ID_PREFIX}${serial}`, gone),
        )
      },
      (error: unknown) => {
        const { log } = this.#parts.context
        log.error(
          { evt: 'mqtt.open_failed', err: error },
          'MQTT cannot serve: its state or its code is unreadable',
        )
        this.#opening = undefined
        this.#code = undefined
        socket.destroy()
      },
    )
  }

  async close(deadlineMs: number): Promise<void> {
    await this.#opening?.catch(() => {})
    await this.#connections.close(deadlineMs)
    for (const watch of this.#watches) watch[Symbol.dispose]()
    await this.#parts.sessions.close(deadlineMs)
    this.#parts.streams.close()
    this.#parts.addresses.close()
    this.#parts.retained.close()
    this.#parts.context.log.debug({ evt: 'mqtt.closed' }, 'the MQTT front-end is closed')
  }

  async #open(): Promise<void> {
    const { addresses, retained, sessions } = this.#parts
    try {
      await addresses.open()
      await retained.open()
      await sessions.open()
    } catch (error) {
      // The next client has it opened anew, with watchers of its own.
      addresses.close()
      retained.close()
      throw error
    }
  }

  #sweep(nowMs: number): void {
    for (const connection of this.#connections) connection.sweep(nowMs)
    void this.#parts.sessions.copies.saveDirty()
    this.#parts.streams.sweep(nowMs)
  }
}

function assemble(context: GatewayContext, options: MqttOptions): MqttParts {
  const { auth, broker, clock, log } = context
  const addresses = new Addresses(broker)
  const retained = new Retained(context, options)
  const publisher = new MqttPublisher({ ...context, addresses, retained })
  const subscribers = new FilterCounts()
  const failed = (error: unknown, topic: string): void => {
    if (BrokerError.from(error).code === 'CLOSED') return
    log.warn({ evt: 'mqtt.read_failed', topic, err: error }, 'reading for sessions failed')
  }
  const filterWork = new SharedSlice(clock)
  const sessions = new SessionTable({
    auth,
    broker,
    clock,
    log,
    subscribers,
    filterWork,
    sessionsMax: options.sessionsMax,
    publishWill: (will, session, states) => publisher.publishWill(will, session, states),
  })
  const { lightQueues } = broker
  const streams =
    lightQueues === undefined
      ? new FollowedTopics({ broker, clock, addresses, failed })
      : new LightReading(lightQueues, broker, sessions.copies, failed)
  return {
    ...{ context, options, addresses, streams, sessions, retained, subscribers, publisher },
    counters: mqttCounters(context.numbers),
    traffic: new Traffic(context.numbers, 'mqtt'),
    filterWork,
    shareFilters: new ShareFilters(),
    fanOut: new FanOut(),
    connecting: new ConnectBudget(CONNECTING_BYTES_MAX),
  }
}
