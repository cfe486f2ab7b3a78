// MQTT 3.1 and 3.1.1 by aedes (mqtt.engine), over the Broker port: users, limits and numbers are
// those of our own engine, and what is acknowledged is stored. Loaded where it is asked for.
import type { EventEmitter } from 'node:events'
import type { Aedes, AedesOptions, Client } from 'aedes'
import { LogEmitter } from '../../aedes/emitter.ts'
import { SharedSlice, sleep } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { Connections } from '../../net/connections.ts'
import type { Gateway, GatewayContext, GatewaySocket } from '../../port/gateway.ts'
import { lendBroker } from '../../port/lent-brokers.ts'
import { Traffic } from '../../port/traffic.ts'
import { Addresses } from '../mqtt/address.ts'
import { showKept } from '../mqtt/backlog.ts'
import { ConnectBudget } from '../mqtt/connect-budget.ts'
import { CLIENT_ID_BYTES_MAX, CONNECTING_BYTES_MAX, INBOUND_IDS_MAX } from '../mqtt/limits.ts'
import { mqttCounters } from '../mqtt/numbers.ts'
import { MQTT_DEFAULTS } from '../mqtt/options.ts'
import { Retained } from '../mqtt/publish/retained.ts'
import { AedesConnection } from './connection.ts'
import { EnginePersistence } from './engine-persistence.ts'
import { Hooks } from './hooks.ts'
import { KeptSessions } from './kept-sessions.ts'
import type { AedesGatewayOptions, AedesParts } from './parts.ts'
import { aedesView, sessionCounts } from './view.ts'

const SWEEP_MS = 250
const KEPT_SWEEP_MS = 60_000
/** aedes publishes the wills of a process that is gone four of these after it was heard of. */
const HEARTBEAT_MS = 15_000
/** A client that takes nothing for so long is closed: until then aedes holds all others back. */
const DRAIN_MS = 5_000
/** aedes has no way to more. */
const LEVELS_MAX = 100

export class AedesGateway implements Gateway {
  readonly protocol = 'mqtt'
  readonly #parts: AedesParts
  readonly #mq: LogEmitter
  readonly #persistence: EnginePersistence
  readonly #hooks: Hooks
  readonly #connections: Connections<AedesConnection>
  readonly #watch: Disposable
  #aedes: Aedes | undefined
  #opening: Promise<void> | undefined

  constructor(context: GatewayContext, given: Partial<AedesGatewayOptions> = {}) {
    const handle = {}
    lendBroker(handle, () => context.broker)
    const options = optionsOf(given)
    const { log } = context
    const onError = (error: BrokerError): void =>
      log.warn({ evt: 'mqtt.aedes_trouble', err: error }, 'aedes is kept from its broker for now')
    const shared = { server: handle, onError, sessionsMax: options.sessionsMax }
    // '+' and '#' select empty levels too (MQTT-4.7.1-3).
    this.#mq = new LogEmitter({ ...shared, matchEmptyLevels: true })
    this.#persistence = new EnginePersistence(shared, {
      refusalOf: (will) => this.#hooks.refusalOf(null, will),
      log,
    })
    this.#parts = assemble(context, options, this.#persistence)
    this.#hooks = new Hooks(this.#parts, this.#mq)
    mqttCounters(context.numbers)
    showKept(context.numbers, this.#parts.retained, () => sessionCounts(this.#parts))
    if (context.views !== undefined) context.views.mqtt = aedesView(this.#parts)
    this.#watch = context.auth.watch((user) => {
      for (const connection of this.#connections) connection.onUserChanged(user)
    })
    this.#connections = new Connections(context.clock)
    this.#connections.every(SWEEP_MS, (nowMs) => {
      for (const connection of this.#connections) connection.sweep(nowMs)
    })
    this.#connections.every(KEPT_SWEEP_MS, () => void this.#endSessions())
  }

  get connections(): number {
    return this.#connections.size
  }

  /**
   * Wills of an earlier run go out, also before any client connects.
   * @throws BrokerError CONFIG_INVALID where aedes is not installed
   */
  open(): Promise<void> {
    this.#opening ??= this.#open()
    return this.#opening
  }

  /** Once it is open. */
  accept(socket: GatewaySocket): void {
    const aedes = this.#aedes
    if (aedes === undefined) {
      socket.destroy()
      return
    }
    this.#connections.accept(
      socket,
      (serial, gone) =>
        new AedesConnection(
          this.#parts,
          socket,
          (stream) => aedes.handle(stream),
          `mqtt-${serial}`,
          gone,
        ),
    )
  }

  async close(deadlineMs: number): Promise<void> {
    const { clock } = this.#parts.context
    const startedMs = clock.monotonic()
    await this.#opening?.catch(() => {})
    await this.#connections.close(deadlineMs)
    this.#watch[Symbol.dispose]()
    const leftMs = deadlineMs - (clock.monotonic() - startedMs)
    await Promise.race([this.#closeAedes(), sleep(clock, Math.max(0, leftMs))])
    const { addresses, retained, kept, context } = this.#parts
    addresses.close()
    retained.close()
    kept.close()
    context.log.debug({ evt: 'mqtt.closed' }, 'the MQTT front-end is closed')
  }

  /** What it was given is stored first. */
  #closeAedes(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#aedes === undefined) resolve()
      else this.#aedes.close(() => resolve())
    })
  }

  async #open(): Promise<void> {
    const { addresses, retained, kept, context } = this.#parts
    const { Aedes: Engine } = await loadAedes()
    await addresses.open()
    await retained.open()
    await kept.open()
    const aedes = new Engine({
      ...{ mq: this.#mq, persistence: this.#persistence },
      ...{ heartbeatInterval: HEARTBEAT_MS, drainTimeout: DRAIN_MS },
      ...{ maxTopicLevels: LEVELS_MAX, maxClientsIdLength: CLIENT_ID_BYTES_MAX },
      maxInflightInbound: INBOUND_IDS_MAX,
      ...this.#hooks.options,
    } as AedesOptions)
    const { log } = context
    // Without a listener it would be thrown.
    const events: EventEmitter = aedes
    events.on('error', (error) =>
      log.warn({ evt: 'mqtt.aedes_trouble', err: error }, 'aedes could not do a part of its work'),
    )
    const failed = (client: Client, error: Error): void =>
      log.debug({ evt: 'mqtt.aedes_client', clientId: client.id, err: error }, 'a client failed')
    aedes.on('clientError', failed)
    aedes.on('connectionError', failed)
    await aedes.listen()
    this.#aedes = aedes
  }

  /** Of clients that have been away for `sessionExpiryMs`. */
  async #endSessions(): Promise<void> {
    const { kept, holders, context } = this.#parts
    try {
      await kept.sweep(
        (clientId) => holders.has(clientId),
        async (id) => {
          await this.#persistence.cleanSubscriptions({ id })
          await this.#persistence.cleanIncoming({ id })
        },
      )
    } catch (error) {
      const fields = { evt: 'mqtt.session_not_ended', err: error }
      context.log.warn(fields, 'a session was not removed completely')
    }
  }
}

const optionsOf = (given: Partial<AedesGatewayOptions>): AedesGatewayOptions => {
  const options = { ...MQTT_DEFAULTS, bodyBytesMax: Number.POSITIVE_INFINITY, ...given }
  return { ...options, topicLevelsMax: Math.min(options.topicLevelsMax, LEVELS_MAX) }
}

function assemble(
  context: GatewayContext,
  options: AedesGatewayOptions,
  persistence: AedesParts['persistence'],
): AedesParts {
  const { auth, broker, clock } = context
  const { sessionsMax, sessionExpiryMs } = options
  const { states } = broker
  return {
    ...{ context, options, persistence },
    addresses: new Addresses(broker),
    retained: new Retained(context, options),
    kept: new KeptSessions({ auth, clock, states, sessionsMax, sessionExpiryMs }),
    traffic: new Traffic(context.numbers, 'mqtt'),
    connecting: new ConnectBudget(CONNECTING_BYTES_MAX),
    filterWork: new SharedSlice(clock),
    holders: new Map(),
  }
}

async function loadAedes(): Promise<typeof import('aedes')> {
  try {
    return await import('aedes')
  } catch (cause) {
    throw new BrokerError(
      'CONFIG_INVALID',
      `mqtt.engine is aedes, and aedes does not load (${(cause as Error).message}); ` +
        'install it beside trivetmq: npm install aedes@1.2 aedes-persistence@11 mqemitter@7',
      { cause },
    )
  }
}
