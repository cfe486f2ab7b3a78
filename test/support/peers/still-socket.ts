// A peer whose bytes come when the test says, in one chunk each; it keeps what is written to it.
import type { GatewaySocket } from '../../../src/port/gateway.ts'

export class StillSocket implements GatewaySocket {
  readonly remoteAddress = '10.0.0.9'
  readonly remotePort = 1
  readonly localAddress = '10.0.0.1'
  readonly localPort = 2
  readonly unsentBytes = 0
  certifiedUser: string | undefined
  readonly written: Buffer[] = []
  isClosed = false
  /** What the gateway leaves for a later turn; the test gives it again, or not. */
  handedBack: Buffer | undefined
  #data: (chunk: Buffer) => void = () => {}
  #close: (error: Error | undefined) => void = () => {}

  /** As a listener that reads into one buffer: the bytes are others' once the call is over. */
  receive(...parts: readonly Buffer[]): void {
    const chunk = Buffer.concat(parts)
    this.#data(chunk)
    chunk.fill('?')
  }

  onData(handler: (chunk: Buffer) => void): void {
    this.#data = handler
  }

  onClose(handler: (error: Error | undefined) => void): void {
    this.#close = handler
  }

  write(bytes: Buffer): boolean {
    // As the kernel, which has its own copy.
    this.written.push(Buffer.from(bytes))
    return true
  }

  end(): void {
    this.destroy()
  }

  destroy(): void {
    this.isClosed = true
    this.#close(undefined)
  }

  handBack(rest: Buffer): void {
    this.handedBack = Buffer.from(rest)
  }

  onDrain(): void {}
  pause(): void {}
  resume(): void {}
}
