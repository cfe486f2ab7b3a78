// How the broker of a server signs towards its name servers.
import { randomUUID } from 'node:crypto'
import type { Config } from '../config.ts'
import type { Credentials } from '../remoting/signature.ts'

/**
 * As the first admin with a secret key, which name servers of the same users accept. Without one,
 * with a secret that only the name server of this process knows.
 */
export function registrarCredentials(config: Config): Credentials | undefined {
  const users = Object.entries(config.users)
  if (users.length === 0) return undefined
  for (const [accessKey, { admin, secretKey }] of users) {
    if (admin && secretKey !== undefined) return { accessKey, secretKey }
  }
  return { accessKey: `broker-${randomUUID()}`, secretKey: randomUUID() }
}
