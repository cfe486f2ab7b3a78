// The settings of TLS: the files of the certificates, and which listeners take it.
import { z } from 'zod'
import { isNetwork } from './proxy-header.ts'

const TLS_MODES = ['disabled', 'permissive', 'enforcing'] as const
export type TlsMode = (typeof TLS_MODES)[number]

/** Of a certificate: its subject's common name, or the one name of a kind that it is for. */
const USER_FROM = ['commonName', 'dns', 'email', 'uri'] as const
export type UserFrom = (typeof USER_FROM)[number]

const file = (what: string) => z.string().min(1).optional().describe(`PEM file: ${what}`)

export const tlsSettings = () => ({
  certificate: file('the certificate of this server, and after it those between it and its CA.'),
  key: file("the certificate's private key."),
  keyPassword: z.string().optional().meta({
    secret: true,
    description: 'What the private key is encrypted with.',
  }),
  ca: file('the CAs that clients and name servers have their certificates from.'),
  clientCertificates: z
    .enum(['none', 'optional', 'required'])
    .default('none')
    .describe('Whether clients show a certificate of `tls.ca`: mutual TLS.'),
  userFrom: z
    .enum(USER_FROM)
    .optional()
    .describe(
      "What of a client's certificate is its user name; default: a certificate names no user.",
    ),
  versionMin: z
    .enum(['TLSv1.2', 'TLSv1.3'])
    .default('TLSv1.2')
    .describe('Oldest version that is spoken.'),
  handshakeMs: z
    .int()
    .min(100)
    .default(10_000)
    .describe("From a client's first byte to the end of the handshake."),
})

export const proxySettings = () => ({
  from: z
    .array(z.string().refine(isNetwork, { error: 'no address and no network such as 10.0.0.0/8' }))
    .default([])
    .describe(
      'Addresses and networks of proxies: each of their connections begins with a header of version 1 or 2.',
    ),
})

export const webSocketSettings = () => ({
  enabled: z
    .boolean()
    .default(true)
    .describe('Take WebSocket at the ports of MQTT and AMQP, told by the first bytes.'),
  origins: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'Origins of web pages that may connect ("https://app.example.com"); `*`: all. Clients that are no browsers send none.',
    ),
  headerBytesMax: z
    .int()
    .min(1024)
    .max(1024 * 1024)
    .default(16 * 1024)
    .describe('Header of the HTTP request.'),
  frameBytesMax: z
    .int()
    .min(1024)
    .max(512 * 1024 * 1024)
    .optional()
    .describe('Longest message of a WebSocket. Default: room for the largest MQTT packet.'),
  handshakeMs: z
    .int()
    .min(100)
    .default(10_000)
    .describe('From the first byte of the HTTP request to its end.'),
})

/** The mode of a listener. */
export const tlsMode = () =>
  z
    .enum(TLS_MODES)
    .optional()
    .describe(
      'TLS at the same port, told by the first byte: `permissive` takes clients with and without, ' +
        '`enforcing` those with. Default: `permissive` where `tls.certificate` is set.',
    )

interface TlsConfig {
  readonly tls: {
    readonly certificate?: string | undefined
    readonly key?: string | undefined
    readonly ca?: string | undefined
    readonly clientCertificates: string
    readonly userFrom?: string | undefined
  }
}

type Path = (string | number)[]

/** The setting of a listener, and its mode where that is set. */
export type TlsSetting = readonly [path: Path, mode: TlsMode | undefined]

export interface TlsProblem {
  readonly path: Path
  readonly message: string
}

/** `modes`: of every listener. */
export function tlsProblems({ tls }: TlsConfig, modes: readonly TlsSetting[]): TlsProblem[] {
  const problems: TlsProblem[] = []
  if ((tls.certificate === undefined) !== (tls.key === undefined)) {
    const missing = tls.certificate === undefined ? 'certificate' : 'key'
    problems.push({
      path: ['tls', missing],
      message: 'is missing: a certificate and its key go together',
    })
  }
  if (tls.clientCertificates !== 'none' && tls.ca === undefined) {
    const message = 'needs the CAs of the clients in tls.ca'
    problems.push({ path: ['tls', 'clientCertificates'], message })
  }
  if (tls.userFrom !== undefined && tls.clientCertificates === 'none') {
    const message = 'needs tls.clientCertificates, optional or required'
    problems.push({ path: ['tls', 'userFrom'], message })
  }
  if (tls.certificate !== undefined) return problems
  for (const [path, mode] of modes) {
    if (mode === undefined || mode === 'disabled') continue
    problems.push({ path, message: `is ${mode}, which needs tls.certificate and tls.key` })
  }
  return problems
}
