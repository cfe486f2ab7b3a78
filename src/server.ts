// The one composition root: opens the parts in order, wires them to each other, and closes them in the
// reverse order. The only file that knows all of them.
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { type Clock, systemClock } from './clock.ts'
import type { Config, ListeningConfig } from './config.ts'
import { BrokerError } from './errors.ts'
import { checkExposure, isWildcard } from './exposure.ts'
import { Listener } from './gateway/listener.ts'
import type { Logger } from './log.ts'
import { hostOf } from './model/host.ts'
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
  const listeners = new Map<ListenerName, Listener>()
  for (const name of listening(role)) {
    if (!config[name].enabled) continue
    const listener = await openListener(name, config[name], log, clock)
    parts.add(`${name} listener`, () => listener.close())
    listeners.set(name, listener)
  }
  if (role !== 'namesrv') {
    const store = await openStoreOf(config, listeners.get('remoting')?.port ?? 0, log, clock)
    parts.add('store', () => store.close())
  }
  const addresses = [...listeners].map(([name, listener]) =>
    addressOf(name, listener, config[name]),
  )
  return new Server(addresses, parts)
}

async function openStoreOf(
  config: Config,
  port: number,
  log: Logger,
  clock: Clock,
): Promise<MessageStore> {
  const { openStore } = await import('./store/open.ts')
  const { retentionBytes, ...store } = config.store
  try {
    return await openStore({
      ...store,
      ...(retentionBytes !== undefined && { retentionBytes }),
      directory: config.dataDir,
      storeHost: hostOf(await advertisedIp(config.remoting), port),
      log,
      clock,
    })
  } catch (error) {
    throw dataDirError(config.dataDir, error)
  }
}

/** What the file system says about the directory, with what to do. */
function dataDirError(dataDir: string, error: unknown): unknown {
  const { code, path } = error as NodeJS.ErrnoException
  if (error instanceof BrokerError || code === undefined || path === undefined) return error
  const fix =
    code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
      ? 'make it writable for this user'
      : code === 'ENOSPC' || code === 'EDQUOT'
        ? 'make room on its disk'
        : 'check the path'
  return new BrokerError(
    'CONFIG_INVALID',
    `the data directory '${dataDir}' cannot be used (${code} at ${path}); ${fix}, or choose another with --data-dir`,
    { cause: error },
  )
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

function openListener(
  name: ListenerName,
  config: ListeningConfig,
  log: Logger,
  clock: Clock,
): Promise<Listener> {
  return Listener.open({ host: config.host, port: config.port, name, limits: config, log, clock })
}

function addressOf(name: ListenerName, listener: Listener, config: ListeningConfig): ServerAddress {
  const { host, port } = listener
  const told = config.advertisedHost ?? (isWildcard(host) ? 'localhost' : host)
  const advertised = `${told.includes(':') ? `[${told}]` : told}:${port}`
  return { name, host, port, advertised }
}
