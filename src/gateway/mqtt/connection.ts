// One peer: its socket, the packets cut out of it, what is written back, and its end. Everything
// between CONNACK and the end is in client.ts.

import { isCurrent, tokenExpired, userChanged } from '../../access/auth.ts'
import { BrokerError } from '../../errors.ts'
import type { GatewaySocket } from '../../port/gateway.ts'
import { Client, type ClientConnection } from './client.ts'
import { type Ending, LOST, OURS } from './ending.ts'
import { reasonOf } from './errors.ts'
import { refusedConnack } from './handshake.ts'
import { CONNECT_BYTES_MAX } from './limits.ts'
import { Opening, type OpeningConnection } from './opening.ts'
import { PacketOutput } from './outgoing/packet-output.ts'
import {
  ConnectRefused,
  connectTooLarge,
  decodeConnect,
  encodeConnack,
  incompleteVersion,
  UnsupportedVersion,
  VERSION_BYTES,
  versionOf,
} from './packets/connect-packet.ts'
import { encodeDisconnect } from './packets/disconnect-packet.ts'
import { FrameSplitter, type PacketSink } from './packets/frame-splitter.ts'
import {
  PACKET,
  ProtocolError,
  packetName,
  packetTooLarge,
  REASON,
  type ReasonCode,
  silentViolation,
  type Version,
} from './packets/protocol.ts'
import type { MqttParts } from './parts.ts'

type State =
  /** CONNECT has not come. */
  | 'new'
  /** CONNECT is being dealt with; what follows is held. */
  | 'connecting'
  | 'open'
  /** The last bytes are on their way; nothing is read any more. */
  | 'closing'
  | 'closed'

/**
 * For a peer to close its side after ours, and for the answers to what a faulty one sent before.
 */
const LINGER_MS = 2_000
const KEEP_ALIVE_FACTOR = 1.5
/** The broker forgets a client after two minutes of silence. */
const REGISTER_EVERY_MS = 60_000

export class Connection implements PacketSink, ClientConnection, OpeningConnection {
  readonly id: string
  readonly remoteAddress: string
  readonly remotePort: number
  readonly output: PacketOutput
  endsMs: number | undefined
  readonly #parts: MqttParts
  readonly #socket: GatewaySocket
  readonly #splitter: FrameSplitter
  readonly #gone: () => void
  #state: State = 'new'
  /** The CONNECT that is being dealt with. */
  #opening: Opening | undefined
  #client: Client | undefined
  #seenMs: number
  #closingMs = 0
  /** Packets written now must not leave before the session is saved. */
  #needsSave = false
  #isSaving = false
  /** The gateway closes: what was sent is answered, nothing more is read. */
  #isLeaving = false
  /** Too much waits for the session to be saved. */
  #isBacklogged = false
  /** The peer broke the protocol: the end comes behind the answers to its earlier packets. */
  #fault:
    | { readonly error: ProtocolError; readonly told: string | undefined; readonly atMs: number }
    | undefined

  constructor(parts: MqttParts, socket: GatewaySocket, id: string, gone: () => void) {
    this.#parts = parts
    this.#socket = socket
    this.#gone = gone
    this.id = id
    this.remoteAddress = socket.remoteAddress
    this.remotePort = socket.remotePort
    this.output = new PacketOutput(socket, () => this.#flush())
    this.#splitter = new FrameSplitter(this, CONNECT_BYTES_MAX)
    this.#seenMs = parts.context.clock.monotonic()
    socket.onData((chunk) => this.#onData(chunk))
    socket.onClose(() => this.#onClose())
    socket.onDrain(() => this.#client?.outbound.pump())
    socket.resume()
  }

  packetBegins(first: number): void {
    const type = first >>> 4
    if (this.#state === 'new' && type !== PACKET.connect) {
      throw silentViolation(`${packetName(type)} before CONNECT`)
    }
    if (type === 0) throw new ProtocolError(REASON.protocolError, 'there is no packet type 0')
    this.#opening?.packetBegins(type)
  }

  packet(first: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.#state === 'closing' || this.#state === 'closed') return true
    const client = this.#client
    if (client !== undefined) {
      const goesOn = client.packet(first, bytes, start, end)
      if (!goesOn) this.setReading()
      return goesOn
    }
    const opening = this.#opening
    if (opening?.isChallenged) {
      if (first >>> 4 === PACKET.disconnect) this.#end(OURS, undefined)
      else opening.onAuth(bytes, start, end)
      this.setReading()
      return false
    }
    const connect = { packet: decodeConnect(first, bytes, start, end), bytes: end - start }
    this.#state = 'connecting'
    this.#onConnect(new Opening(this.#parts, this.#socket, this, connect))
    return false
  }

  /**
   * A CONNECT over the limit is answered once its version is known; a client knows what to do with
   * it.
   */
  oversized(first: number, packetBytes: number, bytesMax: number): number {
    if (this.#client !== undefined) return this.#client.oversized(first, packetBytes, bytesMax)
    if (this.#state === 'new') return VERSION_BYTES
    throw packetTooLarge(packetBytes, bytesMax)
  }

  beginning(first: number, bytes: Buffer, start: number, end: number): void {
    if (this.#state === 'new') {
      throw new ConnectRefused(versionOf(bytes, start, end), connectTooLarge())
    }
    this.#client?.beginning(first, bytes, start, end)
  }

  /** Too much waits for CONNECTs to be answered, and this connection has the most of it. */
  crowdedOut(): void {
    const busy = new BrokerError('BUSY', 'too many connections are being opened; try again later')
    const version = this.#opening?.packet.version ?? incompleteVersion(this.#splitter.incomplete)
    if (version === undefined) this.#end(OURS, undefined)
    else this.#refuse(version, busy)
  }

  wantFlush(): void {
    this.output.wantFlush()
  }

  journal(): void {
    this.#needsSave = true
    this.wantFlush()
  }

  /** The end of the turn: one write, or one save and then the write. */
  #flush(): void {
    if (this.#state === 'closed' || this.#isSaving) return
    // PUBRECs stand in the output already; then what arrived, then the PUBACKs.
    this.#client?.outbound.pump()
    this.#client?.inbound.sendPubacks()
    if (this.#needsSave && this.#client !== undefined) {
      this.#needsSave = false
      this.#isSaving = true
      this.output.seal()
      this.#parts.sessions.copies.save(this.#client.session).then(
        () => this.#saved(),
        (error: unknown) => this.broken(error),
      )
      return
    }
    this.output.flush()
    this.#roomAgain()
  }

  /**
   * In the next turn: a chunk may hold thousands of packets that are held for, one after the other.
   */
  readOn(): void {
    setImmediate(() => this.#resume())
  }

  #resume(): void {
    if (this.#state !== 'open' || this.#fault !== undefined) return
    this.#guarded(() => this.#splitter.resume())
    this.setReading()
  }

  onDisconnect(reason: ReasonCode): void {
    const isClean = reason === REASON.success
    this.#end({ isClean, isLost: reason >= REASON.unspecified }, undefined)
  }

  /** `told`: what the client is told besides the code. */
  fail(error: ProtocolError, told?: string): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    const { log } = this.#parts.context
    const fields = { evt: 'mqtt.protocol_error', connection: this.id, remote: this.remoteAddress }
    log.debug({ ...fields, reason: error.reason }, error.message)
    this.#end(LOST, error.silent ? undefined : error.reason, told)
  }

  /** As `fail`, once earlier packets are durable and answered, or when that takes too long. */
  failBehind(error: ProtocolError, told?: string): void {
    this.#fault = { error, told, atMs: this.#parts.context.clock.monotonic() }
    this.setReading()
    if (this.#client === undefined) this.fail(error, told)
    else void this.#client.inbound.stored().then(() => this.fail(error, told))
  }

  broken(error: unknown): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    const fields = { evt: 'mqtt.connection_broken', connection: this.id, err: error }
    this.#parts.context.log.warn(fields, 'a connection ends because the broker failed it')
    this.#end(OURS, reasonOf(error, PACKET.disconnect), BrokerError.from(error).message)
  }

  /** What the client has asked for rests on what its user was allowed before. */
  onUserChanged(user: string): void {
    const principal = this.#client?.principal
    if (principal === undefined || principal.anonymous || principal.name !== user) return
    const { message } = userChanged(user)
    this.failBehind(new ProtocolError(REASON.notAuthorized, message), message)
  }

  takenOver(): void {
    this.#end(LOST, REASON.sessionTakenOver)
  }

  stored(packetId: number): void {
    this.#client?.inbound.sendPubrec(packetId)
  }

  /** The gateway closes. */
  shutDown(): void {
    const client = this.#client
    if (client === undefined) {
      this.#end(OURS, REASON.serverShuttingDown)
      return
    }
    // Messages on their way into the log are answered before the DISCONNECT.
    this.#isLeaving = true
    this.setReading()
    void client.inbound.stored().then(() => this.#end(OURS, REASON.serverShuttingDown))
  }

  get isBusy(): boolean {
    return this.#state === 'open'
  }

  get unsentBytes(): number {
    return this.#socket.unsentBytes
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Called a few times a second. */
  sweep(nowMs: number): void {
    const { connectTimeoutMs } = this.#parts.options
    const silentMs = nowMs - this.#seenMs
    switch (this.#state) {
      case 'new':
        if (silentMs >= connectTimeoutMs) this.destroy()
        break
      case 'connecting':
        if (this.#opening?.isLate(nowMs)) this.destroy()
        break
      case 'open': {
        const client = this.#client!
        const limitMs = client.keepAliveSeconds * 1000 * KEEP_ALIVE_FACTOR
        this.#checkEnd()
        if (this.#isReadingStopped) this.#seenMs = nowMs
        else if (limitMs > 0 && silentMs >= limitMs) this.#end(LOST, REASON.keepAliveTimeout)
        const fault = this.#fault
        if (fault !== undefined && nowMs - fault.atMs >= LINGER_MS)
          this.fail(fault.error, fault.told)
        if (this.#state === 'open') client.sweep(nowMs, REGISTER_EVERY_MS)
        break
      }
      case 'closing':
        if (nowMs - this.#closingMs >= LINGER_MS) this.destroy()
        break
      default:
        break
    }
  }

  /** A connection is not to outlive the token that it came by. */
  #checkEnd(): void {
    const { endsMs } = this
    if (endsMs === undefined || this.#fault !== undefined) return
    if (this.#parts.context.clock.now() < endsMs) return
    const { message } = tokenExpired()
    this.failBehind(new ProtocolError(REASON.maximumConnectTime, message), message)
  }

  #onData(chunk: Buffer): void {
    if (this.#state === 'closing' || this.#state === 'closed' || this.#fault !== undefined) return
    if (this.#state !== 'new') this.#seenMs = this.#parts.context.clock.monotonic()
    this.#guarded(() => this.#splitter.push(chunk))
  }

  #guarded(read: () => void): void {
    try {
      read()
    } catch (error) {
      this.#client?.inbound.flush()
      if (error instanceof UnsupportedVersion) {
        this.output.append(error.answer)
        this.#end(OURS, undefined)
      } else if (error instanceof ConnectRefused) this.#refuse(error.version, error)
      else if (error instanceof ProtocolError) this.failBehind(error)
      else throw error
    }
    if (this.#state !== 'open') {
      if (this.#isUnanswered) {
        const connectBytes = this.#opening?.bytes ?? 0
        this.#parts.connecting.hold(this, connectBytes + this.#splitter.waitingBytes)
        this.setReading()
      }
      return
    }
    this.#client?.endOfChunk()
    // Answers that need no saved session still go out behind those that do.
    const { undeliveredBytesMax } = this.#parts.options
    if (!this.#isSaving || this.output.pendingBytes <= undeliveredBytesMax) return
    this.#isBacklogged = true
    this.setReading()
  }

  #onConnect(opening: Opening): void {
    this.#opening = opening
    this.setReading()
    const { version, properties } = opening.packet
    this.#open(opening).catch((error: unknown) =>
      this.#refuse(version, error, properties.maximumPacketSize),
    )
  }

  async #open(opening: Opening): Promise<void> {
    const opened = await opening.open()
    if (opened === undefined) return
    const { context, options, sessions } = this.#parts
    const { session, present, principal, properties, endsMs } = opened
    if (session.holder !== this) return
    if (this.#state !== 'connecting') {
      sessions.detach(session, false)
      return
    }
    if (!isCurrent(context.auth, principal)) {
      sessions.detach(session, false)
      throw userChanged(principal.name)
    }
    const { packet } = opening
    this.#client = new Client(this.#parts, this, packet, opened)
    this.endsMs = endsMs
    this.#state = 'open'
    this.#opening = undefined
    this.setReading()
    this.#parts.connecting.leave(this)
    this.#splitter.packetBytesMax = options.packetBytesMax
    this.output.append(encodeConnack(packet.version, present, REASON.success, properties))
    this.wantFlush()
    this.#seenMs = context.clock.monotonic()
    await this.#client.start(present)
    this.readOn()
  }

  awaitProof(): void {
    if (this.#state !== 'connecting') return
    this.#guarded(() => this.#splitter.resume())
    this.setReading()
  }

  /** CONNACK with a code, then the end. */
  #refuse(version: Version, error: unknown, packetBytesMax = Number.POSITIVE_INFINITY): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    const log = { evt: 'mqtt.connect_refused', connection: this.id, remote: this.remoteAddress }
    this.#parts.context.log.debug({ ...log, err: error }, 'a connection was refused')
    if (this.#client !== undefined) {
      this.broken(error)
      return
    }
    const connack = refusedConnack(version, error, packetBytesMax)
    if (connack !== undefined) this.output.append(connack)
    this.#end(OURS, undefined)
  }

  #saved(): void {
    this.#isSaving = false
    if (this.#state === 'closed') return
    this.output.flushSealed()
    if (this.#state === 'closing') return
    if (this.#isBacklogged) {
      this.#isBacklogged = false
      this.setReading()
    }
    this.wantFlush()
    this.#roomAgain()
  }

  #roomAgain(): void {
    const outbound = this.#client?.outbound
    if (outbound?.isStalled) outbound.pump()
  }

  /** Pauses the socket, or reads on. */
  setReading(): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    // Until it is answered it is read while that costs nothing, so that its end is noticed.
    const isStopped =
      this.#state === 'connecting' ? this.#splitter.waitingBytes > 0 : this.#isReadingStopped
    if (isStopped) this.#socket.pause()
    else this.#socket.resume()
  }

  get #isUnanswered(): boolean {
    return this.#state === 'new' || this.#state === 'connecting'
  }

  /** Not the peer's doing: it is not read, so nothing can be heard from it. */
  get #isReadingStopped(): boolean {
    const isLast = this.#isLeaving || this.#fault !== undefined
    const isFull = this.#client?.inbound.isFull ?? false
    return isLast || this.#splitter.isHeld || isFull || this.#isBacklogged
  }

  /** The connection's part of the session ends now; the socket when its last bytes are sent. */
  #end({ isClean, isLost }: Ending, reason: number | undefined, text?: string): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    const client = this.#client
    if (this.#isSaving || this.#needsSave) {
      // These answers need the session saved first, and by then the socket is gone.
      this.output.discard()
    } else if (client !== undefined) {
      client.inbound.sendPubacks()
      this.output.flush()
    }
    client?.close(isLost)
    this.#detach(isClean)
    if (reason !== undefined && client?.isV5) {
      this.output.discard()
      const reasonString = client.wantsReasons ? text : undefined
      this.output.append(encodeDisconnect(reason, reasonString, client.packetBytesMax))
    }
    this.#state = 'closing'
    this.#letGoOfConnect()
    this.#splitter.discard()
    this.#closingMs = this.#parts.context.clock.monotonic()
    this.output.flush()
    this.#socket.end()
    // Further input is read and thrown away, so that the last bytes sent are not lost to a reset.
    this.#socket.resume()
  }

  #letGoOfConnect(): void {
    this.#parts.connecting.leave(this)
    this.#opening?.abort()
    this.#opening = undefined
  }

  #detach(isClean: boolean): void {
    const client = this.#client
    this.#client = undefined
    if (client?.session.holder === this) this.#parts.sessions.detach(client.session, isClean)
  }

  #onClose(): void {
    if (this.#state === 'closed') return
    this.#client?.close(true)
    this.#detach(false)
    this.#state = 'closed'
    this.#letGoOfConnect()
    this.output.discard()
    this.#gone()
  }
}
