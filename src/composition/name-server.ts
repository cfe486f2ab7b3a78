// The name server of a server, at addresses of its own and at those for every protocol.
import { advertisedHost, allOf, firstListener, listenerFor } from '../listeners.ts'
import { reachableAddress, UNSPECIFIED } from '../namesrv/reachable-address.ts'
import { NameServer } from '../namesrv/server.ts'
import type { OpenAside } from '../remoting/serving/aside.ts'
import type { Composition } from './composition.ts'

/**
 * The name server answers at once and closes after the front-ends, so it has no client to wait for:
 * a stop would otherwise take two deadlines where a client hangs.
 */
const STOP_MS = 500

/** What the broker's native front-end passes on to it. */
export function openNameServer(composition: Omit<Composition, 'aside'>): OpenAside | undefined {
  const { config, log, clock, auth, listeners, parts, trusted, protocols, any } = composition
  const nameServer = new NameServer({ log, clock, auth }, { trusted })
  const listener = firstListener(listeners, 'nameServer')
  listener?.serve(nameServer)
  parts.add('name server', () => {
    listener?.stopAccepting()
    return nameServer.close(Math.min(config.stopDeadlineMs, STOP_MS))
  })
  // Where there is a broker, its native front-end has the connections of both.
  if (!protocols.includes('remoting')) any.open('remoting', nameServer)
  return asideOf(composition, nameServer)
}

/**
 * At an address for every protocol the name server and the broker are one to a client, which has
 * one connection for both, and is told of the broker at this address.
 */
function asideOf(
  { listeners, config }: Pick<Composition, 'listeners' | 'config'>,
  nameServer: NameServer,
): OpenAside | undefined {
  const native = listenerFor(listeners, 'remoting')
  if (native === undefined) return undefined
  const ports = new Set(allOf(listeners, 'any').map(({ port }) => port))
  const host = advertisedHost(config[native.protocol]) ?? UNSPECIFIED
  const broker = `${host}:${native.listener.port}`
  return (socket, trust) => {
    if (!ports.has(socket.localPort)) return undefined
    const here = `${config.any.advertisedHost ?? host}:${socket.localPort}`
    return nameServer.aside(socket, trust, (address) =>
      reachableAddress(address === broker ? here : address, socket.localAddress),
    )
  }
}
