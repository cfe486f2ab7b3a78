// Where name servers and their clients find the broker of a server.
import { isWildcard } from '../exposure.ts'
import { advertisedHost, listenerFor } from '../listeners.ts'
import { Registrar, type RegistrarOptions } from '../namesrv/registrar.ts'
import type { Broker } from '../port/broker.ts'
import type { Composition } from './composition.ts'

/**
 * Tells the name servers of this broker, once started; undefined where there is nothing to tell, or
 * no name server.
 */
export function routesOf(
  composition: Composition,
  broker: Broker,
  stateVersion: number,
): Registrar | undefined {
  const { config, certificates, log, clock, listeners, trusted, protocols } = composition
  const remoting = protocols.includes('remoting') ? listenerFor(listeners, 'remoting') : undefined
  if (remoting === undefined) return undefined
  const { dialling } = certificates
  const nameServers = [...config.broker.nameServers]
  let isOwnOverTls = false
  const own = protocols.includes('nameServer')
    ? listenerFor(listeners, 'nameServer')?.listener
    : undefined
  if (own !== undefined) {
    const address = `${isWildcard(own.host) ? '127.0.0.1' : own.host}:${own.port}`
    nameServers.unshift(address)
    isOwnOverTls = own.options.tls?.isEnforced === true
  }
  const tls: RegistrarOptions['tls'] = (nameServer) => {
    if (own === undefined || nameServer !== nameServers[0]) {
      return config.broker.nameServersTls ? dialling : undefined
    }
    // This process has the port, whatever name its certificate is for.
    return isOwnOverTls ? { ...dialling, rejectUnauthorized: false } : undefined
  }
  if (nameServers.length === 0) {
    log.warn(
      { evt: 'server.no_name_server' },
      'no name server knows this broker, so RocketMQ clients cannot find it; set broker.nameServers',
    )
    return undefined
  }
  const host = advertisedHost(config[remoting.protocol])
  const advertised = { host, port: remoting.listener.port }
  const options = { nameServers, tls, advertised, credentials: trusted, stateVersion }
  return new Registrar({ broker, clock, log }, options)
}
