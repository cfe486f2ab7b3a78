// One AMQP peer, from its first byte to its last: shares its frames out between the handshake, the
// control plane (rhea) and the sessions, keeps reading and writing within bounds, and ends the
// connection for any reason, by AMQP's close where it may.

import {
  isCurrent,
  ownerName,
  type Principal,
  tokenExpired,
  userChanged,
} from '../../access/auth.ts'
import type { Clock, Timer } from '../../clock.ts'
import type { Logger } from '../../log.ts'
import { type Host, hostOf } from '../../model/host.ts'
import { BLOCK_BYTES, Output } from '../../output.ts'
import type { Broker } from '../../port/broker.ts'
import type { AmqpLinkView, GatewaySocket } from '../../port/gateway.ts'
import type { Traffic } from '../../port/traffic.ts'
import { AmqpClient } from './client.ts'
import type { SolePolicy } from './codec/control-frames.ts'
import {
  type OpenFrame,
  type PeerError,
  readFieldList,
  readGoodbye,
  readOpen,
} from './codec/control-frames.ts'
import { type FrameSink, FrameSplitter } from './codec/frame-splitter.ts'
import { CODE, descriptorCode, FRAME_AMQP, FRAME_HEADER_BYTES } from './codec/performatives.ts'
import type { ConnectionShare } from './connection-share.ts'
import type { ConnectedContainer } from './control/containers.ts'
import { ControlPlane, type ControlSink, type OpenRequest } from './control/control-plane.ts'
import { AmqpError, CONDITION, describeError, elsewhere } from './errors.ts'
import { Handshake, type HandshakePeer } from './handshake.ts'
import {
  CLOSE_GRACE_MS,
  FRAME_BYTES_MIN,
  HANDSHAKE_FRAME_BYTES_MAX,
  READ_AHEAD_BYTES_MAX,
  READ_BYTES_MAX,
} from './limits.ts'
import { type Ingest, openIngest } from './links/ingest.ts'
import type { Peer } from './links/link.ts'
import { UnsettledBudget } from './links/unsettled-budget.ts'

/** handshake -> opening -> open -> closing (goodbye was said) -> closed. */
type Stage = 'handshake' | 'opening' | 'open' | 'closing' | 'closed'

/** A peer whose open did not come or could not be read. */
const NOBODY: OpenRequest = {
  containerId: '',
  hostname: undefined,
  maxFrameSize: FRAME_BYTES_MIN,
  channelMax: 0,
  idleTimeoutMs: undefined,
}

export class AmqpConnection
  implements Peer, HandshakePeer, FrameSink, ControlSink, ConnectedContainer
{
  readonly broker: Broker
  readonly clock: Clock
  readonly log: Logger
  readonly traffic: Traffic
  readonly connectionId: string
  readonly remoteAddress: string
  readonly bornHost: Host
  readonly output: Output
  readonly unsettled: UnsettledBudget
  readonly messageBytesMax: number
  /** Set by the handshake, before anything asks. */
  principal!: Principal
  containerId = ''
  solePolicy: SolePolicy | undefined
  sendFrameBytesMax = FRAME_BYTES_MIN
  readonly #share: ConnectionShare
  readonly #socket: GatewaySocket
  readonly #gone: () => void
  readonly #splitter: FrameSplitter
  readonly #handshake: Handshake
  readonly #control: ControlPlane
  readonly #ingest: Ingest
  /** From its `open` on. */
  #client: AmqpClient | undefined
  #stage: Stage = 'handshake'
  #deadline: Timer
  #touchedMs = 0
  /** Epoch ms: the end of the token by which the peer logged in. */
  #endsMs: number | undefined
  #isPaused = true
  /** The peer did wrong: nothing it sends is read any more. */
  #isDeaf = false
  /** The close is sent as soon as received messages are stored and answered. */
  #isLeaving = false

  constructor(
    socket: GatewaySocket,
    connectionId: string,
    share: ConnectionShare,
    gone: () => void,
  ) {
    const { context, limits } = share
    this.broker = context.broker
    this.clock = context.clock
    this.log = context.log
    this.traffic = share.traffic
    this.connectionId = connectionId
    this.remoteAddress = socket.remoteAddress
    this.bornHost = hostOf(socket.remoteAddress, socket.remotePort)
    this.messageBytesMax = limits.messageBytesMax
    this.#share = share
    this.#socket = socket
    this.#gone = gone
    this.output = new Output(socket)
    this.unsettled = new UnsettledBudget(() => {
      share.line.handleLater(0, () => this.#client?.sessions.pump())
    })
    this.#splitter = new FrameSplitter(this, HANDSHAKE_FRAME_BYTES_MAX)
    this.#handshake = new Handshake(this, context.auth, limits.authFailureDelayMs)
    const { unstoredBytesMax } = limits
    this.#ingest = openIngest(this, share.budget, unstoredBytesMax, () => this.#regulate())
    this.#control = this.#newControlPlane()
    this.#deadline = context.clock.after(limits.handshakeMs, () => {
      this.drop(`no open within ${limits.handshakeMs} ms`)
    })
    socket.onData((chunk) => this.#onData(chunk))
    socket.onClose((error) => this.#onSocketClose(error))
    socket.onDrain(() => this.#client?.sessions.pump())
    this.#regulate()
  }

  #newControlPlane(): ControlPlane {
    const { container, containerId, limits, product } = this.#share
    const options = {
      containerId,
      frameBytesMax: limits.frameBytesMax,
      channelMax: limits.channelsMax - 1,
      idleTimeoutMs: limits.idleMs / 2,
      product,
    }
    return new ControlPlane(container, options, this)
  }

  get certifiedUser(): string | undefined {
    return this.#socket.certifiedUser
  }

  get isWritable(): boolean {
    if (this.#stage === 'closed') return false
    return this.output.unsentBytes < this.#share.limits.sendAheadBytesMax
  }

  get readBytesMax(): number {
    const links = Math.max(1, this.#client?.sessions.linkCount ?? 0)
    return Math.min(READ_BYTES_MAX, Math.ceil(READ_AHEAD_BYTES_MAX / links))
  }

  // ---- bytes in

  #onData(chunk: Buffer): void {
    if (this.#isDeaf || this.#stage === 'closed') return
    // One copy serves every message of the chunk; before `open` there are none.
    const bytes = this.#stage === 'open' ? Buffer.from(chunk) : chunk
    this.#guard(() => this.#splitter.push(bytes))
    this.#touch()
  }

  /** Runs the work of the peer's bytes, and ends the connection for an error in them. */
  #guard(work: () => void): void {
    try {
      work()
    } catch (error) {
      if (!(error instanceof AmqpError)) throw error
      this.#fail(error)
    }
    this.#ingest.flush()
    this.#regulate()
  }

  /**
   * Reads the held bytes now, or in a later turn when this one has used its time: a chunk has room
   * for 700 attaches.
   */
  resume(): void {
    this.inTurn(() => {
      if (this.#stage !== 'closed') this.#guard(() => this.#splitter.resume())
    })
  }

  inTurn(work: () => void): void {
    const { line } = this.#share
    if (line.isSpent(0)) line.handleLater(0, work)
    else work()
  }

  expectHeader(): void {
    this.#splitter.expectHeader()
  }

  /** rhea sees no data frames, and would take a busy peer for a silent one. */
  #touch(): void {
    if (this.#stage !== 'open') return
    const now = this.clock.monotonic()
    if (now - this.#touchedMs < this.#share.limits.idleMs / 8) return
    this.#touchedMs = now
    this.#control.touch()
  }

  /** Reads while nothing that came before has to be waited for and the disk keeps up. */
  #regulate(): void {
    // Before `open` the socket is read while that costs nothing, so that its end is noticed during
    // the login.
    const isHeld =
      this.#splitter.isHeld && (this.#stage !== 'handshake' || this.#splitter.keptBytes > 0)
    const mustWait = isHeld || this.#ingest.isFull || this.#isLeaving
    // A peer whose frames are ignored is still read, or its end would not be noticed.
    const isPaused = mustWait && !this.#isDeaf
    if (isPaused === this.#isPaused || this.#stage === 'closed') return
    this.#isPaused = isPaused
    if (isPaused) this.#socket.pause()
    else this.#socket.resume()
  }

  onHeader(id: number): boolean {
    return this.#handshake.onHeader(id)
  }

  onAuthenticated(principal: Principal, endsMs: number | undefined): void {
    this.principal = principal
    this.#endsMs = endsMs
    this.#stage = 'opening'
    this.#control.start()
  }

  onFrame(type: number, channel: number, bytes: Buffer, at: number, end: number): boolean {
    if (!this.#handshake.isDone) return this.#handshake.onFrame(type, bytes, at, end)
    if (type !== FRAME_AMQP) {
      throw new AmqpError(CONDITION.framingError, `a frame of type ${type} after the handshake`)
    }
    if (at === end) return true
    const code = descriptorCode(bytes, at, end)
    if (this.#stage === 'open') {
      if (code === CODE.close) {
        this.#onClose(readGoodbye(readFieldList('close', bytes, at, end)))
        return true
      }
      return this.#client?.sessions.onFrame(code, channel, bytes, at, end) ?? true
    } else if (this.#stage === 'opening') {
      if (code !== CODE.open) {
        throw new AmqpError(CONDITION.notAllowed, 'the first frame of a connection is open')
      }
      this.#onOpen(readOpen(readFieldList('open', bytes, at, end)))
    } else if (code === CODE.close) {
      this.#control.peerClosed()
    }
    return true
  }

  // ---- open and close

  #onOpen(open: OpenFrame): void {
    const { limits, context } = this.#share
    if (open.maxFrameSize < FRAME_BYTES_MIN) {
      throw new AmqpError(CONDITION.invalidField, `open.max-frame-size below ${FRAME_BYTES_MIN}`)
    }
    if (!isCurrent(context.auth, this.principal)) {
      const { message } = userChanged(this.principal.name)
      throw new AmqpError(CONDITION.unauthorized, message)
    }
    if (context.master !== undefined) throw elsewhere(context.master('amqp'))
    this.containerId = open.containerId
    this.solePolicy = open.solePolicy
    this.#share.containers.enter(this)
    this.#deadline.cancel()
    this.#stage = 'open'
    this.#touchedMs = this.clock.monotonic()
    this.sendFrameBytesMax = Math.min(open.maxFrameSize, BLOCK_BYTES)
    this.#splitter.frameBytesMax = limits.frameBytesMax
    this.#client = new AmqpClient(open, {
      ...{ peer: this, share: this.#share, control: this.#control, ingest: this.#ingest },
      remote: this.#remote,
      resume: () => this.resume(),
      failed: (error) => this.failed(error),
    })
    this.#control.open(open, { isSole: open.solePolicy !== undefined })
  }

  #onClose(error: PeerError | undefined): void {
    if (error !== undefined) {
      const fields = { evt: 'amqp.peer_closed', connectionId: this.connectionId }
      this.log.debug({ ...fields, condition: error.condition }, error.description)
    }
    this.#stage = 'closing'
    this.#letGo(error !== undefined)
    this.#control.peerClosed()
    this.#startGrace()
  }

  /** Messages that it sent are still being stored. */
  get isBusy(): boolean {
    return this.#isLeaving
  }

  get unsentBytes(): number {
    return this.output.unsentBytes
  }

  /** Reads no more, answers received messages, and sends the close. */
  shutDown(): void {
    if (this.#stage !== 'open') {
      this.drop('the broker is shutting down')
      return
    }
    this.#isLeaving = true
    this.#regulate()
    const discharged = this.#client?.transactions.whenIdle()
    void Promise.all([this.#ingest.whenIdle(), discharged]).then(() => this.#sayGoodbye())
  }

  /** The socket closes when the peer answered or the grace is over. */
  #sayGoodbye(): void {
    this.#isLeaving = false
    if (this.#stage !== 'open') return
    this.#stage = 'closing'
    this.#letGo(false)
    const description = 'the broker is shutting down'
    this.#control.close({ condition: CONDITION.connectionForced, description })
    this.#regulate()
    this.#startGrace()
  }

  /** A mistake for which the whole connection goes. */
  #fail(error: AmqpError): void {
    const { condition, message } = error
    const fields = { evt: 'amqp.refused', remote: this.remoteAddress, condition }
    this.log.debug(fields, message)
    // A peer that has sent its header can read a close; ours needs an open before it (AMQP 2.4.3).
    if (this.#stage === 'opening') this.#control.open(NOBODY, { isRefused: true })
    else if (this.#stage !== 'open') {
      this.drop(message)
      return
    }
    this.#stage = 'closing'
    this.#isDeaf = true
    this.#letGo(true)
    this.#control.close(describeError(error))
    this.#startGrace()
  }

  /** What its links do rests on what the user was allowed when they were attached. */
  onUserChanged(user: string): void {
    const principal: Principal | undefined = this.principal
    if (principal === undefined || principal.anonymous || principal.name !== user) return
    if (this.#stage !== 'open' && this.#stage !== 'opening') return
    this.evict(new AmqpError(CONDITION.unauthorized, userChanged(user).message))
  }

  get user(): string {
    return this.principal.name
  }

  evict(error: AmqpError): void {
    this.#fail(error)
    this.#regulate()
  }

  /** Without an AMQP close: pending output is sent and the socket closes. */
  drop(reason: string): void {
    if (this.#stage === 'closed') return
    this.log.debug({ evt: 'amqp.dropped', remote: this.remoteAddress }, reason)
    this.#stage = 'closing'
    this.#isDeaf = true
    this.#letGo(true)
    this.end()
    this.#regulate()
    this.#startGrace()
  }

  #startGrace(): void {
    this.#deadline.cancel()
    this.#deadline = this.clock.after(CLOSE_GRACE_MS, () => this.destroy())
  }

  /** `isLost`: the peer did not say goodbye, or with an error, or did wrong. */
  #letGo(isLost: boolean): void {
    this.#handshake.close()
    this.#share.containers.leave(this)
    this.#client?.close(isLost)
  }

  #onSocketClose(error: Error | undefined): void {
    if (this.#stage === 'closed') return
    this.#stage = 'closed'
    this.#deadline.cancel()
    this.output.close()
    const fields = { evt: 'amqp.closed', remote: this.remoteAddress, error: error?.message }
    this.log.debug(fields, 'connection closed')
    // Many may be lost at once, each with a thousand links.
    this.inTurn(() => {
      this.#letGo(true)
      this.#control.lost()
      this.#gone()
    })
  }

  // ---- what rhea wants done

  write(frame: Buffer): void {
    this.output.push(frame)
    const code = frame.length > FRAME_HEADER_BYTES + 2 ? frame[FRAME_HEADER_BYTES + 2] : undefined
    // A peer that did wrong is not waited for.
    if (code === CODE.close && this.#isDeaf) this.end()
  }

  attached(channel: number, handle: number): void {
    this.#client?.sessions.activate(channel, handle)
  }

  end(): void {
    this.output.flush()
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  failed(error: Error): void {
    this.log.error({ evt: 'amqp.control_failed', err: error }, 'the control plane failed')
    this.destroy()
  }

  /** For operators. */
  *links(): Generator<AmqpLinkView> {
    const { connectionId, containerId } = this
    const user = ownerName(this.principal)
    for (const link of this.#client?.sessions.links() ?? []) {
      yield { connectionId, containerId, user, remote: this.#remote, ...link }
    }
  }

  get #remote(): string {
    return `${this.#socket.remoteAddress}:${this.#socket.remotePort}`
  }

  // ---- time

  /** Every few seconds: a token or locks that ran out. */
  sweep(): void {
    if (this.#stage === 'open' && this.#endsMs !== undefined && this.clock.now() >= this.#endsMs) {
      this.evict(new AmqpError(CONDITION.unauthorized, tokenExpired().message))
      return
    }
    this.inTurn(() => this.#client?.sessions.expire(this.clock.monotonic()))
  }

  /** Before the client registry forgets. */
  renew(): void {
    this.#client?.presence.renew()
  }
}
