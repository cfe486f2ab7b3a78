// One native peer: cuts its bytes into commands, checks its identity, serves each command or
// gathers it into the chunk's batch of sends, and writes the answers. The meaning of a command is
// in requests/.
import { setMaxListeners } from 'node:events'
import type { Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { hostOf } from '../../model/host.ts'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'
import type { NewMessage } from '../../model/message.ts'
import type { GatewayContext, GatewaySocket } from '../../port/gateway.ts'
import { FLAG_ONE_WAY, FLAG_RESPONSE, REQUEST, RESPONSE } from '../../remoting/codes.ts'
import {
  type Command,
  decodeCommand,
  encodeCommand,
  requestHeader,
  responseHeader,
} from '../../remoting/command.ts'
import { HeaderScan } from '../../remoting/fast/header-scan.ts'
import { scanPull } from '../../remoting/fast/pull-scan.ts'
import type { SendResponses } from '../../remoting/fast/send-response.ts'
import { SignedScan } from '../../remoting/fast/signed-scan.ts'
import {
  CODEC_JSON,
  FRAME_BYTES_MAX,
  FRAME_BYTES_MAX_UNAUTHENTICATED,
  FrameSplitter,
  type HeaderCodec,
  messageFrameBytes,
  REQUEST_HEADER_BYTES_MAX,
} from '../../remoting/frame.ts'
import type { LargeFrames } from '../../remoting/large-frames.ts'
import { readFields } from '../../remoting/layout.ts'
import { Outbox } from '../../remoting/outbox.ts'
import { PARTIAL_BYTES_PER_MS, type PartialFrames } from '../../remoting/partial-frames.ts'
import { SEND, SEND_V2 } from '../../remoting/requests/send.ts'
import type { Principal } from '../access/auth.ts'
import type { Answer, Call, Push } from './call.ts'
import { isOurFault, pullResponseCodeOf, responseCodeOf } from './errors.ts'
import { FastSend } from './fast-send.ts'
import { Inflation } from './inflation.ts'
import { messagesOf } from './message.ts'
import { PeerIdentity } from './peer-identity.ts'
import { ReadBudget } from './read-budget.ts'
import { type PullCall, servePull } from './requests/pull.ts'
import { isLongRequest, isStartedOnly, requestTable } from './requests/table.ts'
import { SendBatch } from './send-batch.ts'
import { Session } from './session.ts'

/** Message bytes that wait for the disk; beyond, the peer is not read. */
const PUBLISHING_BYTES_MAX = 8 * 1024 * 1024
/** Answers that the peer has not taken; beyond, it is not read. */
const UNSENT_BYTES_MAX = 4 * 1024 * 1024
/** Answers to requests read before the reading stopped; no real client asks for so much ahead. */
const ANSWERED_BYTES_MAX = 64 * 1024 * 1024
/** Commands being served, held pulls among them; beyond, the peer is told to slow down. */
const SERVING_MAX = 16_384
/** Their bytes; beyond, the peer is not read. An honest command that waits has half a KiB. */
const SERVING_BYTES_MAX = 16 * 1024 * 1024

/**
 * Of a request that is no send: such a body is parsed as a whole, and everything in it served, in
 * one turn of the event loop. 1,800 subscriptions of a heartbeat, or 5,000 queues to lock, have
 * room.
 */
const REQUEST_BODY_BYTES_MAX = 256 * 1024
/**
 * Requests of one chunk that are neither sends nor plain pulls are served for so long; the rest
 * waits its turn.
 */
const CHUNK_MS_MAX = 10

export interface RemotingDeadlines {
  /** A connection without a command for this long is closed. Clients send heartbeats every 30 s. */
  readonly idleMs: number
  /**
   * From the first byte to the first whole command, or to the first signed one; more for a large
   * one that comes.
   */
  readonly introductionMs: number
}

export interface ConnectionOptions {
  readonly context: GatewayContext
  readonly responses: SendResponses
  readonly connectionId: string
  /** Longest body of a message. */
  readonly bodyBytesMax: number
  readonly largeFrames: LargeFrames
  readonly partialFrames: PartialFrames
  readonly onGroups: (
    connection: Connection,
    joined: readonly string[],
    left: readonly string[],
  ) => void
  readonly tellAgain: (group: string) => void
  readonly onGone: (connection: Connection) => void
}

/** The fields of a request that its answer needs. */
type Asked = Pick<Command, 'code' | 'opaque' | 'codec' | 'flag'>

/** Chunks are taken one after the other, so all connections share these. */
const scan = new HeaderScan()
const fastSend = new FastSend(scan)
const signed = new SignedScan(scan)
const inflation = new Inflation()
const FAST_CODES: ReadonlySet<number> = new Set([
  REQUEST.sendMessageV2,
  REQUEST.pullMessage,
  REQUEST.litePullMessage,
])

export class Connection {
  readonly session: Session
  readonly #socket: GatewaySocket
  readonly #options: ConnectionOptions
  readonly #outbox: Outbox
  readonly #splitter: FrameSplitter
  readonly #sends: SendBatch
  readonly #identity: PeerIdentity
  readonly #reads: ReadBudget
  readonly #looks: ReadBudget
  /** Once the peer may send large frames. */
  readonly #frameBytesMax: number
  readonly #gone = new AbortController()
  /** Of the send that is being read. */
  #sender: Principal | undefined
  #pushOpaque = 0
  #serving = 0
  #servingBytes = 0
  #publishingBytes = 0
  #isPaused = false
  #isServingLong = false
  #isClosing = false
  /** When the peer was last heard, monotonic ms. */
  heardMs: number
  /** When its first byte came; the listener closes one that sends nothing at all. */
  #firstHeardMs: number | undefined
  #hasSentFrame = false
  /** A wrong signature is answered then, and the connection ends. */
  #lateAnswer: Timer | undefined

  constructor(socket: GatewaySocket, options: ConnectionOptions) {
    const { context, responses } = options
    this.#socket = socket
    this.#options = options
    this.heardMs = context.clock.monotonic()
    this.session = new Session({
      connectionId: options.connectionId,
      address: `${socket.remoteAddress}:${socket.remotePort}`,
      host: hostOf(socket.remoteAddress, socket.remotePort),
      onGroups: (joined, left) => options.onGroups(this, joined, left),
      tellAgain: options.tellAgain,
    })
    this.#outbox = new Outbox(socket, () => this.#onSent())
    this.#reads = new ReadBudget(UNSENT_BYTES_MAX, () => this.#outbox.unsentBytes)
    const largest = Math.max(BODY_BYTES_DEFAULT, options.bodyBytesMax)
    this.#frameBytesMax = Math.max(FRAME_BYTES_MAX, messageFrameBytes(largest))
    // As many at a time as have together what 16 of the default size have.
    this.#looks = new ReadBudget(UNSENT_BYTES_MAX * (BODY_BYTES_DEFAULT / largest), () => 0)
    this.#identity = new PeerIdentity(context.auth)
    this.#splitter = new FrameSplitter(
      this.#onFrame,
      context.auth.anonymousAllowed ? this.#frameBytesMax : FRAME_BYTES_MAX_UNAUTHENTICATED,
      REQUEST_HEADER_BYTES_MAX,
      (bytes) => options.largeFrames.admit(this, bytes, () => socket.destroy()),
      (bytes) => options.partialFrames.hold(this, bytes, () => socket.destroy()),
    )
    this.#sends = new SendBatch({
      context,
      outbox: this.#outbox,
      responses,
      onBytes: (change) => {
        this.#publishingBytes += change
        this.#balance()
      },
    })
    setMaxListeners(0, this.#gone.signal)
    socket.onData(this.#onData)
    socket.onDrain(() => this.#onSent())
    socket.onClose(() => this.#onClose())
    socket.resume()
  }

  get isBusy(): boolean {
    return this.#serving > 0 || this.#publishingBytes > 0
  }

  get unsentBytes(): number {
    return this.#outbox.unsentBytes
  }

  /** Nothing is being served and nothing waits to be sent. */
  get isIdle(): boolean {
    return !this.isBusy && this.unsentBytes === 0
  }

  /**
   * Why the peer should go, if it should: it was silent for too long, or did not show in time what
   * it is, by a whole command, and a signed one where there are users. Bytes that make no command
   * show nothing.
   */
  overdue(nowMs: number, { idleMs, introductionMs }: RemotingDeadlines): string | undefined {
    if (nowMs - this.heardMs >= idleMs) return `sent nothing for ${idleMs} ms`
    const isKnown = this.#options.context.auth.anonymousAllowed
      ? this.#hasSentFrame
      : this.#identity.isVerified
    const allowedMs =
      introductionMs + Math.floor(this.#splitter.partialBytes / PARTIAL_BYTES_PER_MS)
    if (isKnown || nowMs - (this.#firstHeardMs ?? nowMs) < allowedMs) return undefined
    return `did not show what it is within ${introductionMs} ms`
  }

  /** A one-way request of ours. */
  push({ code, fields, body }: Push): void {
    this.#pushOpaque = (this.#pushOpaque + 1) | 0
    const header = requestHeader({ code, opaque: this.#pushOpaque, fields, oneWay: true })
    this.#outbox.push(encodeCommand(header, body))
  }

  /** Ends held pulls and refuses new commands; messages being published are still answered. */
  retire(): void {
    this.#isClosing = true
    this.#gone.abort()
  }

  end(): void {
    this.#outbox.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  readonly #onData = (chunk: Buffer): void => {
    this.heardMs = this.#options.context.clock.monotonic()
    this.#firstHeardMs ??= this.heardMs
    fastSend.reset()
    inflation.reset()
    try {
      const taken = this.#splitter.push(chunk)
      if (taken < chunk.length) this.#socket.handBack(chunk.subarray(taken))
    } catch (error) {
      if (this.#lateAnswer === undefined) this.#refusePeer(BrokerError.from(error))
    }
    this.#sends.flush()
    this.#balance()
  }

  readonly #onFrame = (
    bytes: Buffer,
    headerAt: number,
    bodyAt: number,
    end: number,
    codec: HeaderCodec,
  ): void => {
    this.#options.largeFrames.release(this)
    this.#hasSentFrame = true
    if (
      codec === CODEC_JSON &&
      scan.scan(bytes, headerAt, bodyAt) &&
      this.#serveFast(headerAt, bodyAt, end)
    ) {
      return
    }
    const command = decodeCommand(bytes, headerAt, bodyAt, end, codec)
    // We push one-way requests only, so an answer belongs to nothing.
    if ((command.flag & FLAG_RESPONSE) !== 0) return
    try {
      this.#serve(command, end - headerAt)
    } catch (error) {
      const delayMs = this.#identity.delayMs(
        command,
        BrokerError.from(error),
        this.#socket.remoteAddress,
      )
      if (delayMs === 0) this.#answerError(command, error)
      else {
        this.#answerLate(command, error, delayMs)
        // Nothing else that came with it is looked at.
        throw error
      }
    }
  }

  #answerLate({ code, opaque, codec, flag }: Command, error: unknown, delayMs: number): void {
    this.#lateAnswer = this.#options.context.clock.after(delayMs, () => {
      this.#answerError({ code, opaque, codec, flag }, error)
      this.#outbox.end()
      // Read on, for its end; what else it sends is refused unseen.
      this.#isClosing = true
      this.#lateAnswer = undefined
      this.#balance()
    })
  }

  /**
   * Sends and pulls in their plain form, straight from the scanned header.
   * @returns false for everything else, and for what the general way has to find words for
   */
  #serveFast(headerAt: number, bodyAt: number, end: number): boolean {
    const { code, opaque, flag } = scan
    if (!FAST_CODES.has(code) || this.#isClosing || (flag & FLAG_RESPONSE) !== 0) return false
    const principal = this.#identity.ofScanned(signed, () => scan.bytes.subarray(bodyAt, end))
    if (principal === undefined) return false
    if (this.#identity.isVerified) this.#splitter.frameBytesMax = this.#frameBytesMax
    const isOneWay = (flag & FLAG_ONE_WAY) !== 0
    if (code === REQUEST.sendMessageV2) {
      const message = this.#fastMessage(bodyAt, end, principal)
      if (message !== undefined) this.#sends.addOne(opaque, isOneWay, message)
      return message !== undefined
    }
    const pull = isOneWay || this.#serving >= SERVING_MAX ? undefined : scanPull(scan)
    if (pull === undefined) return false
    const { context } = this.#options
    const { session } = this
    const { signal } = this.#gone
    const reads = this.#reads
    const call: PullCall = { opaque, codec: CODEC_JSON, principal, session, context, reads, signal }
    const asked = { code, opaque, codec: CODEC_JSON, flag: 0 } as const
    this.#settle(asked, bodyAt - headerAt, servePull(call, pull))
    return true
  }

  #fastMessage(bodyAt: number, end: number, principal: Principal): NewMessage | undefined {
    this.#sender = principal
    try {
      return fastSend.message(bodyAt, end, this.session.host, this.#mayPublish)
    } catch {
      // Denied: the general way answers with the reason.
      return undefined
    }
  }

  readonly #mayPublish = (topic: string): boolean => this.#identity.mayPublish(this.#sender!, topic)

  #serve(command: Command, bytes: number): void {
    if (this.#isClosing) {
      throw new BrokerError('CLOSED', 'the broker is shutting down; ask another one or try later')
    }
    const principal = this.#identity.of(command)
    if (this.#identity.isVerified) this.#splitter.frameBytesMax = this.#frameBytesMax
    if (SEND_CODES.has(command.code)) {
      this.#gather(command, principal)
      return
    }
    checkBody(command.body)
    const serve = requestTable.get(command.code)
    if (serve === undefined) {
      const remark = ` request type ${command.code} not supported`
      this.#answer(command, { code: RESPONSE.requestCodeNotSupported, remark })
      return
    }
    if (this.#serving >= SERVING_MAX) {
      throw new BrokerError(
        'BUSY',
        `[OVERLOAD]system busy: ${SERVING_MAX} requests of this connection are being served`,
      )
    }
    const answer = serve(this.#callOf(command, principal))
    const { code, opaque, codec, flag } = command
    const { clock } = this.#options.context
    const isLong = isLongRequest(code)
    if (isLong || clock.monotonic() - this.heardMs >= CHUNK_MS_MAX) this.#splitter.stop()
    if (isLong && !isStartedOnly(code) && answer instanceof Promise) this.#waitFor(answer)
    // Not the command itself, which holds the whole frame.
    if (answer instanceof Promise) this.#settle({ code, opaque, codec, flag }, bytes, answer)
    else this.#answer(command, answer)
  }

  /**
   * Its work may be spread over many turns: what follows is neither read nor served before it is
   * done.
   */
  #waitFor(answer: Promise<Answer>): void {
    this.#isServingLong = true
    const done = (): void => {
      this.#isServingLong = false
      this.#balance()
    }
    answer.then(done, done)
  }

  /** `bytes`: what the command keeps in memory until it is answered. */
  #settle(command: Asked, bytes: number, answer: Promise<Answer>): void {
    this.#serving++
    this.#servingBytes += bytes
    answer.then(
      (value) => {
        this.#served(bytes)
        this.#answer(command, value)
      },
      (error: unknown) => {
        this.#served(bytes)
        this.#answerError(command, error)
      },
    )
  }

  #served(bytes: number): void {
    this.#serving--
    this.#servingBytes -= bytes
    this.#balance()
  }

  #callOf(command: Command, principal: Principal): Call {
    const { context } = this.#options
    const { code, opaque, codec, fields, language, version } = command
    return {
      code,
      opaque,
      codec,
      fields,
      // The chunk is reused once this turn is over.
      body: Buffer.from(command.body),
      language,
      version,
      principal,
      session: this.session,
      context,
      reads: this.#reads,
      looks: this.#looks,
      signal: this.#gone.signal,
    }
  }

  #gather(command: Command, principal: Principal): void {
    const isV1 = command.code === REQUEST.sendMessage
    const fields = readFields(isV1 ? SEND : SEND_V2, command.fields)
    const isBatch = fields.batch === true || command.code === REQUEST.sendBatchMessage
    const mayCreate = this.#identity.mayPublish(principal, fields.topic)
    const messages = messagesOf({ ...fields, batch: isBatch }, Buffer.from(command.body), {
      host: this.session.host,
      version: command.version,
      mayCreate,
      bodyBytesMax: this.#options.bodyBytesMax,
      inflation,
    })
    for (const message of messages) this.#identity.checkOrigin(principal, message)
    this.#sends.add(command.opaque, command.codec, (command.flag & FLAG_ONE_WAY) !== 0, messages)
  }

  #answer(command: Asked, answer: Answer): void {
    if ((command.flag & FLAG_ONE_WAY) !== 0) return
    const { unsentBytes } = this.#outbox
    if (unsentBytes > ANSWERED_BYTES_MAX) {
      const text = `${unsentBytes} bytes of answers wait; ${ANSWERED_BYTES_MAX} is the most`
      this.#refusePeer(new BrokerError('QUOTA_EXCEEDED', text))
      return
    }
    if (answer.frames !== undefined) {
      for (const piece of answer.frames) this.#outbox.push(piece)
    } else {
      const { code = RESPONSE.success, fields, remark, body } = answer
      const header = responseHeader(command.opaque, code, fields, remark)
      this.#outbox.push(encodeCommand(header, body, command.codec))
    }
    this.#balance()
  }

  #answerError(command: Asked, thrown: unknown): void {
    const error = BrokerError.from(thrown)
    if (isOurFault(error)) {
      const fields = { evt: 'remoting.request_failed', code: command.code, err: error }
      this.#options.context.log.error(fields, 'a request failed for a reason of our own')
    }
    const code = PULL_CODES.has(command.code) ? pullResponseCodeOf(error) : responseCodeOf(error)
    this.#answer(command, { code, remark: error.message })
  }

  #onSent(): void {
    this.#balance()
    this.#reads.next()
  }

  /** Reads the peer only while its work and its answers stay within bounds. */
  #balance(): void {
    const isFull =
      this.#publishingBytes > PUBLISHING_BYTES_MAX ||
      this.#servingBytes > SERVING_BYTES_MAX ||
      this.#lateAnswer !== undefined ||
      this.#isServingLong ||
      this.#outbox.unsentBytes > UNSENT_BYTES_MAX
    if (isFull === this.#isPaused) return
    this.#isPaused = isFull
    if (isFull) this.#socket.pause()
    else this.#socket.resume()
  }

  /** The bytes are no command, so there is no request to answer: the connection ends. */
  #refusePeer(error: BrokerError): void {
    const remote = this.session.address
    const fields = { evt: 'remoting.refused', remote, reason: error.message }
    this.#options.context.log.debug(fields, 'a peer sent bytes that are no native command')
    this.#socket.destroy()
  }

  #onClose(): void {
    this.#isClosing = true
    this.#lateAnswer?.cancel()
    this.#gone.abort()
    this.#outbox.close()
    this.#reads.close()
    this.#looks.close()
    this.#splitter.close()
    this.#options.largeFrames.release(this)
    const { context, onGone } = this.#options
    this.session.end(context.broker).catch((error: unknown) => {
      const fields = { evt: 'remoting.unregister_failed', err: error }
      context.log.error(fields, 'a client that left could not be unregistered')
    })
    onGone(this)
  }
}

/** @throws BrokerError ARGUMENT_INVALID */
function checkBody({ length }: Uint8Array): void {
  if (length <= REQUEST_BODY_BYTES_MAX) return
  throw new BrokerError(
    'ARGUMENT_INVALID',
    `a request with a body of ${length} bytes; ${REQUEST_BODY_BYTES_MAX} are the most for a request that is no send`,
  )
}

const SEND_CODES: ReadonlySet<number> = new Set([
  REQUEST.sendMessage,
  REQUEST.sendMessageV2,
  REQUEST.sendBatchMessage,
])

const PULL_CODES: ReadonlySet<number> = new Set([REQUEST.pullMessage, REQUEST.litePullMessage])
