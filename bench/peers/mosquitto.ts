// mosquitto without persistence: the faster of its two settings, and durable in neither.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, isInstalled, type Peer, peerDirectory, startPeer } from './peer.ts'

export async function startMosquitto(): Promise<Peer | undefined> {
  if (!isInstalled('mosquitto')) return undefined
  const directory = peerDirectory('mosquitto')
  const port = await freePort()
  const file = join(directory, 'mosquitto.conf')
  const lines = [`listener ${port} 127.0.0.1`, 'allow_anonymous true', 'persistence false']
  // Its own default of 20 would make it wait for the generator.
  writeFileSync(file, [...lines, 'max_inflight_messages 0', 'log_dest none', ''].join('\n'))
  const args = ['-c', file]
  return startPeer({ name: 'mosquitto', directory, port, command: 'mosquitto', args })
}
