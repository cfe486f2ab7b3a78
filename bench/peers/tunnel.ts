// A way to a server by another transport, for a load generator that speaks TCP alone: it dials
// here, and its bytes go on over TLS 1.3 or WebSocket. Its processor time is not the server's.
import { createServer, type Socket } from 'node:net'
import { dial, type Transport } from './dial.ts'

export interface Tunnel {
  readonly port: number
  close(): void
}

/** `subprotocol`: of WebSocket. */
export async function openTunnel(
  to: number,
  transport: Transport,
  subprotocol: string,
): Promise<Tunnel> {
  const open = new Set<Socket>()
  const server = createServer({ noDelay: true }, (near) => {
    open.add(near)
    near.on('error', () => {})
    near.on('close', () => open.delete(near))
    void dial(to, transport, subprotocol).then((far) => {
      far.on('error', () => {})
      near.on('close', () => far.destroy())
      far.on('close', () => near.destroy())
      near.pipe(far).pipe(near)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    close() {
      for (const socket of open) socket.destroy()
      server.close()
    },
  }
}
