// A name server on a free port of loopback, and connections to it, gone after the test.
import type { ExecutionContext } from 'ava'
import type { User } from '../../../src/access/known-users.ts'
import { UserStore } from '../../../src/access/user-store.ts'
import { type Clock, systemClock } from '../../../src/clock.ts'
import { type Logger, silentLogger } from '../../../src/log.ts'
import { NameServer, type NameServerOptions } from '../../../src/namesrv/server.ts'
import { dial, type RemotingConnection } from '../../../src/remoting/connection.ts'
import type { Credentials } from '../../../src/remoting/signature.ts'
import { FakeClock } from '../fake-clock.ts'
import { openFrontEnd } from '../front-end.ts'

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
  const { log = silentLogger } = options
  const auth = options.users && new UserStore(options.users, clock)
  const nameServer = new NameServer({ clock, log, auth }, options)
  const { port, close } = await openFrontEnd(t, nameServer, {
    clock: systemClock,
    port: options.port ?? 0,
  })
  return {
    nameServer,
    address: `127.0.0.1:${port}`,
    port,
    connect: async (credentials) => {
      const at = { host: '127.0.0.1', port }
      const connection = await dial({ ...at, clock: new FakeClock(), credentials })
      t.teardown(() => connection.close())
      return connection
    },
    close: () => close(0),
  }
}
