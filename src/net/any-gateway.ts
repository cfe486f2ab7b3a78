// One address for every protocol: the first byte of a connection says which it is, and its gateway
// takes the connection as if it had been accepted there.
import type { Logger } from '../log.ts'
import type { Gateway, GatewaySocket } from '../port/gateway.ts'
import { protocolOf, type ToldProtocol } from './first-bytes.ts'

type Taker = Pick<Gateway, 'accept'>

export class AnyGateway implements Taker {
  readonly #served: ReadonlySet<string>
  readonly #log: Logger
  readonly #takers = new Map<ToldProtocol, Taker>()
  /** They have not sent anything yet, or their gateway is not there yet. */
  readonly #waiting = new Map<GatewaySocket, ToldProtocol | undefined>()

  /** A connection of another protocol than these is closed. */
  constructor(served: readonly string[], log: Logger) {
    this.#served = new Set(served)
    this.#log = log
  }

  accept(socket: GatewaySocket): void {
    this.#waiting.set(socket, undefined)
    socket.onData((chunk) => this.#take(socket, chunk))
    socket.onClose(() => this.#waiting.delete(socket))
    socket.resume()
  }

  /** The protocol's gateway is ready. */
  open(protocol: ToldProtocol, taker: Taker): void {
    this.#takers.set(protocol, taker)
    for (const [socket, asked] of this.#waiting) {
      if (asked !== protocol) continue
      this.#waiting.delete(socket)
      taker.accept(socket)
    }
  }

  /** Those that wait have nothing to be told. */
  close(): void {
    for (const socket of this.#waiting.keys()) socket.destroy()
  }

  #take(socket: GatewaySocket, chunk: Buffer): void {
    // Its gateway has it, or is to have it, and was not ready before the connection ended.
    if (this.#waiting.get(socket) !== undefined || !this.#waiting.delete(socket)) return
    const protocol = protocolOf(chunk)
    if (protocol === undefined || !this.#isServed(protocol)) {
      const fields = { evt: 'listener.unknown', remote: socket.remoteAddress, first: chunk[0] }
      this.#log.debug(
        fields,
        `a connection was closed: ${protocol ?? 'its protocol'} is not served`,
      )
      socket.destroy()
      return
    }
    // Until its gateway is ready.
    socket.pause()
    const taker = this.#takers.get(protocol)
    if (taker === undefined) this.#waiting.set(socket, protocol)
    else taker.accept(socket)
    socket.handBack(chunk)
  }

  /** A name server speaks RocketMQ's protocol too. */
  #isServed(protocol: ToldProtocol): boolean {
    return this.#served.has(protocol) || (protocol === 'remoting' && this.#served.has('nameServer'))
  }
}
