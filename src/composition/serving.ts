// A broker over an open store, for clients of all protocols.
import { unlessAborted } from '../abort.ts'
import { Accounts } from '../access/accounts.ts'
import { type EmbeddedBroker, openBroker } from '../broker/broker.ts'
import { isOpenToNetwork } from '../exposure.ts'
import type { GatewayContext, ReplicationControl } from '../port/gateway.ts'
import type { MessageStore } from '../store/store.ts'
import type { Composition } from './composition.ts'
import { type FrontEnd, frontEndsOf, serveFrontEnds } from './front-ends.ts'
import { routesOf } from './routes.ts'

/** What a broker is served over. */
export interface ServedStore {
  readonly store: MessageStore
  readonly replication: ReplicationControl | undefined
  /** No client is there any more. */
  readonly letGo?: (() => void) | undefined
  /**
   * Of a copy: where its master takes clients of the protocol, as far as that is known; absent:
   * they are closed without a word.
   */
  readonly master?: GatewayContext['master']
  /** It waits for no name server, which may be on a machine that is lost. */
  readonly isElected?: boolean
}

/** The store takes appends. */
export async function serveBroker(
  composition: Composition,
  served: ServedStore,
): Promise<GatewayContext> {
  const { config, log, clock, numbers } = composition
  const { name, autoCreateTopics, nameServers: _, ...limits } = config.broker
  const createsTopics =
    autoCreateTopics === 'loopback' ? !isOpenToNetwork(config) : autoCreateTopics
  const made = { autoCreateTopics: createsTopics }
  const options = { ...limits, ...made, brokerName: name, brokerId: 0 }
  const broker = openBroker({ store: served.store, clock, log, numbers, options })
  return serveOver(composition, served, broker, frontEndsOf(composition))
}

/** Native clients read from the copy. */
export async function serveCopy(
  composition: Composition,
  served: ServedStore,
): Promise<GatewayContext> {
  const { config, log, clock, numbers } = composition
  const { openSlaveBroker } = await import('../broker/slave.ts')
  const { name: brokerName, id: brokerId = 1, nameServers: _, ...limits } = config.broker
  // What a client names and the master does not have is made by its master alone.
  const made = { autoCreateTopics: false, autoCreateGroups: false }
  const options = { ...limits, ...made, brokerName, brokerId }
  const broker = openSlaveBroker({ store: served.store, clock, log, numbers, options })
  const { master } = served
  const frontEnds = frontEndsOf(composition).filter(
    ({ name }) => name === 'remoting' || master !== undefined,
  )
  return serveOver(composition, served, broker, frontEnds)
}

/** Clients of the front-ends, and then the name servers, come to the broker. */
async function serveOver(
  composition: Composition,
  { store, replication, letGo, master, isElected = false }: ServedStore,
  broker: EmbeddedBroker,
  frontEnds: readonly FrontEnd[],
): Promise<GatewayContext> {
  const { auth, log, clock, numbers, parts } = composition
  parts.add('broker', () => broker.close())
  if (letGo !== undefined) parts.add('what waits for other copies', async () => letGo())
  const accounts = new Accounts(broker.states, auth.accountUsers, log)
  parts.add('accounts', async () => accounts.close())
  await accounts.open()
  const routes = routesOf(composition, broker, store.replication.epoch)
  const shown = { routes, views: {}, replication, master }
  const context = { broker, auth, accounts, log, clock, numbers, ...shown }
  await serveFrontEnds(composition, frontEnds, context)
  if (routes === undefined) return context
  broker.directory = (topic) => routes.queuesOf(topic)
  // Telling the name servers brings native clients here: the last step of a start.
  parts.add('registrar', () => routes.close())
  const started = routes.start()
  if (!isElected) await unlessAborted(started, composition.signal)
  return context
}
