// How clients are told of a broker that does not know by which address the world reaches it. A name
// server on another machine is told the address that leads there; one on the same machine is told
// an unspecified one, because a client that dialled it on a host reaches the broker on that host
// too.

export const UNSPECIFIED = '0.0.0.0'
const MAPPED_PREFIX = '::ffff:'
const LOOPBACK = '127.0.0.1'

/** `local`: this end of the broker's connection to the name server. */
export function registeredAddress(local: string, port: number): string {
  const host = plainHost(local)
  return `${host.startsWith('127.') ? UNSPECIFIED : host}:${port}`
}

/** `address` with an unspecified host replaced by the one the client dialled. */
export function reachableAddress(address: string, dialled: string): string {
  if (!address.startsWith(`${UNSPECIFIED}:`)) return address
  return plainHost(dialled) + address.slice(UNSPECIFIED.length)
}

/** Some clients split addresses at the first colon, so a host is IPv4 where that is possible. */
function plainHost(host: string): string {
  if (host === '::1') return LOOPBACK
  if (host.startsWith(MAPPED_PREFIX)) return host.slice(MAPPED_PREFIX.length)
  return host.includes(':') ? `[${host}]` : host
}
