// The one composition root: opens the parts in order, wires them to each other, and closes them in the
// reverse order. The only file that knows all of them.
import { randomUUID } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { type Clock, systemClock } from './clock.ts'
import { type Config, type ListeningConfig, openFilesLimit } from './config.ts'
import { BrokerError } from './errors.ts'
import { checkExposure, isOpenToNetwork, isWildcard } from './exposure.ts'
import { openAuthenticator } from './gateway/auth.ts'
import type { Broker, Gateway, GatewayContext } from './gateway/gateway.ts'
import { Listener } from './gateway/listener.ts'
import type { Logger } from './log.ts'
import { hostOf } from './model/host.ts'
import type { Credentials } from './remoting/signature.ts'
import type { MessageStore } from './store/store.ts'

export type ServerRole = 'start' | 'namesrv' | 'broker'

export interface ServerOptions {
  readonly config: Config
  readonly log: Logger
  /** Default: everything in one process. */
  readonly role?: ServerRole
  readonly clock?: Clock
}

export type ListenerName = 'nameServer' | 'remoting' | 'mqtt' | 'amqp'

export interface ServerAddress {
  readonly name: ListenerName
  readonly host: string
  readonly port: number
  /** host:port as clients are told. */
  readonly advertised: string
}

/** Opens everything or nothing. @throws BrokerError with what to do about it */
export async function openServer(options: ServerOptions): Promise<Server> {
  checkExposure(options.config)
  const parts = new Parts(options.log)
  try {
    return await compose(options, parts)
  } catch (error) {
    await parts.close()
    throw error
  }
}

export class Server {
  readonly addresses: readonly ServerAddress[]
  readonly #parts: Parts

  /** Use `openServer`. */
  constructor(addresses: readonly ServerAddress[], parts: Parts) {
    this.addresses = addresses
    this.#parts = parts
  }

  /** @throws RangeError when it does not listen */
  address(name: ListenerName): ServerAddress {
    const found = this.addresses.find((address) => address.name === name)
    if (found === undefined) throw new RangeError(`${name} does not listen`)
    return found
  }

  /** Lets connections go in order, then makes everything durable. Idempotent. */
  close(): Promise<void> {
    return this.#parts.close()
  }
}

/** What is open, in order; closed backwards, one after the other, whatever fails. */
class Parts {
  readonly #log: Logger
  readonly #open: { readonly name: string; readonly close: () => Promise<void> }[] = []
  #closing: Promise<void> | undefined

  constructor(log: Logger) {
    this.#log = log
  }

  add(name: string, close: () => Promise<void>): void {
    this.#open.push({ name, close })
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeAll()
    return this.#closing
  }

  async #closeAll(): Promise<void> {
    for (const part of this.#open.reverse()) {
      try {
        await part.close()
      } catch (error) {
        const fields = { evt: 'server.stop_failed', part: part.name, err: error }
        this.#log.error(fields, `${part.name} did not stop in order`)
      }
    }
  }
}

async function compose(options: ServerOptions, parts: Parts): Promise<Server> {
  const { config, log, clock = systemClock, role = 'start' } = options
  const listeners = await openListeners(config, role, log, clock, parts)
  const addresses = [...listeners].map(([name, listener]) =>
    addressOf(name, listener, config[name]),
  )
  const trusted = registrarCredentials(config)
  const nameServer = listeners.get('nameServer')
  if (nameServer !== undefined) {
    const { NameServer } = await import('./namesrv/server.ts')
    const context = { log, clock, auth: openAuthenticator(config.users, clock) }
    serve('name server', new NameServer(context, { trusted }), nameServer, config, parts)
  }
  if (role !== 'namesrv') await composeBroker({ config, log, clock, listeners, parts, trusted })
  return new Server(addresses, parts)
}

async function openListeners(
  config: Config,
  role: ServerRole,
  log: Logger,
  clock: Clock,
  parts: Parts,
): Promise<ReadonlyMap<ListenerName, Listener>> {
  const listeners = new Map<ListenerName, Listener>()
  const names = listening(role).filter((name) => config[name].enabled)
  const connectionsMax = connectionsLimit(names, config, log)
  for (const name of names) {
    const { host, port } = config[name]
    const limits = {
      ...config[name],
      connectionsMax: Math.min(config[name].connectionsMax, connectionsMax),
    }
    const listener = await Listener.open({ host, port, name, limits, log, clock })
    parts.add(`${name} listener`, () => listener.close())
    listeners.set(name, listener)
  }
  return listeners
}

/** From now on connections are taken; a stop takes no more, then lets them go in order. */
function serve(
  name: string,
  gateway: Gateway,
  listener: Listener,
  config: Config,
  parts: Parts,
): void {
  listener.serve(gateway)
  parts.add(name, () => {
    listener.stopAccepting()
    return gateway.close(config.stopDeadlineMs)
  })
}

interface BrokerSurroundings {
  readonly config: Config
  readonly log: Logger
  readonly clock: Clock
  readonly listeners: ReadonlyMap<ListenerName, Listener>
  readonly parts: Parts
  /** How the broker signs towards its name servers. */
  readonly trusted: Credentials | undefined
}

async function composeBroker(around: BrokerSurroundings): Promise<void> {
  const { config, log, clock, listeners, parts } = around
  const auth = openAuthenticator(config.users, clock)
  const [{ openBroker }, store] = await Promise.all([
    import('./broker/broker.ts'),
    openStoreOf(config, listeners.get('remoting')?.port ?? config.remoting.port, log, clock),
  ])
  parts.add('store', () => store.close())
  const { name, autoCreateTopics, nameServers, ...limits } = config.broker
  const broker = openBroker({
    store,
    clock,
    log,
    options: {
      ...limits,
      brokerName: name,
      autoCreateTopics:
        autoCreateTopics === 'loopback' ? !isOpenToNetwork(config) : autoCreateTopics,
    },
  })
  parts.add('broker', () => broker.close())
  const context: GatewayContext = { broker, auth, log, clock }
  for (const [name, listener] of listeners) {
    const open = name === 'nameServer' ? undefined : GATEWAYS[name]
    if (open !== undefined) serve(name, await open(context, config), listener, config, parts)
  }
  await register(around, broker)
}

/** Each loads only when it is enabled. */
const GATEWAYS: Readonly<
  Partial<Record<ListenerName, (context: GatewayContext, config: Config) => Promise<Gateway>>>
> = {
  remoting: async (context) => {
    const { RemotingGateway } = await import('./gateway/remoting/server.ts')
    return new RemotingGateway(context)
  },
  mqtt: async (context, config) => {
    const { MqttGateway } = await import('./gateway/mqtt/server.ts')
    const gateway = new MqttGateway(context, config.mqtt)
    await gateway.open()
    return gateway
  },
  amqp: async (context, config) => {
    const { AmqpGateway } = await import('./gateway/amqp/server.ts')
    return new AmqpGateway(context, config.amqp)
  },
}

/**
 * As the first admin with a secret key, which name servers of the same users accept. Without one, with a
 * secret that only the name server of this process knows.
 */
function registrarCredentials(config: Config): Credentials | undefined {
  const users = Object.entries(config.users)
  if (users.length === 0) return undefined
  for (const [accessKey, { admin, secretKey }] of users) {
    if (admin && secretKey !== undefined) return { accessKey, secretKey }
  }
  return { accessKey: `broker-${randomUUID()}`, secretKey: randomUUID() }
}

/** Tells the name servers, which is what brings native clients here: the last step of a start. */
async function register(around: BrokerSurroundings, broker: Broker): Promise<void> {
  const { config, log, clock, listeners, parts, trusted } = around
  const remoting = listeners.get('remoting')
  if (remoting === undefined) return
  const own = listeners.get('nameServer')
  const nameServers = [...config.broker.nameServers]
  if (own !== undefined) {
    nameServers.unshift(`${isWildcard(own.host) ? '127.0.0.1' : own.host}:${own.port}`)
  }
  if (nameServers.length === 0) {
    log.warn(
      { evt: 'server.no_name_server' },
      'no name server knows this broker, so RocketMQ clients cannot find it; set broker.nameServers',
    )
    return
  }
  const { host, advertisedHost } = config.remoting
  const told = advertisedHost ?? (isWildcard(host) ? undefined : host)
  const { Registrar } = await import('./namesrv/registrar.ts')
  const registrar = new Registrar(
    { broker, clock, log },
    { nameServers, advertised: { host: told, port: remoting.port }, credentials: trusted },
  )
  parts.add('registrar', () => registrar.close())
  await registrar.start()
}

async function openStoreOf(
  config: Config,
  port: number,
  log: Logger,
  clock: Clock,
): Promise<MessageStore> {
  const { openStore } = await import('./store/open.ts')
  const { retentionBytes, ...store } = config.store
  return openStore({
    ...store,
    ...(retentionBytes !== undefined && { retentionBytes }),
    directory: config.dataDir,
    storeHost: hostOf(await advertisedIp(config.remoting), port),
    log,
    clock,
  })
}

/** Records and message ids carry an IPv4 address. @throws BrokerError CONFIG_INVALID */
async function advertisedIp(config: ListeningConfig): Promise<string> {
  const host = config.advertisedHost ?? (isWildcard(config.host) ? '127.0.0.1' : config.host)
  if (isIP(host) !== 0) return host
  try {
    return (await lookup(host, { family: 4 })).address
  } catch (error) {
    throw new BrokerError(
      'CONFIG_INVALID',
      `remoting.advertisedHost '${host}' cannot be resolved; set it to a name or address that clients reach`,
      { cause: error },
    )
  }
}

function listening(role: ServerRole): readonly ListenerName[] {
  if (role === 'namesrv') return ['nameServer']
  if (role === 'broker') return ['remoting', 'mqtt', 'amqp']
  return ['nameServer', 'remoting', 'mqtt', 'amqp']
}

/** Files of the store and what node itself keeps open. */
const FILES_RESERVED = 512

/** Below, an operator should know at every start. */
const CONNECTIONS_FEW = 1000

/**
 * What each listener may have when all are full: connections beyond the limit of open files would be
 * dropped by the kernel without a word, and the store could not open its files.
 */
function connectionsLimit(names: readonly ListenerName[], config: Config, log: Logger): number {
  const files = openFilesLimit()
  if (files === undefined || names.length === 0) return Number.POSITIVE_INFINITY
  const reserved = Math.min(FILES_RESERVED, Math.floor(files / 2))
  const each = Math.floor((files - reserved) / names.length)
  const asked = Math.max(...names.map((name) => config[name].connectionsMax))
  if (asked > each) {
    const fields = { evt: 'server.open_files', openFiles: files, connectionsMax: each }
    const level = each < CONNECTIONS_FEW ? 'warn' : 'debug'
    log[level](fields, `each listener takes ${each} connections at most; raise it with ulimit -n`)
  }
  return each
}

function addressOf(name: ListenerName, listener: Listener, config: ListeningConfig): ServerAddress {
  const { host, port } = listener
  const told = config.advertisedHost ?? (isWildcard(host) ? 'localhost' : host)
  const advertised = `${told.includes(':') ? `[${told}]` : told}:${port}`
  return { name, host, port, advertised }
}
