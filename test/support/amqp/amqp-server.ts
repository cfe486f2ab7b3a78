// The AMQP front-end over a real broker and store, behind a real listener on a free port, with real
// time unless told otherwise.
import type { ExecutionContext } from 'ava'
import type { Authenticator } from '../../../src/access/auth.ts'
import type { User } from '../../../src/access/known-users.ts'
import { UserStore } from '../../../src/access/user-store.ts'
import { openBroker } from '../../../src/broker/broker.ts'
import type { BrokerOptions } from '../../../src/broker/options.ts'
import { type Clock, systemClock } from '../../../src/clock.ts'
import type { AmqpOptions } from '../../../src/gateway/amqp/options.ts'
import { AmqpGateway } from '../../../src/gateway/amqp/server.ts'
import { silentLogger } from '../../../src/log.ts'
import { Numbers } from '../../../src/numbers/numbers.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { openStore } from '../../../src/store/open.ts'
import { openFrontEnd } from '../front-end.ts'
import { tempDir } from '../temp-dir.ts'

export interface AmqpServerOptions {
  readonly limits?: Partial<AmqpOptions>
  readonly broker?: Partial<BrokerOptions>
  readonly clock?: Clock
  readonly users?: Readonly<Record<string, User>>
  /** Instead of one for the users. */
  readonly auth?: Authenticator
  /** Puts something between the front-end and the broker. */
  wrap?(broker: Broker): Broker
}

export interface AmqpServer {
  readonly port: number
  readonly broker: Broker
  readonly gateway: AmqpGateway
  close(): Promise<void>
}

export async function startAmqp(
  t: ExecutionContext,
  options: AmqpServerOptions = {},
): Promise<AmqpServer> {
  const { clock = systemClock } = options
  const log = silentLogger
  const storeHost = { ip: 0x7f000001, port: 10_911 }
  const directory = await tempDir(t)
  const store = await openStore({ directory, storeHost, clock, log, segmentBytes: 4 * 1024 * 1024 })
  const real = openBroker({ store, clock, log, options: options.broker ?? {} })
  const broker = options.wrap?.(real) ?? real
  const auth = options.auth ?? new UserStore(options.users ?? {}, clock)
  const numbers = new Numbers()
  const gateway = new AmqpGateway({ broker, auth, log, clock, numbers }, options.limits ?? {})
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    await frontEnd.close()
    await real.close()
    await store.close()
  }
  t.teardown(() => (closing ??= close()))
  const frontEnd = await openFrontEnd(t, gateway, { clock })
  return { port: frontEnd.port, broker, gateway, close: () => (closing ??= close()) }
}
