// The one place where certificates are read: PEM files of the settings, checked before anything
// listens, as what the server side and the client side of TLS are made from.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { ConnectionOptions, SecureContextOptions } from 'node:tls'
import type { Config } from './config.ts'
import { BrokerError } from './errors.ts'

type TlsConfig = Config['tls']

export interface Certificates {
  /** Of this server; undefined without a certificate. */
  readonly identity: SecureContextOptions | undefined
  /** How the broker dials name servers: with its own certificate, and its CAs beside the known. */
  readonly dialling: ConnectionOptions
  readonly expiries: readonly Validity[]
}

const EXPIRING = ['tls.certificate', 'tls.ca'] as const

/** While all certificates of a file are valid. */
export interface Validity {
  readonly setting: (typeof EXPIRING)[number]
  readonly file: string
  readonly validFromMs: number
  readonly validToMs: number
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** @throws BrokerError CONFIG_INVALID with the setting, the file and what is wrong with it */
export function readCertificates(tls: TlsConfig): Certificates {
  const expiries: Validity[] = []
  const ca = tls.ca === undefined ? undefined : readPem('tls.ca', tls.ca)
  if (ca !== undefined) {
    expiries.push(expiryOf('tls.ca', tls.ca!, certificatesOf('tls.ca', tls.ca!, ca)))
  }
  if (tls.certificate === undefined || tls.key === undefined) {
    return { identity: undefined, dialling: { ...(ca && { ca }) }, expiries }
  }
  const cert = readPem('tls.certificate', tls.certificate)
  const key = readPem('tls.key', tls.key)
  const chain = certificatesOf('tls.certificate', tls.certificate, cert)
  checkKey(tls, chain[0]!, key)
  expiries.push(expiryOf('tls.certificate', tls.certificate, chain))
  const passphrase = tls.keyPassword
  const identity = { cert, key, ...(passphrase && { passphrase }), ...(ca && { ca }) }
  return { identity, dialling: identity, expiries }
}

export interface ClientFiles {
  /** Trusted instead of the CAs that the system knows. */
  readonly ca?: string | undefined
  readonly certificate?: string | undefined
  readonly key?: string | undefined
}

export interface ClientTls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

/**
 * What a client trusts and shows; `names`: how the files were asked for, for messages.
 * @throws BrokerError CONFIG_INVALID
 */
export function readClientTls(
  files: ClientFiles,
  names: Readonly<Record<keyof ClientFiles, string>>,
): ClientTls {
  const read = (file: keyof ClientFiles): string | undefined =>
    files[file] === undefined ? undefined : readPem(names[file], files[file])
  const [ca, cert, key] = [read('ca'), read('certificate'), read('key')]
  if (ca !== undefined) certificatesOf(names.ca, files.ca!, ca)
  if (cert !== undefined) certificatesOf(names.certificate, files.certificate!, cert)
  if ((cert === undefined) !== (key === undefined)) {
    const text = `${names.certificate} and ${names.key} go together`
    throw new BrokerError('CONFIG_INVALID', text)
  }
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) }
}

function readPem(setting: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error)
    throw invalid(setting, path, `cannot be read (${reason}); check the path and its permissions`)
  }
}

function certificatesOf(setting: string, path: string, pem: string): X509Certificate[] {
  const texts = pem.match(PEM_CERTIFICATE) ?? []
  if (texts.length === 0) {
    throw invalid(setting, path, 'has no PEM certificate (-----BEGIN CERTIFICATE-----)')
  }
  return texts.map((text, at) => {
    try {
      return new X509Certificate(text)
    } catch (error) {
      throw invalid(setting, path, `has a certificate that is damaged, number ${at + 1}`, error)
    }
  })
}

function checkKey(tls: TlsConfig, own: X509Certificate, pem: string): void {
  const path = tls.key!
  const refuse = (what: string, error?: unknown): never => {
    throw invalid('tls.key', path, what, error)
  }
  if (!pem.includes('PRIVATE KEY-----')) refuse('has no PEM private key')
  if (pem.includes('ENCRYPTED') && tls.keyPassword === undefined) {
    refuse('is encrypted; tls.keyPassword is missing')
  }
  const passphrase = tls.keyPassword
  let fits = false
  try {
    fits = own.checkPrivateKey(createPrivateKey({ key: pem, ...(passphrase && { passphrase }) }))
  } catch (error) {
    refuse('is damaged, or tls.keyPassword is not its password', error)
  }
  if (!fits) refuse(`is not the key of the certificate in '${tls.certificate}'`)
}

function expiryOf(
  setting: Validity['setting'],
  file: string,
  certificates: readonly X509Certificate[],
): Validity {
  return {
    setting,
    file,
    validFromMs: Math.max(...certificates.map(({ validFrom }) => Date.parse(validFrom))),
    validToMs: Math.min(...certificates.map(({ validTo }) => Date.parse(validTo))),
  }
}

const invalid = (setting: string, path: string, what: string, cause?: unknown): BrokerError =>
  new BrokerError('CONFIG_INVALID', `${setting}: the file '${path}' ${what}`, { cause })
