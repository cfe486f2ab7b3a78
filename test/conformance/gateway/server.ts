// One front-end over a real broker, with the wrapper between the two that can make the broker late,
// out of order and failing. Time stands still unless a case moves it.
import type { ExecutionContext } from 'ava'
import type { User } from '../../../src/access/known-users.ts'
import { UserStore } from '../../../src/access/user-store.ts'
import type { BrokerOptions } from '../../../src/broker/options.ts'
import { silentLogger } from '../../../src/log.ts'
import type { ListenerLimits } from '../../../src/net/limits.ts'
import { Numbers } from '../../../src/numbers/numbers.ts'
import type { Gateway } from '../../../src/port/gateway.ts'
import {
  bodiesOf,
  pullRequest,
  startBroker,
  type TestBroker,
  topicOf,
} from '../../support/broker.ts'
import { openFrontEnd } from '../../support/front-end.ts'
import { overridden } from '../../support/overridden.ts'
import { RawPeer } from '../../support/peers/raw-peer.ts'
import { UnsteadyBroker, type UnsteadyOptions } from '../broker/unsteady-broker.ts'
import type { Client, Driver, Login } from './driver.ts'

/** The topic of most cases: it exists, with one queue, so that every protocol finds it by name. */
export const TOPIC = 'orders'

export interface ServeOptions {
  readonly users?: Readonly<Record<string, User>>
  readonly limits?: Partial<ListenerLimits>
  readonly broker?: Partial<BrokerOptions>
  /** Without it the broker is steady. */
  readonly unsteady?: UnsteadyOptions
}

export class Served {
  readonly driver: Driver
  readonly port: number
  readonly gateway: Gateway
  /** The real broker. */
  readonly host: TestBroker
  readonly unsteady: UnsteadyBroker
  readonly #t: ExecutionContext

  constructor(
    t: ExecutionContext,
    parts: Pick<Served, 'driver' | 'port' | 'gateway' | 'host' | 'unsteady'>,
  ) {
    this.#t = t
    this.driver = parts.driver
    this.port = parts.port
    this.gateway = parts.gateway
    this.host = parts.host
    this.unsteady = parts.unsteady
  }

  connect(login?: Login): Promise<Client> {
    return this.driver.connect(this.#t, this.port, login)
  }

  async peer(): Promise<RawPeer> {
    const peer = await RawPeer.connect(this.port)
    this.#t.teardown(() => peer.end())
    return peer
  }

  /** What the topic's first queue has. */
  async stored(topic = TOPIC): Promise<string[]> {
    const all = { maxMessages: 10_000, maxBytes: 1 << 26 }
    return bodiesOf(await this.host.broker.pull(pullRequest(topic, all)))
  }

  /** Moves time on until it settles. */
  async passing<T>(waited: Promise<T>, stepMs = 20): Promise<T> {
    let isSettled = false
    const settled = (): void => {
      isSettled = true
    }
    waited.then(settled, settled)
    while (!isSettled) await this.host.clock.advanceAsync(stepMs)
    return waited
  }

  /** All connections but so many are gone; what they wait for may take its time. */
  async left(count: number): Promise<void> {
    while (this.gateway.connections > count) await this.host.clock.advanceAsync(20)
  }
}

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export async function serve(
  t: ExecutionContext,
  driver: Driver,
  options: ServeOptions = {},
): Promise<Served> {
  const host = await startBroker(t, options.broker)
  await host.broker.topics.put(topicOf(TOPIC, 1))
  return serveOver(t, driver, host, options)
}

/** Another front-end over the broker, as after a restart. */
export async function serveOver(
  t: ExecutionContext,
  driver: Driver,
  host: TestBroker,
  options: ServeOptions = {},
): Promise<Served> {
  const { clock } = host
  const { users = {}, limits, unsteady: how = { seed: 1, turnsMax: 0 } } = options
  const unsteady = new UnsteadyBroker(overridden(host.broker, {}), how)
  const auth = new UserStore(users, clock)
  const gateway = driver.gateway({
    broker: unsteady.port,
    auth,
    log: silentLogger,
    clock,
    numbers: new Numbers(),
  })
  const { port } = await openFrontEnd(t, gateway, { clock, ...(limits && { limits }) })
  return new Served(t, { driver, port, gateway, host, unsteady })
}
