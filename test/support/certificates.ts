// The certificates beside it (`certificates/make.sh` says what each is for), as files and as text.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const DIRECTORY = new URL('../../../test/support/certificates/', import.meta.url)

export const pemFile = (name: string): string => fileURLToPath(new URL(name, DIRECTORY))
export const pem = (name: string): string => readFileSync(pemFile(name), 'utf8')

/** The settings of a server's TLS. */
export const SERVER_TLS = {
  certificate: pemFile('server.pem'),
  key: pemFile('server.key'),
  ca: pemFile('ca.pem'),
}
