// RabbitMQ 3.10 with its AMQP 1.0 plugin, as Debian ships it.
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SERVER_TLS } from '../../test/support/certificates.ts'
import { freePort, type Peer, peerDirectory, startPeer } from './peer.ts'

/** Not the wrapper on the path, which changes the user. */
const SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server'

export interface Rabbitmq extends Peer {
  /** Of its listener with TLS 1.3. */
  readonly tlsPort: number
}

export async function startRabbitmq(): Promise<Rabbitmq | undefined> {
  if (!existsSync(SERVER)) return undefined
  const directory = peerDirectory('rabbitmq')
  const [port, tlsPort] = [await freePort(), await freePort()]
  const conf = [
    ...[`listeners.tcp.1 = 127.0.0.1:${port}`, `listeners.ssl.1 = 127.0.0.1:${tlsPort}`],
    ...[`ssl_options.certfile = ${SERVER_TLS.certificate}`],
    ...[`ssl_options.keyfile = ${SERVER_TLS.key}`, `ssl_options.cacertfile = ${SERVER_TLS.ca}`],
    ...['ssl_options.verify = verify_none', 'ssl_options.versions.1 = tlsv1.3'],
    'amqp1_0.default_user = guest',
  ]
  writeFileSync(join(directory, 'rabbitmq.conf'), [...conf, ''].join('\n'))
  writeFileSync(join(directory, 'plugins'), '[rabbitmq_amqp1_0].')
  const peer = await startPeer({
    name: 'RabbitMQ',
    directory,
    port,
    command: SERVER,
    args: [],
    env: {
      HOME: directory,
      RABBITMQ_NODENAME: `bench${port}@localhost`,
      RABBITMQ_MNESIA_BASE: join(directory, 'mnesia'),
      RABBITMQ_LOG_BASE: join(directory, 'log'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'plugins'),
      RABBITMQ_CONFIG_FILE: join(directory, 'rabbitmq'),
      RABBITMQ_DIST_PORT: String(await freePort()),
      ERL_EPMD_ADDRESS: '127.0.0.1',
    },
  })
  return { ...peer, tlsPort }
}
