// The package's `trivetmq/server`: a server in the caller's own process, for tests and for programs
// that bring their broker along. `trivet` is the same server in a process of its own.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConfigInput, configOf, PROTOCOLS } from './config.ts'
import { BrokerError } from './errors.ts'
import { isWildcard } from './exposure.ts'
import type { ListenerName, ServerAddress, ServerRole } from './listening.ts'
import { createLogger, type Logger } from './log.ts'
import { lendBroker, lentBroker } from './port/lent-brokers.ts'
import { openServer, type Server } from './server.ts'

export type { ConfigInput, ListenerName, Logger, ServerAddress, ServerRole }

export interface StartOptions {
  /** What trivet.json would hold. Neither that file nor the environment is read. */
  readonly config?: ConfigInput
  /** Default: 'start', everything. */
  readonly role?: ServerRole
  /** Default: lines of `config.logLevel` on standard error. */
  readonly logger?: Logger
}

export interface RunningServer extends AsyncDisposable {
  /** Where its messages are. */
  readonly dataDir: string
  readonly addresses: readonly ServerAddress[]
  /** host:port, for `nameServers` of a client. @throws RangeError in a role without one */
  readonly nameServers: string
  /** @throws RangeError when it does not listen */
  address(name: ListenerName): ServerAddress
  /** Lets connections go in order, then makes everything durable. Idempotent. */
  close(): Promise<void>
}

/**
 * Settles when clients are served. Signals and errors that nothing catches are the caller's: close
 * the server before the process ends; what was acknowledged survives without that too.
 * @throws BrokerError CONFIG_INVALID, and others, with what to do about it
 */
export async function startServer(options: StartOptions = {}): Promise<RunningServer> {
  const config = configOf(options.config)
  const log = options.logger ?? createLogger(config.logLevel)
  const server = await openServer({ config, log, role: options.role ?? 'start' })
  return running(server, config.dataDir, server.broker, () => server.close())
}

/**
 * For a test: on free ports of loopback, with its data in a new folder that goes when it closes.
 * Tells only warnings and errors. `config` may choose all of that but the folder.
 * @throws BrokerError as `startServer`
 */
export async function startTemporaryServer(options: StartOptions = {}): Promise<RunningServer> {
  const { config = {} } = options
  if (config.dataDir !== undefined) {
    const text =
      'a temporary server has a folder of its own; start one with a dataDir by startServer'
    throw new BrokerError('CONFIG_INVALID', text)
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'trivetmq-'))
  const remove = (): Promise<void> => rm(dataDir, { recursive: true, force: true })
  const ports = PROTOCOLS.map((name) => [name, { port: 0, ...config[name] }])
  const changed: ConfigInput = {
    logLevel: 'warn',
    ...config,
    ...Object.fromEntries(ports),
    dataDir,
  }
  changed.remoting = { vipChannel: false, ...changed.remoting }
  try {
    const server = await startServer({ ...options, config: changed })
    return running(
      server,
      dataDir,
      () => lentBroker(server),
      async () => {
        await server.close()
        await remove()
      },
    )
  } catch (error) {
    await remove()
    throw error
  }
}

function running(
  server: Pick<Server, 'addresses' | 'address'>,
  dataDir: string,
  broker: Server['broker'],
  close: () => Promise<void>,
): RunningServer {
  let closing: Promise<void> | undefined
  const closeOnce = (): Promise<void> => {
    closing ??= close()
    return closing
  }
  const handle: RunningServer = {
    dataDir,
    addresses: server.addresses,
    get nameServers() {
      const { host, port } = server.address('nameServer')
      return `${isWildcard(host) ? '127.0.0.1' : host}:${port}`
    },
    address: (name) => server.address(name),
    close: closeOnce,
    [Symbol.asyncDispose]: closeOnce,
  }
  lendBroker(handle, () => (closing === undefined ? broker() : undefined))
  return handle
}
