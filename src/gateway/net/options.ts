// The settings of TLS: the files of the certificates, and which listeners take it.
import { z } from 'zod'

export const TLS_MODES = ['disabled', 'permissive', 'enforcing'] as const
export type TlsMode = (typeof TLS_MODES)[number]

const file = (what: string) => z.string().min(1).optional().describe(`PEM file: ${what}`)

export const TLS_SETTINGS = {
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
  handshakeMs: z
    .int()
    .min(100)
    .default(10_000)
    .describe("From a client's first byte to the end of the handshake."),
}

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
  if (tls.certificate !== undefined) return problems
  for (const [path, mode] of modes) {
    if (mode === undefined || mode === 'disabled') continue
    problems.push({ path, message: `is ${mode}, which needs tls.certificate and tls.key` })
  }
  return problems
}
