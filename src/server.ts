// The one composition root: opens the parts in order, wires them to each other, and closes them in
// the reverse order. The only file that knows all of them.
import { TokenKeys } from './access/secrets/token-keys.ts'
import { Tokens } from './access/tokens.ts'
import { UserStore } from './access/user-store.ts'
import { type Clock, systemClock } from './clock.ts'
import type { Certified, Composition, Farewell } from './composition/composition.ts'
import { registrarCredentials } from './composition/trusted.ts'
import { type Config, configJsonSchema } from './config.ts'
import { checkExposure } from './exposure.ts'
import { requestCounters } from './gateway/http/numbers.ts'
import type { HttpGateway } from './gateway/http/server.ts'
import {
  addressesOf,
  allOf,
  dialAdvertised,
  type Listeners,
  listenerFor,
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
import { AnyGateway } from './net/any-gateway.ts'
import { LateGateway } from './net/late-gateway.ts'
import { Numbers } from './numbers/numbers.ts'
import { watchProcess } from './numbers/process.ts'
import { Parts } from './parts.ts'
import type { Broker } from './port/broker.ts'
import type { GatewayContext } from './port/gateway.ts'
import type { OpenAside } from './remoting/serving/aside.ts'
import { redact } from './settings.ts'

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
  const without = { ...context, auth, listeners, ...served }
  const composition = { ...without, aside: await composeNameServer(without) }
  http = composeHttp(role, composition)
  const running = await composeRole(role, composition)
  if (running !== undefined) {
    serves(running)
    // The first that is closed: clients are sent elsewhere while the others still answer.
    parts.add('readiness', async () => http?.tell((gateway) => gateway.stopping()))
  }
  // Not awaited: it never rejects, and only writes a line of the log.
  void dialAdvertised(listeners, config, log, clock, signal)
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
): Promise<GatewayContext | undefined> {
  if (role === 'namesrv') return undefined
  if (role === 'gateway') {
    const { composeGateway } = await import('./composition/gateway.ts')
    return composeGateway(composition)
  }
  const { composeBroker } = await import('./composition/broker.ts')
  return composeBroker(composition)
}

/** What comes to it by the broker's native front-end; undefined where that is nothing. */
async function composeNameServer(
  without: Omit<Composition, 'aside'>,
): Promise<OpenAside | undefined> {
  const { protocols, listeners } = without
  if (!protocols.includes('nameServer') || listenerFor(listeners, 'nameServer') === undefined) {
    return undefined
  }
  const { openNameServer } = await import('./composition/name-server.ts')
  return openNameServer(without)
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
  if (!protocols.includes('http') || listenerFor(listeners, 'http') === undefined) return undefined
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
