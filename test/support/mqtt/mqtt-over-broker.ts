// The MQTT front-end alone on a real listener, over a real broker that the test can reach and bend.
import type { ExecutionContext } from 'ava'
import type { Authenticator } from '../../../src/access/auth.ts'
import type { User } from '../../../src/access/known-users.ts'
import { UserStore } from '../../../src/access/user-store.ts'
import { type EmbeddedBroker, openBroker } from '../../../src/broker/broker.ts'
import type { BrokerOptions } from '../../../src/broker/options.ts'
import { type Clock, systemClock } from '../../../src/clock.ts'
import { AedesGateway } from '../../../src/gateway/aedes/server.ts'
import { MqttGateway, type MqttOptions } from '../../../src/gateway/mqtt/server.ts'
import { silentLogger } from '../../../src/log.ts'
import { Numbers } from '../../../src/numbers/numbers.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { openStore } from '../../../src/store/open.ts'
import { openFrontEnd } from '../front-end.ts'
import { tempDir } from '../temp-dir.ts'
import { withoutLightQueues } from './without-light-queues.ts'

/** What the front-end sees of the broker, by which of its two ways it reads for subscriptions. */
export const WAYS: readonly (readonly [way: string, bend: (broker: EmbeddedBroker) => Broker])[] = [
  ['light queues', (broker) => broker],
  ['followed topics', withoutLightQueues],
]

export interface MqttOver {
  readonly port: number
  readonly broker: EmbeddedBroker
  readonly gateway: MqttGateway | AedesGateway
  readonly numbers: Numbers
}

export async function startMqttOver(
  t: ExecutionContext,
  options: {
    readonly mqtt?: Partial<MqttOptions>
    readonly broker?: Partial<BrokerOptions>
    readonly users?: Readonly<Record<string, User>>
    /** Instead of one for the users. */
    readonly auth?: Authenticator
    readonly clock?: Clock
    /** What the front-end sees instead of the broker. */
    readonly bend?: (broker: EmbeddedBroker) => Broker
  } = {},
): Promise<MqttOver> {
  const { clock = systemClock, bend = (broker) => broker } = options
  const log = silentLogger
  const directory = await tempDir(t)
  const store = await openStore({ directory, storeHost: { ip: 0x7f000001, port: 1 }, clock, log })
  const broker = openBroker({ store, clock, log, options: options.broker ?? {} })
  const auth = options.auth ?? new UserStore(options.users ?? {}, clock)
  t.teardown(async () => {
    await broker.close()
    await store.close()
  })
  return { broker, ...(await openGateway(t, bend(broker), auth, clock, options.mqtt)) }
}

/** One more gateway over a broker, on a listener of its own. */
export async function openGateway(
  t: ExecutionContext,
  broker: Broker,
  auth: Authenticator = new UserStore({}, systemClock),
  clock: Clock = systemClock,
  mqtt: Partial<MqttOptions> = {},
): Promise<{ port: number; gateway: MqttGateway | AedesGateway; numbers: Numbers }> {
  const numbers = new Numbers()
  const Engine = mqtt.engine === 'aedes' ? AedesGateway : MqttGateway
  const gateway = new Engine({ broker, auth, log: silentLogger, clock, numbers }, mqtt)
  const { port } = await openFrontEnd(t, gateway, { clock })
  return { port, gateway, numbers }
}
