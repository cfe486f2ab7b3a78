// A gateway that comes with its first connection: what no client uses costs a start and an idle
// process neither time nor memory. Connections wait unread while it comes.
import type { Logger } from '../log.ts'
import type { Gateway, GatewaySocket } from '../port/gateway.ts'

export class LateGateway<G extends Gateway = Gateway> implements Gateway {
  readonly protocol: Gateway['protocol']
  readonly #open: () => Promise<G>
  readonly #log: Logger
  #gateway: G | undefined
  #opening: Promise<void> | undefined
  #isClosing = false
  readonly #waiting = new Set<GatewaySocket>()
  readonly #told: ((gateway: G) => void)[] = []

  constructor(protocol: Gateway['protocol'], open: () => Promise<G>, log: Logger) {
    this.protocol = protocol
    this.#open = open
    this.#log = log
  }

  get connections(): number {
    return this.#gateway?.connections ?? this.#waiting.size
  }

  /** Now, or as soon as there is one. */
  tell(news: (gateway: G) => void): void {
    if (this.#gateway === undefined) this.#told.push(news)
    else news(this.#gateway)
  }

  accept(socket: GatewaySocket): void {
    if (this.#gateway !== undefined) {
      this.#gateway.accept(socket)
      return
    }
    if (this.#isClosing) {
      socket.destroy()
      return
    }
    this.#waiting.add(socket)
    socket.onClose(() => this.#waiting.delete(socket))
    this.#opening ??= this.#openOne()
  }

  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true
    await this.#opening
    await this.#gateway?.close(deadlineMs)
  }

  /** Never rejects. */
  async #openOne(): Promise<void> {
    try {
      const gateway = await this.#open()
      for (const news of this.#told.splice(0)) news(gateway)
      this.#gateway = gateway
      for (const socket of this.#take()) gateway.accept(socket)
    } catch (error) {
      // The next connection tries again. Files that could not be read Node.js refuses from now on.
      this.#opening = undefined
      const fields = { evt: 'listener.unopened', protocol: this.protocol, err: error }
      this.#log.error(
        fields,
        'the connections of a protocol were closed: its code did not load; if that goes on, restart',
      )
      for (const socket of this.#take()) socket.destroy()
    }
  }

  #take(): readonly GatewaySocket[] {
    const sockets = [...this.#waiting]
    this.#waiting.clear()
    return sockets
  }
}
