// mosquitto without persistence: the faster of its two settings, and durable in neither.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SERVER_TLS } from '../../test/support/certificates.ts'
import { freePort, isInstalled, type Peer, peerDirectory, startPeer } from './peer.ts'

export interface Mosquitto extends Peer {
  /** Of its listener with TLS 1.3. */
  readonly tlsPort: number
}

export async function startMosquitto(): Promise<Mosquitto | undefined> {
  if (!isInstalled('mosquitto')) return undefined
  const directory = peerDirectory('mosquitto')
  const [port, tlsPort] = [await freePort(), await freePort()]
  const file = join(directory, 'mosquitto.conf')
  const lines = [
    ...[`listener ${port} 127.0.0.1`, 'allow_anonymous true', 'persistence false'],
    ...[`listener ${tlsPort} 127.0.0.1`, 'tls_version tlsv1.3'],
    ...[`certfile ${SERVER_TLS.certificate}`, `keyfile ${SERVER_TLS.key}`],
  ]
  // Its own default of 20 would make it wait for the generator.
  writeFileSync(file, [...lines, 'max_inflight_messages 0', 'log_dest none', ''].join('\n'))
  const args = ['-c', file]
  const peer = await startPeer({ name: 'mosquitto', directory, port, command: 'mosquitto', args })
  return { ...peer, tlsPort }
}
