// The store of a broker, as its settings say.
import { lookup } from 'node:dns/promises'
import type { ListeningConfig } from '../config.ts'
import { BrokerError } from '../errors.ts'
import { advertisedHost, listenerFor } from '../listeners.ts'
import { hostOf } from '../model/host.ts'
import { type FollowedStore, openStore } from '../store/open.ts'
import type { MessageStore } from '../store/store.ts'
import type { Composition } from './composition.ts'

/** `follows`: a copy, which is synced whatever `store.flush` says: its master relies on it. */
export async function openStoreOf(
  composition: Composition,
  follows?: FollowedStore,
): Promise<MessageStore> {
  const { config, log, clock, listeners, numbers } = composition
  const { retentionBytes, ...store } = config.store
  const native = listenerFor(listeners, 'remoting')
  const port = native?.listener.port ?? config.remoting.port
  return openStore({
    ...store,
    ...(retentionBytes !== undefined && { retentionBytes }),
    ...(follows !== undefined && { follows, flush: 'sync' as const }),
    bodyBytesMax: config.broker.bodyBytesMax,
    directory: config.dataDir,
    storeHost: hostOf(await advertisedIp(config[native?.protocol ?? 'remoting']), port),
    log,
    clock,
    numbers,
  })
}

/** Records and message ids carry an IPv4 address. @throws BrokerError CONFIG_INVALID */
async function advertisedIp(config: ListeningConfig): Promise<string> {
  const host = advertisedHost(config) ?? '127.0.0.1'
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
