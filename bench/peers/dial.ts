// A connection of the load generator: TCP, TLS 1.3, or the binary frames of a WebSocket.
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { createWebSocketStream, WebSocket } from 'ws'

export type Transport = 'tcp' | 'tls' | 'websocket'

export async function dial(
  port: number,
  transport: Transport,
  subprotocol = 'mqtt',
): Promise<Duplex> {
  const at = { port, host: '127.0.0.1', noDelay: true }
  if (transport === 'websocket') {
    const webSocket = new WebSocket(`ws://127.0.0.1:${port}`, subprotocol, {
      perMessageDeflate: false,
    })
    await once(webSocket, 'open')
    return createWebSocketStream(webSocket)
  }
  if (transport === 'tls') {
    const socket = connectTls({ ...at, minVersion: 'TLSv1.3', rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    return socket
  }
  const socket = connect(at)
  await once(socket, 'connect')
  return socket
}
