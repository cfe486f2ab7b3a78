// The server side of WebSocket for the connections of one listener: from the bytes of an HTTP
// request to a stream that carries the protocol inside. Loads HTTP and the library with the first
// of them.
import type { IncomingMessage, Server, ServerOptions } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocket, WebSocketServer } from 'ws'
import { httpAnswer, isHttp } from './first-bytes.ts'
import { PartialFrames } from './partial-frames.ts'
import { WebSocketStream } from './websocket-stream.ts'
import type { WireStream } from './wire-stream.ts'

export interface WebSocketOptions {
  /** The sub-protocols that this listener speaks: 'mqtt'. */
  readonly subprotocols: readonly string[]
  /** Of pages whose scripts may connect, as browsers send them; `*`: of all. */
  readonly origins: readonly string[]
  readonly headerBytesMax: number
  readonly frameBytesMax: number
  /** From the first byte of the request to the answer. */
  readonly handshakeMs: number
  /** Requests that ask for no WebSocket are others' to answer. */
  readonly isBesideHttp?: boolean
}

/** Browsers and libraries send it among the first. */
const UPGRADE = /\r\nUpgrade: *websocket\r\n/i

interface Opening {
  readonly wire: WireStream
  readonly opened: (stream: WebSocketStream) => void
  readonly refused: (error: Error) => void
}

interface Refusal {
  readonly status: number
  readonly reason: string
  readonly text: string
}

interface Library {
  readonly http: Server
  readonly webSockets: WebSocketServer
}

export class WebSocketAcceptor {
  readonly #options: WebSocketOptions
  readonly #opening = new WeakMap<Duplex, Opening>()
  readonly #partial: PartialFrames
  #library: Promise<Library> | undefined

  /** `partial`: shared by the listeners of a process. */
  constructor(options: WebSocketOptions, partial = new PartialFrames()) {
    this.#options = options
    this.#partial = partial
  }

  get handshakeMs(): number {
    return this.#options.handshakeMs
  }

  /** Is it for this what a connection begins with? */
  takes(chunk: Buffer): boolean {
    if (!isHttp(chunk)) return false
    return !this.#options.isBesideHttp || UPGRADE.test(chunk.latin1Slice())
  }

  /** Rejects, once the client was answered, with an error whose message says why it has to go. */
  async open(wire: WireStream): Promise<WebSocketStream> {
    this.#library ??= this.#load()
    const { http } = await this.#library
    return new Promise((opened, refused) => {
      const gone = (): void => refused(new Error('the client ended it within its HTTP request'))
      if (wire.destroyed) return gone()
      wire.once('close', gone)
      this.#opening.set(wire, { wire, opened, refused })
      http.emit('connection', wire)
    })
  }

  async #load(): Promise<Library> {
    const [{ createServer }, { WebSocketServer }] = await Promise.all([
      import('node:http'),
      import('ws'),
    ])
    const { frameBytesMax, headerBytesMax } = this.#options
    // The listener bounds the time of a handshake.
    const timeless: ServerOptions = { headersTimeout: 0, requestTimeout: 0, keepAliveTimeout: 0 }
    const http = createServer({ ...timeless, maxHeaderSize: headerBytesMax })
    const webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: frameBytesMax,
      handleProtocols: (asked) => this.#subprotocolOf(asked) ?? false,
    })
    http.on('upgrade', (request, socket, head) => {
      const refusal = this.#refusalOf(request)
      if (refusal !== undefined) this.#refuse(socket, refusal)
      else {
        webSockets.handleUpgrade(request, socket, head, (webSocket) =>
          this.#opened(socket, webSocket),
        )
      }
    })
    http.on('request', ({ socket }) => this.#refuse(socket, NO_UPGRADE))
    http.on('clientError', (error, socket) => this.#refuse(socket, refusalOfError(error)))
    webSockets.on('wsClientError', (error, socket) => this.#refuse(socket, badRequest(error)))
    return { http, webSockets }
  }

  #opened(socket: Duplex, webSocket: WebSocket): void {
    const opening = this.#opening.get(socket)
    // It was refused already.
    if (opening === undefined) webSocket.terminate()
    else opening.opened(new WebSocketStream(webSocket, opening.wire, this.#partial))
  }

  #subprotocolOf(asked: Iterable<string>): string | undefined {
    for (const one of asked) if (this.#options.subprotocols.includes(one)) return one
    return undefined
  }

  #refusalOf({ headers }: IncomingMessage): Refusal | undefined {
    const { subprotocols, origins } = this.#options
    const { origin } = headers
    if (origin !== undefined && !origins.includes('*') && !origins.includes(origin)) {
      const text = `pages of ${told(origin)} may not connect; webSocket.origins names those that may`
      return { status: 403, reason: 'Forbidden', text }
    }
    const asked = headers['sec-websocket-protocol'] ?? ''
    if (this.#subprotocolOf(asked.split(',').map((one) => one.trim())) !== undefined)
      return undefined
    const what = asked === '' ? 'it asked for no sub-protocol' : `it asked for ${told(asked)}`
    const text = `${what}; this address speaks ${subprotocols.join(', ')}`
    return { status: 400, reason: 'Bad Request', text }
  }

  #refuse(socket: Duplex, { status, reason, text }: Refusal): void {
    const opening = this.#opening.get(socket)
    if (opening === undefined || socket.destroyed) return
    this.#opening.delete(socket)
    socket.end(httpAnswer(status, reason, text), () => opening.refused(new Error(text)))
  }
}

const NO_UPGRADE: Refusal = {
  status: 426,
  reason: 'Upgrade Required\r\nUpgrade: websocket',
  text: 'of HTTP this address speaks WebSocket alone, and the request asked for no upgrade',
}

const badRequest = ({ message }: Error): Refusal => ({
  status: 400,
  reason: 'Bad Request',
  text: `the request for a WebSocket is wrong: ${message}`,
})

function refusalOfError(error: NodeJS.ErrnoException): Refusal {
  if (error.code !== 'HPE_HEADER_OVERFLOW') return badRequest(error)
  const text = 'the header of the request is larger than webSocket.headerBytesMax'
  return { status: 431, reason: 'Request Header Fields Too Large', text }
}

/** Words of the peer, for the log and an answer. */
const told = (text: string): string => JSON.stringify(text.slice(0, 100))
