// A broker in a server: alone with its log, or one of several copies, in the role that its settings
// or an election give it.
import type { GatewayContext } from '../port/gateway.ts'
import type { Composition } from './composition.ts'
import { composeReplication } from './replication.ts'
import { serveBroker } from './serving.ts'
import { openStoreOf } from './store.ts'

/** Settles when clients are served. */
export async function composeBroker(composition: Composition): Promise<GatewayContext> {
  const { parts, config } = composition
  if (config.broker.role === 'SLAVE') {
    const { composeCopy } = await import('./copy.ts')
    return composeCopy(composition)
  }
  if (config.replication.etcd.endpoints.length > 0) {
    const { composeElected } = await import('./elected.ts')
    return composeElected(composition)
  }
  const store = await openStoreOf(composition)
  parts.add('store', () => store.close())
  // Before the first append: nothing is acknowledged without the slaves that it is to wait for.
  const replication = await composeReplication(composition, store)
  return serveBroker(composition, { store, replication })
}
