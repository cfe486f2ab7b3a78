// A name server on a free port of loopback, and connections to it, gone after the test.
import type { ExecutionContext } from 'ava'
import { type Clock, systemClock } from '../../src/clock.ts'
import { Listener } from '../../src/gateway/listener.ts'
import { silentLogger } from '../../src/log.ts'
import { NameServer, type NameServerOptions } from '../../src/namesrv/server.ts'
import { dial, type RemotingConnection } from '../../src/remoting/connection.ts'

export const GENEROUS_LIMITS = {
  connectionsMax: 1000,
  connectionsPerAddressMax: 1000,
  unsentBytesMax: 64 * 1024 * 1024,
  writeStallMs: 30_000,
  silentMs: 30_000,
}

export interface TestNameServer {
  readonly nameServer: NameServer
  readonly address: string
  readonly port: number
  /** A native connection, with the real clock for its timeouts. */
  connect(): Promise<RemotingConnection>
  close(): Promise<void>
}

export async function startNameServer(
  t: ExecutionContext,
  options: NameServerOptions & { readonly clock?: Clock; readonly port?: number } = {},
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
  const nameServer = new NameServer({ clock, log: silentLogger }, options)
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
    connect: async () => {
      const connection = await dial({ host: '127.0.0.1', port: listener.port, clock: systemClock })
      t.teardown(() => connection.close())
      return connection
    },
    close,
  }
}
