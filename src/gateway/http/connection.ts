// One HTTP connection: whether a request is under way, and how long its client may take.

import type { Leaving } from '../../net/connections.ts'
import { SocketStream } from '../../net/socket-stream.ts'
import type { GatewaySocket } from '../../port/gateway.ts'
import { PIPELINED_MAX } from './limits.ts'

export class HttpConnection implements Leaving {
  /** What node's HTTP server reads and writes. */
  readonly stream: SocketStream
  readonly remoteAddress: string
  readonly #socket: GatewaySocket
  #underWay = 0
  /** Since when the next request is waited for, by the monotonic clock. */
  #waitsSinceMs: number
  isClosing = false

  constructor(socket: GatewaySocket, nowMs: number, gone: () => void) {
    this.#socket = socket
    this.remoteAddress = socket.remoteAddress
    this.#waitsSinceMs = nowMs
    this.stream = new SocketStream(socket)
    // The client that went away is no error here.
    this.stream.on('error', () => {})
    this.stream.once('close', gone)
  }

  get isBusy(): boolean {
    return this.#underWay > 0
  }

  /** With more requests than may wait for one another. */
  get isOverfull(): boolean {
    return this.#underWay > PIPELINED_MAX
  }

  get unsentBytes(): number {
    return this.#socket.unsentBytes
  }

  /** The request is there, with its body. */
  received(): void {
    this.#waitsSinceMs = Number.POSITIVE_INFINITY
  }

  began(): void {
    this.#underWay++
  }

  ended(nowMs: number): void {
    this.#underWay--
    this.#waitsSinceMs = nowMs
    if (this.isClosing && !this.isBusy) this.stream.end()
  }

  isOverdue(nowMs: number, requestMs: number): boolean {
    return nowMs - this.#waitsSinceMs >= requestMs
  }

  shutDown(): void {
    this.isClosing = true
    if (!this.isBusy) this.stream.end()
  }

  destroy(): void {
    this.stream.destroy()
  }
}
