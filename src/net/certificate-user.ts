// The user name in a client's certificate. One that could be read in two ways names no user.
import type { X509Certificate } from 'node:crypto'
import type { UserFrom } from './options.ts'

/** As OpenSSL writes the kinds of alternative names. */
const PREFIX = { dns: 'DNS:', email: 'email:', uri: 'URI:' } as const

/** undefined: the certificate has none, or several. */
export function certificateUser(
  { subject, subjectAltName }: X509Certificate,
  from: UserFrom,
): string | undefined {
  const prefix = from === 'commonName' ? 'CN=' : PREFIX[from]
  const parts = from === 'commonName' ? subject?.split('\n') : alternativesOf(subjectAltName)
  const names = (parts ?? []).filter((part) => part.startsWith(prefix))
  const [name] = names
  return names.length === 1 && name !== prefix ? name!.slice(prefix.length) : undefined
}

/** A name that is quoted has a comma or a quote, which may be there to look like several names. */
function alternativesOf(text: string | undefined): readonly string[] | undefined {
  return text?.includes('"') ? undefined : text?.split(', ')
}
