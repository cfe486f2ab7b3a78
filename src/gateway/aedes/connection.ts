// One peer of aedes: its CONNECT is checked against the users before aedes hears of it, and so is
// each packet behind it. aedes gets whole packets that keep to the standard and to the limits.
import type { Client } from 'aedes'
import {
  isCurrent,
  ownerName,
  type Principal,
  tokenExpired,
  userChanged,
} from '../../access/auth.ts'
import { BrokerError } from '../../errors.ts'
import type { Leaving } from '../../net/connections.ts'
import type { GatewaySocket } from '../../port/gateway.ts'
import type { Connecting } from '../mqtt/connect-budget.ts'
import { authenticate, refusedConnack, type Terms, termsOf } from '../mqtt/handshake.ts'
import { CONNECT_BYTES_MAX, CONNECT_DECODED_FACTOR } from '../mqtt/limits.ts'
import {
  type ConnectPacket,
  ConnectRefused,
  connectTooLarge,
  decodeConnect,
  encodeConnack,
  incompleteVersion,
  UnsupportedVersion,
  VERSION_BYTES,
  versionOf,
} from '../mqtt/packets/connect-packet.ts'
import { FrameSplitter, type PacketSink } from '../mqtt/packets/frame-splitter.ts'
import { encodeVarint } from '../mqtt/packets/properties.ts'
import {
  PACKET,
  ProtocolError,
  packetName,
  packetTooLarge,
  REASON,
  silentViolation,
  type Version,
} from '../mqtt/packets/protocol.ts'
import { ClientRights } from './client-rights.ts'
import { checkOwner } from './kept-sessions.ts'
import { PacketCheck } from './packet-check.ts'
import type { AedesParts, IdHolder } from './parts.ts'
import { PacketStream, type StreamOwner } from './stream.ts'

type State =
  | 'new'
  /** CONNECT is being dealt with, here or by aedes; what follows is held. */
  | 'connecting'
  | 'open'
  /** The peer has left; aedes is given what it sent before. */
  | 'left'
  /** The last bytes are on their way; nothing is read any more. */
  | 'closing'
  | 'closed'

/** For a peer to close its side after ours, or for aedes to read what came before a peer left. */
const LINGER_MS = 2_000
/** The broker forgets a client after two minutes of silence. */
const REGISTER_EVERY_MS = 60_000

/** With what its types leave out. */
type AedesClient = Client & { readonly _keepaliveTimer?: NodeJS.Timeout | null }

/** How the gateway hands a connection to aedes. */
export type Handle = (stream: PacketStream<AedesConnection>) => AedesClient

/** Of a CONNECT that was let in. */
export interface Admitted {
  readonly packet: ConnectPacket
  readonly terms: Terms
  readonly rights: ClientRights
  readonly check: PacketCheck
}

export class AedesConnection implements PacketSink, StreamOwner, Leaving, Connecting {
  readonly id: string
  readonly remoteAddress: string
  readonly #parts: AedesParts
  readonly #socket: GatewaySocket
  readonly #handle: Handle
  readonly #gone: () => void
  readonly #splitter: FrameSplitter
  readonly #ending = new AbortController()
  #state: State = 'new'
  #version: Version | undefined
  #admitted: Admitted | undefined
  #stream: PacketStream<AedesConnection> | undefined
  #client: AedesClient | undefined
  #check: PacketCheck | undefined
  /** Epoch ms: the end of the token by which the client logged in. */
  #endsMs: number | undefined
  #sinceMs: number
  #registeredMs = 0
  /** Memory that its CONNECT takes, about. */
  #connectBytes = 0
  /** Messages that aedes has and has not stored, and their bytes. */
  #unstored = 0
  #unstoredBytes = 0
  #isLeaving = false
  /** A packet is being looked through; those behind it wait. */
  #isLooking = false
  /** So many of our own answers wait for the client that it is not read. */
  #isAnswerHeld = false

  constructor(
    parts: AedesParts,
    socket: GatewaySocket,
    handle: Handle,
    id: string,
    gone: () => void,
  ) {
    this.id = id
    this.remoteAddress = socket.remoteAddress
    this.#parts = parts
    this.#socket = socket
    this.#handle = handle
    this.#gone = gone
    this.#splitter = new FrameSplitter(this, CONNECT_BYTES_MAX)
    this.#sinceMs = parts.context.clock.monotonic()
    socket.onData((chunk) => this.#onData(chunk))
    socket.onClose(() => this.#onClose())
    socket.onDrain(() => this.#stream?.onDrain())
    socket.resume()
  }

  get admitted(): Admitted | undefined {
    return this.#admitted
  }

  get principal(): Principal | undefined {
    return this.#admitted?.rights.principal
  }

  get isClean(): boolean {
    return this.#admitted?.packet.clean ?? true
  }

  get filters(): IdHolder['filters'] {
    return this.#admitted?.check.filters ?? []
  }

  packetBegins(first: number): void {
    if (this.#state === 'new' && first >>> 4 !== PACKET.connect) {
      throw silentViolation(`${packetName(first >>> 4)} before CONNECT`)
    }
  }

  packet(first: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.#state === 'closing' || this.#state === 'closed') return true
    const frame = (): Buffer =>
      Buffer.concat([Buffer.of(first), encodeVarint(end - start), bytes.subarray(start, end)])
    if (this.#check !== undefined) {
      this.#heard()
      const verdict = this.#check.look(first, bytes, start, end)
      if (verdict === 'drop') return !this.#isAnswerHeld
      if (verdict === 'pass') return this.#pass(frame())
      const whole = frame()
      this.#isLooking = true
      void verdict.then(
        () => this.#lookedAt(whole),
        (error: unknown) => this.#failed(error),
      )
      return false
    }
    const packet = decodeConnect(first, bytes, start, end)
    this.#version = packet.version
    this.#state = 'connecting'
    this.#connectBytes = (end - start) * CONNECT_DECODED_FACTOR
    this.#open(packet, frame()).catch((error: unknown) => this.#refuse(error))
    return false
  }

  /** One of CONNECT is answered once its version is known. */
  oversized(first: number, packetBytes: number, bytesMax: number): number {
    if (this.#check !== undefined) return this.#check.oversized(first, packetBytes, bytesMax)
    if (this.#state === 'new') return VERSION_BYTES
    throw packetTooLarge(packetBytes, bytesMax)
  }

  beginning(first: number, bytes: Buffer, start: number, end: number): void {
    if (this.#check === undefined) {
      throw new ConnectRefused(versionOf(bytes, start, end), connectTooLarge())
    }
    this.#heard()
    this.#check.beginning(first, bytes, start, end)
  }

  crowdedOut(): void {
    this.#version ??= incompleteVersion(this.#splitter.incomplete)
    if (this.#version === undefined) this.#end()
    else this.#refuse(new BrokerError('BUSY', 'too many connections are being opened'))
  }

  onRead(): void {
    if (this.#isServed) setImmediate(() => this.#readOn())
  }

  onEnd(): void {
    this.#end()
  }

  /** aedes has a message, or an end of it: there is room for others. */
  stored(bytes: number): void {
    this.#unstored = Math.max(0, this.#unstored - 1)
    this.#unstoredBytes = Math.max(0, this.#unstoredBytes - bytes)
    if (this.#isLeaving && this.#unstored === 0) setImmediate(() => this.#end())
    else if (!this.#isFull) setImmediate(() => this.#readOn())
  }

  /** May it have one more filter, and this one? */
  maySubscribe(filter: string, qos: number): boolean {
    const { rights, check } = this.#admitted!
    return rights.maySubscribe(filter) && check.hasRoomFor(filter, qos)
  }

  /** What the client has asked for rests on what its user was allowed before. */
  onUserChanged(user: string): void {
    const { principal } = this
    if (principal === undefined || principal.anonymous || principal.name !== user) return
    this.#failed(userChanged(user))
  }

  get isBusy(): boolean {
    return this.#unstored > 0
  }

  get unsentBytes(): number {
    return this.#socket.unsentBytes
  }

  /** The gateway closes: what was sent is answered, nothing more is read. */
  shutDown(): void {
    this.#isLeaving = true
    this.#socket.pause()
    if (this.#unstored === 0) this.#end()
  }

  destroy(): void {
    this.#end()
    this.#socket.destroy()
  }

  /** Called a few times a second. */
  sweep(nowMs: number): void {
    const { clock } = this.#parts.context
    const age = nowMs - this.#sinceMs
    if (this.#state === 'new' && age >= this.#parts.options.connectTimeoutMs) this.destroy()
    else if (this.#state === 'closing' && age >= LINGER_MS) this.destroy()
    else if (this.#state === 'left' && age >= LINGER_MS) this.#end()
    else if (this.#state === 'open') {
      if (this.#endsMs !== undefined && clock.now() >= this.#endsMs) this.#failed(tokenExpired())
      else if (nowMs - this.#registeredMs >= REGISTER_EVERY_MS) this.#register(nowMs)
    }
  }

  #onData(chunk: Buffer): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    this.#guarded(() => this.#splitter.push(chunk))
    if (this.#state !== 'new' && this.#state !== 'connecting') return
    this.#parts.connecting.hold(this, this.#connectBytes + this.#splitter.waitingBytes)
  }

  #guarded(read: () => void): void {
    try {
      read()
    } catch (error) {
      if (error instanceof UnsupportedVersion) {
        this.#socket.write(error.answer)
        this.#end()
      } else if (error instanceof ConnectRefused) {
        this.#version = error.version
        this.#refuse(error)
      } else if (error instanceof ProtocolError) this.#failed(error)
      else throw error
    }
    this.#setReading()
  }

  async #open(packet: ConnectPacket, frame: Buffer): Promise<void> {
    const { context, options, kept } = this.#parts
    if (packet.version === 5) {
      throw new ProtocolError(REASON.unsupportedVersion, 'aedes does not speak MQTT 5')
    }
    const terms = termsOf(packet, options, this.#socket.certifiedUser)
    const principal = await authenticate(packet, context, this.#socket, this.#ending.signal)
    if (this.#state !== 'connecting') return
    if (!isCurrent(context.auth, principal)) throw userChanged(principal.name)
    const rights = new ClientRights(this.#parts, principal)
    const check = new PacketCheck(this.#parts, rights, {
      version: packet.version,
      fields: { clientId: terms.clientId, remote: this.remoteAddress },
      answer: (bytes) => this.#answer(bytes),
      taken: (bytes) => this.#taken(bytes),
    })
    if (terms.will !== undefined) check.checkWill(terms.will)
    const { clientId } = terms
    const holder = this.#parts.holders.get(clientId)
    if (holder !== undefined) {
      checkOwner(context.auth, clientId, principal, ownerName(holder.principal!))
    }
    kept.check(clientId, principal, packet.clean)
    this.#admitted = { packet, terms, rights, check }
    this.#parts.holders.set(clientId, this)
    await kept.ended(clientId)
    if (packet.clean) await kept.drop(clientId)
    else await kept.keep(clientId, ownerName(principal))
    if (this.#state !== 'connecting') return
    const password = packet.password?.toString()
    this.#endsMs = password === undefined ? undefined : context.auth.endOf(password)
    this.#handOver(frame, this.#admitted)
  }

  #handOver(frame: Buffer, { check }: Admitted): void {
    const { options } = this.#parts
    const stream = new PacketStream<AedesConnection>(
      this,
      this.#socket,
      options.undeliveredBytesMax,
    )
    this.#stream = stream
    const client = this.#handle(stream)
    this.#client = client
    client.once('connected', () => {
      if (this.#state !== 'connecting') return
      this.#state = 'open'
      this.#check = check
      this.#parts.connecting.leave(this)
      this.#splitter.packetBytesMax = options.packetBytesMax
      this.#register(this.#parts.context.clock.monotonic())
      setImmediate(() => this.#readOn())
    })
    stream.push(frame)
  }

  /** Its keep-alive begins anew: aedes does not see each packet, nor at once. */
  #heard(): void {
    this.#client!._keepaliveTimer?.refresh()
  }

  /** False: aedes has enough for now. */
  #pass(frame: Buffer): boolean {
    return this.#stream!.push(frame) && !this.#isFull
  }

  #answer(bytes: Buffer): void {
    const stream = this.#stream!
    if (stream.write(bytes) || this.#isAnswerHeld) return
    this.#isAnswerHeld = true
    stream.once('drain', () => {
      this.#isAnswerHeld = false
      this.#readOn()
      this.#setReading()
    })
  }

  #taken(bytes: number): void {
    this.#unstored++
    this.#unstoredBytes += bytes
  }

  get #isFull(): boolean {
    return this.#unstoredBytes > this.#parts.options.unstoredBytesMax
  }

  /** aedes has the client and is given its packets. */
  get #isServed(): boolean {
    return this.#state === 'open' || this.#state === 'left'
  }

  #lookedAt(frame: Buffer): void {
    this.#isLooking = false
    if (!this.#isServed) return
    this.#stream!.push(frame)
    this.#readOn()
  }

  #readOn(): void {
    if (!this.#isServed || this.#isLooking || this.#isFull || this.#isAnswerHeld) return
    if (this.#splitter.isHeld) this.#guarded(() => this.#splitter.resume())
    if (this.#state === 'left' && !this.#splitter.isHeld) this.#stream!.push(null)
  }

  #setReading(): void {
    if (this.#state === 'left' || this.#state === 'closing' || this.#state === 'closed') return
    // Until it is answered it is read while that costs nothing, so that its end is noticed.
    const isStopped =
      this.#state === 'connecting' ? this.#splitter.waitingBytes > 0 : this.#splitter.isHeld
    if (isStopped || this.#isAnswerHeld || this.#isLeaving) this.#socket.pause()
    else this.#socket.resume()
  }

  /** CONNACK with a code, then the end. */
  #refuse(error: unknown): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    const fields = { evt: 'mqtt.connect_refused', connection: this.id, remote: this.remoteAddress }
    this.#parts.context.log.debug({ ...fields, err: error }, 'a connection was refused')
    const version = this.#version!
    const connack =
      version === 5 && error instanceof ProtocolError
        ? encodeConnack(5, false, error.reason)
        : refusedConnack(version, error, Number.POSITIVE_INFINITY)
    if (connack !== undefined && this.#stream === undefined) this.#socket.write(connack)
    this.#end()
  }

  #failed(error: unknown): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    const fields = { evt: 'mqtt.protocol_error', connection: this.id, remote: this.remoteAddress }
    this.#parts.context.log.debug({ ...fields, err: error }, 'a connection is closed')
    this.#end()
  }

  #register(nowMs: number): void {
    this.#registeredMs = nowMs
    const { clients } = this.#parts.context.broker
    const { packet, terms } = this.#admitted!
    clients
      .register({
        ...{ clientId: terms.clientId, connectionId: this.id, protocol: 'mqtt', language: 'MQTT' },
        address: `${this.remoteAddress}:${this.#socket.remotePort}`,
        version: packet.version,
        ...{ consumers: [], producerGroups: [] },
      })
      // It may have ended since, and the registry may have heard of that first.
      .then(() => (this.#state === 'open' ? undefined : clients.unregister(this.id)))
      .catch((error: unknown) => {
        const { log } = this.#parts.context
        log.warn({ evt: 'mqtt.register_failed', err: error }, 'registering a client failed')
      })
  }

  /** The connection's part of aedes ends now; the socket when its last bytes are sent. */
  #end(): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    const hasLeft = this.#state === 'left'
    this.#state = 'closing'
    this.#sinceMs = this.#parts.context.clock.monotonic()
    this.#letGo()
    if (hasLeft) {
      this.#onClose()
      return
    }
    this.#socket.end()
    // Further input is read and thrown away, so that the last bytes sent are not lost to a reset.
    this.#socket.resume()
  }

  #letGo(): void {
    const { connecting, holders, kept, context } = this.#parts
    connecting.leave(this)
    this.#splitter.discard()
    this.#ending.abort(new BrokerError('CLOSED', 'the connection has ended'))
    this.#stream?.destroy()
    this.#client?.close()
    const admitted = this.#admitted
    if (admitted === undefined) return
    const { clientId } = admitted.terms
    const isLast = holders.get(clientId) === this
    if (isLast) holders.delete(clientId)
    const saved =
      isLast && !admitted.packet.clean
        ? kept.keep(clientId, ownerName(admitted.rights.principal))
        : undefined
    Promise.all([saved, context.broker.clients.unregister(this.id)]).catch((error: unknown) => {
      context.log.warn({ evt: 'mqtt.unregister_failed', err: error }, 'a client stays registered')
    })
  }

  #onClose(): void {
    if (this.#state === 'closed') return
    if (this.#state === 'open' && this.#hasUnread) {
      this.#state = 'left'
      this.#sinceMs = this.#parts.context.clock.monotonic()
      this.#stream!.onDrain()
      this.#readOn()
      return
    }
    const isLetGo = this.#state === 'closing'
    this.#state = 'closed'
    if (!isLetGo) this.#letGo()
    this.#gone()
  }

  /** A DISCONNECT may be among it, without which the will goes out. */
  get #hasUnread(): boolean {
    return this.#stream!.readableLength > 0 || this.#splitter.isHeld
  }
}
