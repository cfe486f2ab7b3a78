// Reads the sockets of the process into one buffer that they share: a chunk is valid only during
// its callback. Saves a buffer and an event of a stream for each chunk, by insides of node that are
// not documented; on a node without them chunks come as data of the stream.
import { Socket } from 'node:net'

const READ_BUFFER_BYTES = 256 * 1024
const readBuffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES)

/** Undocumented fields of node:net's sockets; every use has a fallback. */
export interface SocketInside {
  _handle?: { useUserBuffer?: unknown; writeQueueSize?: number } | null
  _server?: unknown
}

type Received = (chunk: Buffer) => void

/**
 * net.Server cannot make sockets with `onread`, so the accepted handle moves into a second socket
 * that has it. Answers the socket that is to be used, paused.
 */
export function readToSharedBuffer(accepted: Socket, received: Received): Socket {
  const from = accepted as Socket & SocketInside
  const handle = from._handle
  if (typeof handle?.useUserBuffer !== 'function' || from._server === undefined) {
    accepted.on('data', received)
    accepted.pause()
    return accepted
  }
  const onread = { buffer: readBuffer, callback: callbackOf(received) }
  const options = { handle, pauseOnCreate: true, onread } as object
  const socket = new Socket(options) as Socket & SocketInside
  // The server counts its open connections through this field.
  socket._server = from._server
  from._server = null
  from._handle = null
  return socket
}

/**
 * A TLSSocket over a socket that is there takes no `onread` either; it is given what that option
 * sets. Answers what was decrypted before, if anything was.
 */
export function decryptToSharedBuffer(secured: Socket, received: Received): Buffer | null {
  const fields = secured as unknown as Record<symbol, unknown> & {
    readonly _handle?: { useUserBuffer?(buffer: Buffer): void } | null
  }
  const [buffer, callback] = [symbolOf(secured, 'kBuffer'), symbolOf(secured, 'kBufferCb')]
  const handle = fields._handle
  if (handle?.useUserBuffer === undefined || buffer === undefined || callback === undefined) {
    secured.on('data', received)
    return null
  }
  handle.useUserBuffer(readBuffer)
  fields[buffer] = readBuffer
  fields[callback] = callbackOf(received)
  return secured.read() as Buffer | null
}

const symbolOf = (socket: Socket, description: string): symbol | undefined =>
  Object.getOwnPropertySymbols(socket).find((symbol) => symbol.description === description)

const callbackOf = (received: Received) => (bytes: number, buffer: Buffer) => {
  received(buffer.subarray(0, bytes))
  return true
}
