// rhea as the control plane of one connection: open, begin, attach, detach, end, close and
// heartbeats, in the right order and with the right numbers. It sits behind something like a socket
// and sees no byte a peer sent: every frame it reads is written here from checked values, under
// link names of our own, because it keeps links by name alone and mistakes a name that is used in
// both directions, or again before its own detach went out. Transfers, flows and dispositions never
// pass through it.
import rhea from 'rhea'
import { type LinkReply, writeAttach } from '../codec/attach-frame.ts'
import { readDetach, readFieldList, SOLE_CONNECTION } from '../codec/control-frames.ts'
import { CODE, FRAME_AMQP, FRAME_HEADER_BYTES } from '../codec/performatives.ts'
import { ValueWriter } from '../codec/value-writer.ts'
import { type ErrorDescription, type ErrorInfo, shortDescription } from '../errors.ts'

type RheaConnection = ReturnType<typeof rhea.create_connection>
type RheaContainer = ReturnType<typeof rhea.create_container>

/** Fields of an endpoint that rhea will announce; its typings leave them out. */
interface Announced {
  readonly local: {
    readonly channel?: number
    readonly handle?: number
    readonly begin?: Record<string, unknown>
  }
}

type RheaSession = Announced & { end(error?: object): void }
type RheaLink = Announced & {
  readonly session: Announced
  detach(): void
  close(error?: object): void
}

export interface ControlPlaneOptions {
  readonly containerId: string
  readonly frameBytesMax: number
  readonly channelMax: number
  /** Announced; without a frame for twice as long the connection is closed. */
  readonly idleTimeoutMs: number
  readonly product: { readonly name: string; readonly version: string }
}

/** Carries out rhea's requests. */
export interface ControlSink {
  /** A protocol header or a whole frame for the wire. */
  write(frame: Buffer): void
  /** Our attach with this channel and handle goes out now: the link may be used. */
  attached(channel: number, handle: number): void
  /** Nothing more will be written: send the pending output and close. */
  end(): void
  /** Close at once. */
  destroy(): void
  /** rhea failed; a bug of ours or of rhea. */
  failed(error: Error): void
}

export interface OpenRequest {
  readonly containerId: string
  readonly hostname: string | undefined
  readonly maxFrameSize: number
  readonly channelMax: number
  readonly idleTimeoutMs: number | undefined
}

export interface OpenAnswer {
  /** The container is connected once only, as it asked. */
  readonly isSole?: boolean
  readonly isRefused?: boolean
}

export interface BeginReply {
  readonly nextOutgoingId: number
  readonly incomingWindow: number
  readonly outgoingWindow: number
  readonly handleMax: number
}

/** An endpoint as rhea numbers it, and how to take it down. */
export interface ControlledSession {
  readonly channel: number
  end(error: ErrorDescription): void
}

export interface ControlledLink {
  readonly handle: number
  /** Detach without closing, as an answer to the same. */
  suspend(): void
  close(error: ErrorDescription): void
}

const CAPABILITIES = ['ANONYMOUS-RELAY', 'DELAYED_DELIVERY', 'SHARED-SUBS']
const ESTABLISHMENT_FAILED = 'amqp:connection-establishment-failed'
const AMQP_HEADER = Buffer.from('AMQP\u0000\u0001\u0000\u0000', 'latin1')
const HEARTBEAT = Buffer.from([0, 0, 0, FRAME_HEADER_BYTES, 2, 0, 0, 0])

export const createControlContainer = (containerId: string): RheaContainer =>
  rhea.create_container({ id: containerId })

export class ControlPlane {
  readonly #sink: ControlSink
  readonly #socket: RheaSocket
  readonly #connection: RheaConnection
  #lastLink = 0
  #isPeerClosed = false
  /** Attaches that rhea has not written yet, by `replyKey`. */
  readonly #replies = new Map<number, LinkReply>()
  /** Written in place of rhea's. */
  #close: Buffer | undefined
  /** Errors of detaches that rhea is about to write, by channel and handle. */
  readonly #detaches = new Map<number, ToldError>()
  #begun: RheaSession | undefined
  #attached: RheaLink | undefined

  constructor(container: RheaContainer, options: ControlPlaneOptions, sink: ControlSink) {
    this.#sink = sink
    this.#socket = new RheaSocket(sink, (frame) => this.#write(frame))
    this.#connection = container.create_connection({
      container_id: options.containerId,
      max_frame_size: options.frameBytesMax,
      channel_max: options.channelMax,
      idle_time_out: options.idleTimeoutMs,
      offered_capabilities: [...CAPABILITIES],
      properties: { product: options.product.name, version: options.product.version },
      receiver_options: { credit_window: 0, autoaccept: false, autosettle: false },
      sender_options: { autosettle: false },
      disable_sasl: true,
      reconnect: false,
    } as unknown as Parameters<typeof rhea.create_connection>[0])
    this.#listen()
    const acceptor = this.#connection as unknown as { accept(socket: RheaSocket): void }
    acceptor.accept(this.#socket)
  }

  /** Every event must have a listener: without one rhea writes to the console or throws. */
  #listen(): void {
    const connection = this.#connection
    const ignored = [
      'connection_open',
      'connection_close',
      'connection_error',
      'session_close',
      'session_error',
      'sender_close',
      'sender_error',
      'receiver_close',
      'receiver_error',
      'disconnected',
      'settled',
    ]
    for (const event of ignored) connection.on(event, ignore)
    connection.on('session_open', ({ session }) => {
      this.#begun = session as unknown as RheaSession
    })
    connection.on('sender_open', ({ sender }) => {
      this.#attached = sender as unknown as RheaLink
    })
    connection.on('receiver_open', ({ receiver }) => {
      this.#attached = receiver as unknown as RheaLink
    })
    connection.on('protocol_error', (error) => this.#sink.failed(error as unknown as Error))
    connection.on('error', (error) => this.#sink.failed(error as unknown as Error))
  }

  /** The peer sent the AMQP header; ours goes out. */
  start(): void {
    this.#socket.feed(AMQP_HEADER)
  }

  /**
   * With a refusal a close follows, and the peer waits for it before it takes the connection for
   * open.
   */
  open(request: OpenRequest, answer: OpenAnswer = {}): void {
    const local = this.#connection as unknown as { local: { open: Record<string, unknown> } }
    if (answer.isSole) local.local.open['offered_capabilities'] = [...CAPABILITIES, SOLE_CONNECTION]
    if (answer.isRefused) local.local.open['properties'] = { [ESTABLISHMENT_FAILED]: true }
    this.#feed(0, CODE.open, 5, (writer) => {
      writer.string(request.containerId)
      if (request.hostname === undefined) writer.null()
      else writer.string(request.hostname)
      writer.uint(request.maxFrameSize).ushort(request.channelMax)
      if (request.idleTimeoutMs === undefined) writer.null()
      else writer.uint(request.idleTimeoutMs)
    })
  }

  /** A frame came that rhea does not see: the peer is alive. */
  touch(): void {
    this.#socket.feed(HEARTBEAT)
  }

  begin(remoteChannel: number, reply: BeginReply): ControlledSession {
    this.#begun = undefined
    this.#feed(remoteChannel, CODE.begin, 4, (writer) => {
      writer.null().uint(0).uint(reply.incomingWindow).uint(reply.outgoingWindow)
    })
    const session = present(this.#begun as RheaSession | undefined, 'begin')
    Object.assign(session.local.begin ?? {}, {
      next_outgoing_id: reply.nextOutgoingId,
      incoming_window: reply.incomingWindow,
      outgoing_window: reply.outgoingWindow,
      handle_max: reply.handleMax,
    })
    return { channel: session.local.channel ?? 0, end: (error) => session.end(errorOf(error)) }
  }

  /** With an error: attached and detached in one breath. */
  attach(
    remoteChannel: number,
    remoteHandle: number,
    reply: LinkReply,
    error: ErrorDescription | undefined,
  ): ControlledLink {
    this.#attached = undefined
    this.#feed(remoteChannel, CODE.attach, 10, (writer) => {
      writer
        .string(String(++this.#lastLink))
        .uint(remoteHandle)
        .boolean(reply.isSender)
      for (let absent = 0; absent < 6; absent++) writer.null()
      writer.uint(0)
    })
    const link = present(this.#attached as RheaLink | undefined, 'attach')
    this.#replies.set(replyKey(link.session.local.channel ?? 0, link.local.handle ?? 0), reply)
    if (error !== undefined) link.close(errorOf(error))
    const handle = link.local.handle ?? 0
    const key = replyKey(link.session.local.channel ?? 0, handle)
    return {
      handle,
      suspend: () => link.detach(),
      close: (error) => {
        if (error.info !== undefined) this.#detaches.set(key, { ...error, info: error.info })
        link.close(errorOf(error))
      },
    }
  }

  /** The peer detached; our detach follows, unless it went before. */
  detach(remoteChannel: number, remoteHandle: number): void {
    this.#feed(remoteChannel, CODE.detach, 2, (writer) => {
      writer.uint(remoteHandle).boolean(true)
    })
  }

  end(remoteChannel: number): void {
    this.#feed(remoteChannel, CODE.end, 1, (writer) => writer.null())
  }

  /** The peer closed; our close follows, unless it went before. */
  peerClosed(): void {
    // rhea takes a second close for a failure, and the answer to the first would be lost by it.
    if (this.#isPeerClosed) return
    this.#isPeerClosed = true
    this.#feed(0, CODE.close, 1, (writer) => writer.null())
  }

  close(error: ErrorDescription | undefined): void {
    if (error?.info !== undefined) this.#close = writeClose(error, error.info)
    this.#connection.close(error && errorOf(error))
  }

  /** The socket is gone: rhea's timers go too. */
  lost(): void {
    this.#socket.lost()
  }

  #feed(channel: number, code: number, fields: number, fill: (writer: ValueWriter) => void): void {
    const writer = new ValueWriter()
    writer.frame(FRAME_AMQP, channel, () => {
      writer.descriptor(code).list(fields, () => fill(writer))
    })
    this.#socket.feed(writer.take())
  }

  #write(frame: Buffer): void {
    const code = frame.length > FRAME_HEADER_BYTES + 2 ? frame[FRAME_HEADER_BYTES + 2] : undefined
    if (code === CODE.flow || code === CODE.transfer || code === CODE.disposition) return
    if (code === CODE.attach) this.#writeAttach(frame)
    else if (code === CODE.detach && this.#detaches.size > 0) this.#writeDetach(frame)
    else this.#sink.write(code === CODE.close ? (this.#close ?? frame) : frame)
  }

  #writeDetach(frame: Buffer): void {
    const channel = frame.readUInt16BE(6)
    const { handle } = readDetach(readFieldList('detach', frame, FRAME_HEADER_BYTES, frame.length))
    const error = this.#detaches.get(replyKey(channel, handle))
    this.#detaches.delete(replyKey(channel, handle))
    this.#sink.write(error === undefined ? frame : writeDetach(channel, handle, error))
  }

  /** rhea's frame says when and under which numbers; what it says else is ours. */
  #writeAttach(frame: Buffer): void {
    const channel = frame.readUInt16BE(6)
    const fields = readFieldList('attach', frame, FRAME_HEADER_BYTES, frame.length)
    const handle = fields.uint(1, 'handle') ?? 0
    const key = replyKey(channel, handle)
    const reply = present(this.#replies.get(key), 'an attach')
    this.#replies.delete(key)
    this.#sink.write(writeAttach(channel, handle, reply))
    this.#sink.attached(channel, handle)
  }
}

/** The part of a net.Socket that rhea uses. */
class RheaSocket {
  readonly #sink: ControlSink
  readonly #out: (frame: Buffer) => void
  readonly #listeners = new Map<string, (argument?: unknown) => void>()

  constructor(sink: ControlSink, out: (frame: Buffer) => void) {
    this.#sink = sink
    this.#out = out
  }

  feed(bytes: Buffer): void {
    this.#listeners.get('data')?.(bytes)
  }

  lost(): void {
    this.#listeners.get('end')?.()
    this.#listeners.clear()
  }

  on(event: string, listener: (argument?: unknown) => void): this {
    this.#listeners.set(event, listener)
    return this
  }

  removeAllListeners(event: string): this {
    this.#listeners.delete(event)
    return this
  }

  write(frame: Buffer): boolean {
    this.#out(frame)
    return true
  }

  end(): void {
    this.#sink.end()
  }

  destroy(): void {
    this.#sink.destroy()
  }

  get_id_string(): string {
    return 'trivet'
  }
}

/**
 * A close whose error has what programs read: rhea would write its names as strings, which are
 * symbols.
 */
function writeClose(error: ErrorDescription, info: ErrorInfo): Buffer {
  const writer = new ValueWriter()
  writer.frame(FRAME_AMQP, 0, () => {
    writer.descriptor(CODE.close).list(1, () => writeError(writer, error, info))
  })
  return writer.take()
}

function writeDetach(channel: number, handle: number, error: ToldError): Buffer {
  const writer = new ValueWriter()
  writer.frame(FRAME_AMQP, channel, () => {
    writer.descriptor(CODE.detach).list(3, () => {
      writeError(writer.uint(handle).boolean(true), error, error.info)
    })
  })
  return writer.take()
}

function writeError(writer: ValueWriter, error: ErrorDescription, info: ErrorInfo): void {
  const entries = Object.entries(info)
  writer.descriptor(CODE.error).list(3, () => {
    writer.symbol(error.condition).string(shortDescription(error.description))
    writer.map(entries.length, () => {
      for (const [name, value] of entries) {
        writer.symbol(name)
        if (value === true) writer.boolean(true)
        else if (typeof value === 'string') writer.symbol(value)
        else if (typeof value === 'number') writer.ushort(value)
        else if ('string' in value) writer.string(value.string)
        else writer.binary(value)
      }
    })
  })
}

/** As rhea writes it. */
const errorOf = ({ condition, description }: ErrorDescription): object => ({
  condition,
  description: shortDescription(description),
})

/** An error with what programs read of it. */
type ToldError = ErrorDescription & { readonly info: ErrorInfo }

const replyKey = (channel: number, handle: number): number => channel * 0x1_0000_0000 + handle

function present<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`rhea did not take ${what}`)
  return value
}

function ignore(): void {
  // The data path has its own view of the connection's life; rhea only has to be heard.
}
