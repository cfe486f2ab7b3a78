// A name server on a free port of loopback, and connections to it, gone after the test.
import type { ExecutionContext } from 'ava'
import { type Clock, systemClock } from '../../src/clock.ts'
import { openAuthenticator, type User } from '../../src/gateway/access/auth.ts'
import { Listener } from '../../src/gateway/net/listener.ts'
import { type Logger, silentLogger } from '../../src/log.ts'
import { NameServer, type NameServerOptions } from '../../src/namesrv/server.ts'
import { dial, type RemotingConnection } from '../../src/remoting/connection.ts'
import type { Credentials } from '../../src/remoting/signature.ts'
import { FakeClock } from './fake-clock.ts'

export const GENEROUS_LIMITS = {
  connectionsMax: 1000,
  connectionsPerAddressMax: 1000,
  unsentBytesMax: 64 * 1024 * 1024,
  writeStallMs: 30_000,
  silentMs: 30_000,
}

export interface StartOptions extends NameServerOptions {
  readonly clock?: Clock
  readonly log?: Logger
  readonly port?: number
  readonly users?: Readonly<Record<string, User>>
}

export interface TestNameServer {
  readonly nameServer: NameServer
  readonly address: string
  readonly port: number
  /** A native connection that waits as long as it takes. */
  connect(credentials?: Credentials): Promise<RemotingConnection>
  close(): Promise<void>
}

export async function startNameServer(
  t: ExecutionContext,
  options: StartOptions = {},
): Promise<TestNameServer> {
  const clock = options.clock ?? systemClock
  const listener = await Listener.open({
    host: '127.0.0.1',
    port: options.port ?? 0,
    name: 'nameServer',
    limits: GENEROUS_LIMITS,
    log: silentLogger,
    clock: systemClock,
  })
  const { log = silentLogger } = options
  const auth = options.users && openAuthenticator(options.users, clock)
  const nameServer = new NameServer({ clock, log, auth }, options)
  listener.serve(nameServer)
  const close = async (): Promise<void> => {
    listener.stopAccepting()
    await nameServer.close(0)
    await listener.close()
  }
  t.teardown(close)
  return {
    nameServer,
    address: `127.0.0.1:${listener.port}`,
    port: listener.port,
    connect: async (credentials) => {
      const at = { host: '127.0.0.1', port: listener.port }
      const connection = await dial({ ...at, clock: new FakeClock(), credentials })
      t.teardown(() => connection.close())
      return connection
    },
    close,
  }
}
