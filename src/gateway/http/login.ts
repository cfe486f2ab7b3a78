// Which user a request is from. Without users every client is the anonymous one; then only a
// browser needs care, which may have been sent here by any page.
import type { Authenticator, Principal } from '../../access/auth.ts'
import { HttpError } from './errors.ts'
import type { HttpOptions } from './options.ts'

/** No name is written so. */
const ADDRESS = /^\[.*\]$|^\d{1,3}(\.\d{1,3}){3}$/
const BEARER = /^Bearer +(.+)$/i
const BASIC = /^Basic +([A-Za-z0-9+/=]+)$/i

/** @throws BrokerError UNAUTHENTICATED, BUSY; HttpError 400 */
export async function principalOf(
  auth: Authenticator,
  header: string | undefined,
  address: string,
  signal: AbortSignal,
): Promise<Principal> {
  if (header === undefined) return auth.anonymous()
  const [, token] = BEARER.exec(header) ?? []
  if (token !== undefined) return auth.verifyToken(token, address, signal)
  const [, encoded] = BASIC.exec(header) ?? []
  const text = Buffer.from(encoded ?? '', 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 0)
    throw new HttpError(
      400,
      'the Authorization header is neither of the Basic nor of the Bearer scheme',
    )
  return auth.verifyPassword(text.slice(0, colon), text.slice(colon + 1), address, signal)
}

/**
 * A page of another site can have its name lead here and then reads what it asks for (DNS
 * rebinding), but its requests carry that name. An address carries none.
 * @throws HttpError 421
 */
export function checkHost(
  header: string | undefined,
  { hosts, advertisedHost }: Pick<HttpOptions, 'hosts' | 'advertisedHost'>,
): void {
  if (header === undefined) return
  const host = header.replace(/:\d+$/, '').toLowerCase()
  if (host === 'localhost' || ADDRESS.test(host)) return
  if (host === advertisedHost?.toLowerCase()) return
  if (hosts.some((name) => name.toLowerCase() === host)) return
  throw new HttpError(
    421,
    `this server has no users, so it does not answer to the name '${host.slice(0, 100)}'; ` +
      'use its address, or add the name to http.hosts',
  )
}
