// A connection as aedes takes it: a stream of whole packets in, of bytes out. Bytes leave at once,
// those of one turn together.
import { Duplex } from 'node:stream'
import type { GatewaySocket } from '../../port/gateway.ts'

/** Packets that aedes has not looked at. */
const UNREAD_BYTES_MAX = 64 * 1024

type Done = (error?: Error | null) => void

/** What a stream's connection is told. */
export interface StreamOwner {
  /** aedes takes more. */
  onRead(): void
  /** aedes ends the connection; what was written before is on its way. */
  onEnd(): void
}

export class PacketStream<O extends StreamOwner = StreamOwner> extends Duplex {
  readonly owner: O
  readonly #socket: GatewaySocket
  #drained: Done | undefined

  /** `undeliveredBytesMax`: what waits for the client before aedes holds its messages back. */
  constructor(owner: O, socket: GatewaySocket, undeliveredBytesMax: number) {
    super({
      readableHighWaterMark: UNREAD_BYTES_MAX,
      writableHighWaterMark: undeliveredBytesMax,
      emitClose: true,
    })
    this.owner = owner
    this.#socket = socket
  }

  override _read(): void {
    this.owner.onRead()
  }

  override _write(bytes: Buffer, _encoding: string, done: Done): void {
    this.#send(bytes, done)
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: Done): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done)
  }

  override _destroy(error: Error | null, done: Done): void {
    this.owner.onEnd()
    this.#drained = undefined
    done(error)
  }

  /** The socket has room again. */
  onDrain(): void {
    const done = this.#drained
    this.#drained = undefined
    done?.()
  }

  #send(bytes: Buffer, done: Done): void {
    if (this.#socket.write(bytes)) done()
    else this.#drained = done
  }
}
