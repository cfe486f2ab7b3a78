// How every command that talks to a cluster finds it: flags, else the environment, else this
// machine.
import { type ClientTls, readClientTls } from '../certificates.ts'
import type { Client, ConnectOptions } from '../client/index.ts'
import { BrokerError } from '../errors.ts'
import { ACCESS_KEY_ENV, NAME_SERVERS_ENV, SECRET_KEY_ENV } from '../settings.ts'
import type { Flags, FlagValues, Invocation } from './command.ts'

export const connectionFlags = {
  'name-server': {
    type: 'text',
    short: 'n',
    value: 'host:port',
    many: true,
    describe: `Name server (default: ${NAME_SERVERS_ENV}, else 127.0.0.1:9876).`,
  },
  broker: {
    type: 'text',
    value: 'host:port',
    describe: 'Only this broker, where it cannot be reached at the address it tells name servers.',
  },
  'access-key': {
    type: 'text',
    describe: `User name, with the secret key in ${SECRET_KEY_ENV} (default: ${ACCESS_KEY_ENV}).`,
  },
  tls: {
    type: 'boolean',
    describe:
      'Over TLS. NODE_EXTRA_CA_CERTS names a file with a CA of your own, beside the public ones.',
  },
  'tls-ca': {
    type: 'text',
    value: 'file',
    describe: 'Over TLS, and only a certificate of these CAs (PEM) is trusted.',
  },
  'tls-cert': {
    type: 'text',
    value: 'file',
    describe: 'Over TLS, showing this certificate (PEM); with --tls-key.',
  },
  'tls-key': { type: 'text', value: 'file', describe: 'The key of --tls-cert (PEM).' },
} as const satisfies Flags

export type ConnectionFlags = FlagValues<typeof connectionFlags>

type Around = Pick<Invocation, 'env' | 'signal'> & { readonly flags: ConnectionFlags }

/**
 * A secret is taken from the environment only: a command line is open to every user of a machine.
 */
export function connectOptions({ flags, env, signal }: Around): ConnectOptions {
  const accessKey = flags['access-key'] ?? env[ACCESS_KEY_ENV]
  const secretKey = env[SECRET_KEY_ENV]
  if (accessKey !== undefined && !secretKey) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `the user '${accessKey}' needs its secret key in ${SECRET_KEY_ENV}`,
    )
  }
  const given = flags['name-server']
  const nameServers = given.length > 0 ? given : env[NAME_SERVERS_ENV] || undefined
  return {
    ...(flags.broker === undefined ? { nameServers } : { broker: flags.broker }),
    auth: accessKey === undefined ? undefined : { accessKey, secretKey: secretKey ?? '' },
    tls: tlsOptions(flags),
    signal,
  }
}

/** undefined: without TLS. @throws BrokerError CONFIG_INVALID */
export function tlsOptions(flags: ConnectionFlags): ClientTls | undefined {
  const { 'tls-ca': ca, 'tls-cert': certificate, 'tls-key': key } = flags
  if (!flags.tls && (ca ?? certificate ?? key) === undefined) return undefined
  return readClientTls({ ca, certificate, key }, TLS_FLAGS)
}

const TLS_FLAGS = { ca: '--tls-ca', certificate: '--tls-cert', key: '--tls-key' }

/** Connects, runs, and disconnects also after an error. */
export async function withClient<T>(around: Around, run: (client: Client) => Promise<T>) {
  const { connect } = await import('../client/index.ts')
  const client = await connect(connectOptions(around))
  try {
    return await run(client)
  } finally {
    await client.close()
  }
}
