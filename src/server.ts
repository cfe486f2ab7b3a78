// The one composition root: opens the parts in order, wires them to each other, and closes them in
// the reverse order. The only file that knows all of them.
import { randomUUID } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import type { ConnectionOptions } from 'node:tls'
import { Accounts } from './access/accounts.ts'
import { TokenKeys } from './access/secrets/token-keys.ts'
import { Tokens } from './access/tokens.ts'
import { UserStore } from './access/user-store.ts'
import type { EmbeddedBroker } from './broker/broker.ts'
import { type Clock, systemClock } from './clock.ts'
import type { Certified, Composition, Farewell } from './composition/composition.ts'
import { closeDoors } from './composition/doors.ts'
import type { ElectedStore } from './composition/elected-life.ts'
import { type FrontEnd, frontEndsOf, serveFrontEnds } from './composition/front-ends.ts'
import { composeReplication } from './composition/replication.ts'
import { type Config, configJsonSchema, type ListeningConfig } from './config.ts'
import { BrokerError } from './errors.ts'
import { checkExposure, isOpenToNetwork, isWildcard } from './exposure.ts'
import { requestCounters } from './gateway/http/numbers.ts'
import type { HttpGateway } from './gateway/http/server.ts'
import {
  addressesOf,
  advertisedHost,
  allOf,
  dialAdvertised,
  doorOf,
  firstListener,
  type Listeners,
  openListeners,
} from './listeners.ts'
import {
  type ListenerName,
  type ListeningProtocol,
  protocolsOf,
  type ServerAddress,
  type ServerRole,
} from './listening.ts'
import { LiveCertificates } from './live-certificates.ts'
import type { Logger } from './log.ts'
import { hostOf } from './model/host.ts'
import { reachableAddress, UNSPECIFIED } from './namesrv/reachable-address.ts'
import type { Registrar } from './namesrv/registrar.ts'
import type { NameServer } from './namesrv/server.ts'
import { AnyGateway } from './net/any-gateway.ts'
import { LateGateway } from './net/late-gateway.ts'
import { Numbers } from './numbers/numbers.ts'
import { watchProcess } from './numbers/process.ts'
import { Parts } from './parts.ts'
import type { Broker } from './port/broker.ts'
import type { GatewayContext, ReplicationControl } from './port/gateway.ts'
import type { OpenAside } from './remoting/serving/aside.ts'
import type { Credentials } from './remoting/signature.ts'
import { redact } from './settings.ts'
import type { FollowedStore } from './store/open.ts'
import type { MessageStore } from './store/store.ts'

export interface ServerOptions {
  readonly config: Config
  readonly log: Logger
  /** Default: everything in one process. */
  readonly role?: ServerRole
  readonly clock?: Clock
  /** Ends an opening that waits, as an empty slave waits for its master. */
  readonly signal?: AbortSignal
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
  /** Of this server, which may be one of several in its process. */
  readonly numbers: Numbers
  /** The one that clients are served by now; undefined where there is none. */
  readonly broker: () => Broker | undefined
  readonly #certificates: LiveCertificates
  readonly #parts: Parts

  /** Use `openServer`. */
  constructor(opened: Pick<Server, 'addresses' | 'numbers' | 'broker'> & Certified, parts: Parts) {
    this.addresses = opened.addresses
    this.numbers = opened.numbers
    this.broker = opened.broker
    this.#certificates = opened.certificates
    this.#parts = parts
  }

  /** Reads the files of the certificates again; what is wrong with them is told by the log. */
  reloadCertificates(): void {
    this.#certificates.reload()
  }

  /** Its own, or the one for every protocol. @throws RangeError when it does not listen */
  address(name: ListenerName): ServerAddress {
    const found =
      this.addresses.find((address) => address.name === name) ??
      this.addresses.find((address) => address.name === 'any')
    if (found === undefined) throw new RangeError(`${name} does not listen`)
    return found
  }

  /** Lets connections go in order, then makes everything durable. Idempotent. */
  close(): Promise<void> {
    return this.#parts.close()
  }
}

async function compose(options: ServerOptions, parts: Parts): Promise<Server> {
  const { config, log, clock = systemClock, role = 'start' } = options
  const auth = new UserStore(config.users, clock, undefined, tokensOf(config, clock, log))
  const numbers = new Numbers()
  const watching = watchProcess(numbers, clock)
  parts.add('numbers', async () => watching.cancel())
  const certificates = new LiveCertificates(config.tls, log, clock)
  parts.add('certificates', async () => certificates.close())
  const context = { config, certificates, log, clock, parts, numbers }
  const listeners = await openListeners(role, context)
  const trusted = registrarCredentials(config)
  const protocols = protocolsOf(role, config)
  const any = composeAny(protocols, context, listeners)
  let http: ReturnType<typeof composeHttp>
  let broker: Broker | undefined
  const serves = (served: GatewayContext): void => {
    broker = served.broker
    http?.tell((gateway) => gateway.ready(served))
  }
  const { signal } = options
  const leaving = (): Farewell => ({ deadlineMs: config.stopDeadlineMs, isLast: true })
  const served = { trusted, protocols, any, serves, signal, leaving }
  const composition = { ...context, auth, listeners, ...served }
  const nameServer = await composeNameServer(composition)
  http = composeHttp(role, composition)
  const running = await composeRole(role, composition, nameServer)
  if (running !== undefined) {
    serves(running)
    // The first that is closed: clients are sent elsewhere while the others still answer.
    parts.add('readiness', async () => http?.tell((gateway) => gateway.stopping()))
  }
  // Not awaited: it never rejects, and only writes a line of the log.
  void dialAdvertised(listeners, config, log, clock)
  const addresses = addressesOf(listeners, config)
  return new Server({ addresses, numbers, certificates, broker: () => broker }, parts)
}

/** undefined: none are taken. */
function tokensOf({ jwt }: Config, clock: Clock, log: Logger): Tokens | undefined {
  return jwt.keys === undefined
    ? undefined
    : new Tokens(jwt, new TokenKeys(jwt.keys, clock, log), clock)
}

/** Settles once clients are served; undefined for a role without front-ends. */
async function composeRole(
  role: ServerRole,
  composition: Composition,
  nameServer: NameServer | undefined,
): Promise<GatewayContext | undefined> {
  if (role === 'namesrv') return undefined
  return role === 'gateway' ? composeGateway(composition) : composeBroker(composition, nameServer)
}

/** Connections wait there until their front-end is ready. */
function composeAny(
  protocols: readonly ListeningProtocol[],
  { log, parts }: Pick<Composition, 'log' | 'parts'>,
  listeners: Listeners,
): AnyGateway {
  const gateway = new AnyGateway(protocols, log)
  for (const listener of allOf(listeners, 'any')) listener.serve(gateway)
  parts.add('addresses for every protocol', async () => gateway.close())
  return gateway
}

/** Its requests are short, and it closes after the broker. */
const HTTP_STOP_MS = 500

/** Before the broker, whose start may take long: what asks is told that it is not ready. */
function composeHttp(
  role: ServerRole,
  { config, log, clock, auth, listeners, parts, numbers, protocols, any }: Composition,
): LateGateway<HttpGateway> | undefined {
  if (!protocols.includes('http') || doorOf(listeners, 'http') === undefined) return undefined
  const own = allOf(listeners, 'http')
  const { clusterName: cluster, name } = config.broker
  // As Apache's brokers and proxies name themselves.
  const node = { cluster, node_type: role === 'gateway' ? 'proxy' : 'broker', node_id: name }
  const open = async (): Promise<HttpGateway> => {
    const { HttpGateway } = await import('./gateway/http/server.ts')
    const settings = redact(config, configJsonSchema())
    return new HttpGateway({ auth, log, clock, numbers, node, settings }, config.http)
  }
  requestCounters(numbers)
  const gateway = new LateGateway('http', open, log)
  parts.add('HTTP', () => {
    for (const listener of own) listener.stopAccepting()
    return gateway.close(Math.min(config.stopDeadlineMs, HTTP_STOP_MS))
  })
  for (const listener of own) listener.serve(gateway)
  any.open('http', gateway)
  return gateway
}

/**
 * The name server answers at once and closes after the front-ends, so it has no client to wait for:
 * a stop would otherwise take two deadlines where a client hangs.
 */
const NAME_SERVER_STOP_MS = 500

/** undefined where this process is none. */
async function composeNameServer(composition: Composition): Promise<NameServer | undefined> {
  const { config, log, clock, auth, listeners, parts, trusted, protocols, any } = composition
  if (!protocols.includes('nameServer') || doorOf(listeners, 'nameServer') === undefined) {
    return undefined
  }
  const { NameServer } = await import('./namesrv/server.ts')
  const nameServer = new NameServer({ log, clock, auth }, { trusted })
  const listener = firstListener(listeners, 'nameServer')
  listener?.serve(nameServer)
  parts.add('name server', () => {
    listener?.stopAccepting()
    return nameServer.close(Math.min(config.stopDeadlineMs, NAME_SERVER_STOP_MS))
  })
  // Where there is a broker, its native front-end has the connections of both.
  if (!protocols.includes('remoting')) any.open('remoting', nameServer)
  return nameServer
}

/**
 * At an address for every protocol the name server and the broker are one to a client, which has
 * one connection for both, and is told of the broker at this address.
 */
function asideOf(
  { listeners, config }: Composition,
  nameServer: NameServer | undefined,
): OpenAside | undefined {
  const native = doorOf(listeners, 'remoting')
  if (nameServer === undefined || native === undefined) return undefined
  const ports = new Set(allOf(listeners, 'any').map(({ port }) => port))
  const host = advertisedHost(config[native.protocol]) ?? UNSPECIFIED
  const broker = `${host}:${native.listener.port}`
  return (socket, trust) => {
    if (!ports.has(socket.localPort)) return undefined
    const here = `${config.any.advertisedHost ?? host}:${socket.localPort}`
    return nameServer.aside(socket, trust, (address) =>
      reachableAddress(address === broker ? here : address, socket.localAddress),
    )
  }
}

async function composeBroker(
  composition: Composition,
  nameServer: NameServer | undefined,
): Promise<GatewayContext | undefined> {
  const { parts, config } = composition
  if (config.broker.role === 'SLAVE') return composeSlave(composition, nameServer)
  if (config.replication.etcd.endpoints.length > 0) return composeElection(composition, nameServer)
  const store = await openStoreOf(composition)
  parts.add('store', () => store.close())
  return serveBroker(composition, nameServer, frontEndsOf(composition), store)
}

/** The store takes appends: the broker over it, for clients of all protocols. */
async function serveBroker(
  composition: Composition,
  nameServer: NameServer | undefined,
  frontEnds: readonly FrontEnd[],
  store: MessageStore,
  elected?: ElectedStore,
): Promise<GatewayContext> {
  const { config, log, clock, numbers } = composition
  const { openBroker } = await import('./broker/broker.ts')
  // Before the first append: nothing is acknowledged without the slaves that it is to wait for.
  const replication = elected?.replication ?? (await composeReplication(composition, store))
  const { name, autoCreateTopics, nameServers: _, ...limits } = config.broker
  const createsTopics =
    autoCreateTopics === 'loopback' ? !isOpenToNetwork(config) : autoCreateTopics
  const broker = openBroker({
    store,
    clock,
    log,
    numbers,
    options: { ...limits, brokerName: name, brokerId: 0, autoCreateTopics: createsTopics },
  })
  const served = {
    broker,
    store,
    replication,
    letGo: elected?.letGo,
    isElected: elected !== undefined,
  }
  return serveOver(composition, nameServer, frontEnds, served)
}

/** What the front-ends serve. */
interface Served {
  readonly broker: EmbeddedBroker
  readonly store: MessageStore
  readonly replication: ReplicationControl | undefined
  /** No client is there any more. */
  readonly letGo?: (() => void) | undefined
  /** Of a copy: where its master takes clients; absent: they are closed without a word. */
  readonly master?: ElectedStore['master']
  /** It waits for no name server, which may be on a machine that is lost. */
  readonly isElected?: boolean
}

/** Clients of the front-ends, and then the name servers, come to the broker. */
async function serveOver(
  composition: Composition,
  nameServer: NameServer | undefined,
  frontEnds: readonly FrontEnd[],
  { broker, store, replication, letGo, master, isElected = false }: Served,
): Promise<GatewayContext> {
  const { auth, log, clock, numbers, parts } = composition
  parts.add('broker', () => broker.close())
  if (letGo !== undefined) parts.add('what waits for other copies', async () => letGo())
  const accounts = new Accounts(broker.states, auth.accountUsers, log)
  parts.add('accounts', async () => accounts.close())
  await accounts.open()
  const routes = await routesOf(composition, broker, store.replication.epoch)
  const shown = { routes, views: {}, replication, master }
  const context = { broker, auth, accounts, log, clock, numbers, ...shown }
  await serveFrontEnds(composition, frontEnds, context, asideOf(composition, nameServer))
  if (routes === undefined) return context
  // Telling the name servers brings native clients here: the last step of a start.
  parts.add('registrar', () => routes.close())
  const started = routes.start()
  if (!isElected) await started
  return context
}

/** A copy that follows, or is the master, as is agreed on by etcd. */
async function composeElection(
  composition: Composition,
  nameServer: NameServer | undefined,
): Promise<GatewayContext> {
  const { composeElected } = await import('./composition/elected.ts')
  const frontEnds = frontEndsOf(composition)
  closeDoors(composition, ['mqtt', 'amqp'])
  return composeElected(composition, {
    openStore: (follows) => openStoreOf(composition, follows),
    slave: (over, { store, replication, master }) =>
      serveCopy(over, nameServer, frontEnds, { store, replication, master, isElected: true }),
    master: (over, elected) => serveBroker(over, nameServer, frontEnds, elected.store, elected),
  })
}

/** A copy of another broker's log: native clients read from it, others are sent away. */
async function composeSlave(
  composition: Composition,
  nameServer: NameServer | undefined,
): Promise<GatewayContext> {
  const { composeCopy } = await import('./composition/copy.ts')
  const frontEnds = frontEndsOf(composition)
  return composeCopy(composition, {
    openStore: (follows) => openStoreOf(composition, follows),
    slave: (over, copied) => serveCopy(over, nameServer, frontEnds, copied),
    master: (over, store) => serveBroker(over, nameServer, frontEnds, store),
  })
}

/** Native clients read from the copy. */
async function serveCopy(
  composition: Composition,
  nameServer: NameServer | undefined,
  frontEnds: readonly FrontEnd[],
  copied: Omit<Served, 'broker'>,
): Promise<GatewayContext> {
  const { config, log, clock, numbers } = composition
  const { openSlaveBroker } = await import('./broker/slave.ts')
  const { name: brokerName, id: brokerId = 1, nameServers: _, ...limits } = config.broker
  // What a client names and the master does not have is made by its master alone.
  const made = { autoCreateTopics: false, autoCreateGroups: false }
  const options = { ...limits, ...made, brokerName, brokerId }
  const broker = openSlaveBroker({ store: copied.store, clock, log, numbers, options })
  const serving = frontEnds.filter(({ name }) => name === 'remoting' || copied.master !== undefined)
  return serveOver(composition, nameServer, serving, { ...copied, broker })
}

/** The front-ends before a cluster: nothing is stored here. */
async function composeGateway(composition: Composition): Promise<GatewayContext> {
  const { config, certificates, log, clock, auth, parts, numbers } = composition
  const { openClusterBroker } = await import('./cluster/broker.ts')
  const { tls, accessKey, secretKey, ...options } = config.cluster
  const broker = await openClusterBroker({
    clock,
    name: config.broker.name,
    options: {
      ...options,
      tls: tls ? certificates.dialling : undefined,
      credentials:
        accessKey === undefined || secretKey === undefined ? undefined : { accessKey, secretKey },
    },
  })
  parts.add('cluster', () => broker.close())
  const context = { broker, auth, log, clock, numbers, views: {} }
  await serveFrontEnds(composition, frontEndsOf(composition), context)
  return context
}

/**
 * As the first admin with a secret key, which name servers of the same users accept. Without one,
 * with a secret that only the name server of this process knows.
 */
function registrarCredentials(config: Config): Credentials | undefined {
  const users = Object.entries(config.users)
  if (users.length === 0) return undefined
  for (const [accessKey, { admin, secretKey }] of users) {
    if (admin && secretKey !== undefined) return { accessKey, secretKey }
  }
  return { accessKey: `broker-${randomUUID()}`, secretKey: randomUUID() }
}

/**
 * Tells the name servers of this broker, once started; undefined where there is nothing to tell, or
 * no name server.
 */
async function routesOf(
  composition: Composition,
  broker: Broker,
  stateVersion: number,
): Promise<Registrar | undefined> {
  const { config, certificates, log, clock, listeners, trusted, protocols } = composition
  const remoting = protocols.includes('remoting') ? doorOf(listeners, 'remoting') : undefined
  if (remoting === undefined) return undefined
  const { dialling } = certificates
  const nameServers = [...config.broker.nameServers]
  let isOwnOverTls = false
  const own = protocols.includes('nameServer')
    ? doorOf(listeners, 'nameServer')?.listener
    : undefined
  if (own !== undefined) {
    const address = `${isWildcard(own.host) ? '127.0.0.1' : own.host}:${own.port}`
    nameServers.unshift(address)
    isOwnOverTls = own.options.tls?.isEnforced === true
  }
  const tls = (nameServer: string): ConnectionOptions | undefined => {
    if (own === undefined || nameServer !== nameServers[0]) {
      return config.broker.nameServersTls ? dialling : undefined
    }
    // This process has the port, whatever name its certificate is for.
    return isOwnOverTls ? { ...dialling, rejectUnauthorized: false } : undefined
  }
  if (nameServers.length === 0) {
    log.warn(
      { evt: 'server.no_name_server' },
      'no name server knows this broker, so RocketMQ clients cannot find it; set broker.nameServers',
    )
    return undefined
  }
  const host = advertisedHost(config[remoting.protocol])
  const advertised = { host, port: remoting.listener.port }
  const { Registrar } = await import('./namesrv/registrar.ts')
  const options = { nameServers, tls, advertised, credentials: trusted, stateVersion }
  return new Registrar({ broker, clock, log }, options)
}

/** `follows`: a copy, which is synced whatever `store.flush` says: its master relies on it. */
async function openStoreOf(
  composition: Composition,
  follows?: FollowedStore,
): Promise<MessageStore> {
  const { config, log, clock, listeners, numbers } = composition
  const { openStore } = await import('./store/open.ts')
  const { retentionBytes, ...store } = config.store
  const native = doorOf(listeners, 'remoting')
  const port = native?.listener.port ?? config.remoting.port
  return openStore({
    ...store,
    ...(retentionBytes !== undefined && { retentionBytes }),
    ...(follows !== undefined && { follows, flush: 'sync' as const }),
    bodyBytesMax: config.broker.bodyBytesMax,
    directory: config.dataDir,
    storeHost: hostOf(await advertisedIp(config[native?.protocol ?? 'remoting']), port),
    log,
    clock,
    numbers,
  })
}

/** Records and message ids carry an IPv4 address. @throws BrokerError CONFIG_INVALID */
async function advertisedIp(config: ListeningConfig): Promise<string> {
  const host = advertisedHost(config) ?? '127.0.0.1'
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
