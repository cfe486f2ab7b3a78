// RabbitMQ 3.10 with its AMQP 1.0 plugin, as Debian ships it.
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, type Peer, peerDirectory, startPeer } from './peer.ts'

/** Not the wrapper on the path, which changes the user. */
const SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server'

export async function startRabbitmq(): Promise<Peer | undefined> {
  if (!existsSync(SERVER)) return undefined
  const directory = peerDirectory('rabbitmq')
  const port = await freePort()
  const conf = [`listeners.tcp.1 = 127.0.0.1:${port}`, 'amqp1_0.default_user = guest', '']
  writeFileSync(join(directory, 'rabbitmq.conf'), conf.join('\n'))
  writeFileSync(join(directory, 'plugins'), '[rabbitmq_amqp1_0].')
  return startPeer({
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
}
