// MQTT at a copy of another broker's log, which serves readers of RocketMQ's protocol only: a
// CONNECT is answered with where the master is, as far as that is known. Nothing is kept, and no
// password is looked at.
import type { Clock, Timer } from '../../clock.ts'
import type { Gateway, GatewayContext, GatewaySocket } from '../../port/gateway.ts'
import { CONNECT_BYTES_MAX } from './limits.ts'
import {
  ConnectRefused,
  connectTooLarge,
  decodeConnect,
  encodeConnack,
  UnsupportedVersion,
} from './packets/connect-packet.ts'
import { FrameSplitter } from './packets/frame-splitter.ts'
import { PACKET, ProtocolError, REASON, RETURN_CODE, type Version } from './packets/protocol.ts'

/** For a CONNECT, and for the peer to take its answer. */
const CONNECT_MS = 10_000

type Context = Pick<GatewayContext, 'clock'>

export class MqttElsewhere implements Gateway {
  readonly protocol = 'mqtt'
  readonly #clock: Clock
  /** host:port */
  readonly #master: () => string | undefined
  readonly #open = new Map<GatewaySocket, Timer>()

  constructor({ clock }: Context, master: () => string | undefined) {
    this.#clock = clock
    this.#master = master
  }

  get connections(): number {
    return this.#open.size
  }

  accept(socket: GatewaySocket): void {
    this.#open.set(
      socket,
      this.#clock.after(CONNECT_MS, () => socket.destroy()),
    )
    socket.onClose(() => {
      this.#open.get(socket)?.cancel()
      this.#open.delete(socket)
    })
    const splitter = this.#splitterOf(socket)
    let isRead = true
    socket.onData((chunk) => {
      if (!isRead) return
      try {
        splitter.push(chunk)
        isRead = !splitter.isHeld
      } catch (error) {
        isRead = false
        if (error instanceof UnsupportedVersion) socket.end(error.answer)
        else if (error instanceof ProtocolError) socket.end()
        else throw error
      }
    })
    socket.resume()
  }

  async close(): Promise<void> {
    for (const socket of this.#open.keys()) socket.destroy()
  }

  #splitterOf(socket: GatewaySocket): FrameSplitter {
    return new FrameSplitter(
      {
        packetBegins: (first) => {
          if (first >>> 4 === PACKET.connect) return
          throw new ProtocolError(REASON.protocolError, 'CONNECT comes first', true)
        },
        packet: (first, bytes, start, end) => {
          const { version } = connectOf(first, bytes, start, end)
          socket.end(this.#answer(version))
          return false
        },
        oversized: () => {
          throw connectTooLarge()
        },
        beginning: () => {},
      },
      CONNECT_BYTES_MAX,
    )
  }

  #answer(version: Version): Buffer {
    if (version < 5) return encodeConnack(version, false, RETURN_CODE.serverUnavailable)
    const serverReference = this.#master()
    if (serverReference === undefined) return encodeConnack(5, false, REASON.serverUnavailable)
    return encodeConnack(5, false, REASON.useAnotherServer, { serverReference })
  }
}

/** What a refused CONNECT would have been told is told by where the master is as well. */
function connectOf(
  first: number,
  bytes: Buffer,
  start: number,
  end: number,
): { readonly version: Version } {
  try {
    return decodeConnect(first, bytes, start, end)
  } catch (error) {
    if (error instanceof ConnectRefused) return error
    throw error
  }
}
