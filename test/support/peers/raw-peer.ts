// A TCP peer that sends what bytes it likes and reads exactly what it asks for.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

const WAIT_MS = 60_000

export class RawPeer {
  readonly #socket: Socket
  /** Received and not read: joined when it is looked at. */
  #chunks: Buffer[] = []
  #bytes = 0
  #isClosed = false
  #news: () => void = () => {}

  static async connect(port: number): Promise<RawPeer> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new RawPeer(socket)
  }

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      this.#chunks.push(chunk)
      this.#bytes += chunk.length
      this.#news()
    })
    // The end, or a reset.
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        this.#isClosed = true
        this.#news()
      })
    }
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Received and not read. */
  get unread(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0]!
  }

  /** How many bytes are received and not read. */
  get unreadBytes(): number {
    return this.#bytes
  }

  send(...bytes: readonly (Uint8Array | readonly number[])[]): void {
    this.#socket.write(Buffer.concat(bytes.map((part) => Buffer.from(part))))
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** The next `count` bytes; fewer when the peer closed before. @throws when they do not come */
  async read(count: number, waitMs = WAIT_MS): Promise<Buffer> {
    await this.#until(
      () => this.#bytes >= count || this.#isClosed,
      waitMs,
      () => {
        return `${count} bytes did not come, only ${this.unread.toString('hex')}`
      },
    )
    const { unread } = this
    const taken = unread.subarray(0, count)
    this.#chunks = [unread.subarray(taken.length)]
    this.#bytes -= taken.length
    return taken
  }

  /** One whole packet: its first byte and what follows the length. */
  async readPacket(waitMs = WAIT_MS): Promise<{ first: number; body: Buffer; bytes: Buffer }> {
    const head = [await this.read(1, waitMs)]
    let length = 0
    for (let shift = 0; ; shift += 7) {
      const byte = await this.read(1, waitMs)
      if (byte.length === 0) throw new Error('the connection closed instead of a packet')
      head.push(byte)
      length += (byte[0]! & 127) << shift
      if (byte[0]! < 128) break
    }
    const body = await this.read(length, waitMs)
    return { first: head[0]![0]!, body, bytes: Buffer.concat([...head, body]) }
  }

  /** @returns what came before the other side closed. @throws when it does not close */
  async closed(waitMs = WAIT_MS): Promise<Buffer> {
    await this.#until(
      () => this.#isClosed,
      waitMs,
      () => {
        return `the connection is still open, with ${this.unread.toString('hex')} unread`
      },
    )
    return this.unread
  }

  end(): void {
    this.#socket.destroy()
  }

  /** Ends its side and waits until the server, which has seen that, has closed too. */
  async leave(): Promise<void> {
    this.#socket.end()
    await this.closed()
    this.#socket.destroy()
  }

  async #until(isThere: () => boolean, waitMs: number, problem: () => string): Promise<void> {
    if (isThere()) return
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(problem())), waitMs)
      this.#news = () => {
        if (!isThere()) return
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
