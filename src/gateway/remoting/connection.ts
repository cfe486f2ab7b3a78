// One native peer: checks the identity behind each command, serves it or gathers it into the
// chunk's batch of sends, and answers. The plain form of the commonest commands is served by
// `FastRequests`, the meaning of the others is in requests/, and their bytes are cut by the class
// that this one extends.
import { setMaxListeners } from 'node:events'
import { isAllowed, type Principal } from '../../access/auth.ts'
import { nextTurn } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { hostOf } from '../../model/host.ts'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'
import type { NewMessage } from '../../model/message.ts'
import { SYS_FLAG } from '../../model/record.ts'
import type { CheckCandidate, TransactionCheck } from '../../model/transaction.ts'
import type { GatewaySocket } from '../../port/gateway.ts'
import { FLAG_ONE_WAY, REQUEST, RESPONSE } from '../../remoting/codes.ts'
import {
  type Command,
  decodeCommand,
  encodeCommand,
  isResponse,
  requestHeader,
} from '../../remoting/command.ts'
import type { SendResponses } from '../../remoting/fast/send-response.ts'
import { FRAME_BYTES_MAX, type HeaderCodec, messageFrameBytes } from '../../remoting/frame.ts'
import { readFields } from '../../remoting/layout.ts'
import { PendingRequests } from '../../remoting/pending-requests.ts'
import { SEND, SEND_V2 } from '../../remoting/requests/send.ts'
import type { Aside, OpenAside } from '../../remoting/serving/aside.ts'
import {
  type Asked,
  askedOf,
  checkRequestBody,
  NO_ANSWER,
  ServerConnection,
  type Serving,
  UNSENT_BYTES_MAX,
} from '../../remoting/serving/connection.ts'
import { topicResource } from './address.ts'
import type { Answer, Call, MemberOf, Peer, Push, RemotingContext } from './call.ts'
import { RegisteredClient } from './client.ts'
import { isOurFault, pullResponseCodeOf, responseCodeOf } from './errors.ts'
import { FastRequests } from './fast-requests.ts'
import { messagesOf } from './message.ts'
import { PeerIdentity } from './peer-identity.ts'
import { ReadBudget } from './read-budget.ts'
import { rebalanceNotice } from './requests/clients.ts'
import { isLongRequest, isStartedOnly, requestTable } from './requests/table.ts'
import { checkPush } from './requests/transactions.ts'
import { openSends, type Sends } from './send-batch.ts'

/** Message bytes that wait for the disk; beyond, the peer is not read. */
const PUBLISHING_BYTES_MAX = 8 * 1024 * 1024
/** Commands being served, held pulls among them; beyond, the peer is told to slow down. */
const SERVING_MAX = 16_384
/** Their bytes; beyond, the peer is not read. An honest command that waits has half a KiB. */
const SERVING_BYTES_MAX = 16 * 1024 * 1024

/** Messages of a native batch that are decoded in one turn of the event loop. */
const GATHERED_AT_ONCE_MAX = 4096

/**
 * Requests of one chunk that are neither sends nor plain pulls are served for so long; the rest
 * waits its turn.
 */
const CHUNK_MS_MAX = 10

/** For a client's answer to a request of ours; as Apache's broker. */
const ASKED_MS_MAX = 10_000

export interface ConnectionOptions {
  readonly context: RemotingContext
  readonly responses: SendResponses
  readonly connectionId: string
  /** Longest body of a message. */
  readonly bodyBytesMax: number
  readonly serving: Serving
  readonly onGroups: (
    connection: Connection,
    joined: readonly string[],
    left: readonly string[],
  ) => void
  readonly tellAgain: (group: string) => void
  /** A client with this id produces on this connection, or does so no longer. */
  readonly onProducer: (connection: Connection, clientId: string, isHere: boolean) => void
  readonly memberOf: MemberOf
  /** Another server that has its requests on this connection too. */
  readonly aside?: OpenAside | undefined
  readonly onGone: () => void
}

export class Connection extends ServerConnection implements Peer {
  readonly client: RegisteredClient
  readonly #options: ConnectionOptions
  readonly #sends: Sends
  readonly #fast: FastRequests
  readonly #identity: PeerIdentity
  readonly #reads: ReadBudget
  readonly #looks: ReadBudget
  readonly #gone = new AbortController()
  /** Requests of ours that the peer is to answer. */
  readonly #pending: PendingRequests
  readonly #aside: Aside | undefined
  #isAsideUsed = false
  #serving = 0
  #servingBytes = 0
  #isServingLong = false
  #isClosing = false

  constructor(socket: GatewaySocket, options: ConnectionOptions) {
    const { context, responses } = options
    const largest = Math.max(BODY_BYTES_DEFAULT, options.bodyBytesMax)
    super(socket, options.serving, {
      bytesMax: Math.max(FRAME_BYTES_MAX, messageFrameBytes(largest)),
      isTrusted: context.auth.anonymousAllowed,
    })
    this.#options = options
    this.client = new RegisteredClient({
      connectionId: options.connectionId,
      address: `${socket.remoteAddress}:${socket.remotePort}`,
      host: hostOf(socket.remoteAddress, socket.remotePort),
      onGroups: (joined, left) => options.onGroups(this, joined, left),
      onProducer: (clientId, isHere) => options.onProducer(this, clientId, isHere),
      tellAgain: options.tellAgain,
      tell: (group) => this.push(rebalanceNotice(group)),
    })
    this.#pending = new PendingRequests(context.clock)
    this.#reads = new ReadBudget(UNSENT_BYTES_MAX, () => this.unsentBytes)
    // As many at a time as have together what 16 of the default size have.
    this.#looks = new ReadBudget(UNSENT_BYTES_MAX * (BODY_BYTES_DEFAULT / largest), () => 0)
    this.#identity = new PeerIdentity(context.auth, socket)
    const { output } = this
    this.#sends = openSends({ context, output, responses }, PUBLISHING_BYTES_MAX, () =>
      this.balance(),
    )
    this.#fast = new FastRequests({
      ...{ context, output, identity: this.#identity, sends: this.#sends },
      call: { client: this.client, context, reads: this.#reads, signal: this.#gone.signal },
      hasRoom: () => this.#open < SERVING_MAX,
      trust: () => this.trust(),
      settle: (asked, bytes, answer) => this.#settle(asked, bytes, answer),
      onAnswered: () => this.#answered(),
    })
    setMaxListeners(0, this.#gone.signal)
    this.#aside = options.aside?.(socket, () => this.trust())
  }

  override get isBusy(): boolean {
    return this.#open > 0 || !this.#sends.isIdle
  }

  get #open(): number {
    return this.#serving + this.#fast.open
  }

  /** By a whole command, and where there are users by a signed one, or one for routes. */
  override get isKnown(): boolean {
    const { anonymousAllowed } = this.#options.context.auth
    return anonymousAllowed || this.#isAsideUsed ? this.hasSentFrame : this.#identity.isVerified
  }

  /** Its work is to stay within bounds. */
  get isFull(): boolean {
    return this.#sends.isFull || this.#servingBytes > SERVING_BYTES_MAX || this.#isServingLong
  }

  /** A one-way request of ours. */
  push({ code, fields, body }: Push): void {
    const header = requestHeader({ code, opaque: this.#pending.nextOpaque(), fields, oneWay: true })
    this.output.push(encodeCommand(header, body))
  }

  mayAsk({ topic }: CheckCandidate): boolean {
    const { principal } = this.client
    const { auth } = this.#options.context
    return principal !== undefined && isAllowed(auth, principal, 'publish', topicResource(topic))
  }

  /** What a producer is not asked now, it is asked later again. */
  check(check: TransactionCheck): void {
    if (this.unsentBytes <= UNSENT_BYTES_MAX) this.push(checkPush(check))
  }

  async request({ code, fields, body }: Push, signal?: AbortSignal): Promise<Answer> {
    const what = `request ${code} to ${this.client.address}`
    if (this.unsentBytes > UNSENT_BYTES_MAX) {
      throw new BrokerError('BUSY', `too much is on its way to the client: ${what}`)
    }
    const opaque = this.#pending.nextOpaque()
    const answer = this.#pending.wait(opaque, { timeoutMs: ASKED_MS_MAX, signal, what })
    if (this.#pending.has(opaque)) {
      this.output.push(encodeCommand(requestHeader({ code, opaque, fields }), body))
    }
    const { code: answered, remark, body: bytes } = await answer
    return { code: answered, body: bytes, ...(remark !== undefined && { remark }) }
  }

  /** Ends held pulls and refuses new commands; messages being published are still answered. */
  override shutDown(): void {
    this.#isClosing = true
    this.#fast.close()
    this.#gone.abort(new BrokerError('ABORTED', 'the connection is closing'))
    void this.#sends.whenIdle().then(() => this.#endIfDone())
  }

  onFrame(bytes: Buffer, headerAt: number, bodyAt: number, end: number, codec: HeaderCodec): void {
    if (this.#fast.serve(bytes, headerAt, bodyAt, end, codec)) return
    const command = decodeCommand(bytes, headerAt, bodyAt, end, codec)
    if (isResponse(command)) {
      // Its bytes are the chunk's, which is reused.
      this.#pending.settle({ ...command, body: Buffer.from(command.body) })
      return
    }
    try {
      this.#serve(command, end - headerAt)
    } catch (error) {
      const from = this.remoteAddress
      const delayMs = this.#identity.delayMs(command, BrokerError.from(error), from)
      if (delayMs === 0) this.#answerError(command, error)
      else {
        const asked = askedOf(command)
        this.answerLate(delayMs, () => this.#answerError(asked, error))
        throw error
      }
    }
  }

  override onChunkEnd(): void {
    this.#sends.flush()
    this.#fast.flush()
  }

  override onSent(): void {
    this.#reads.next()
    if (this.#isClosing) this.#endIfDone()
  }

  onClose(): void {
    this.#isClosing = true
    this.#fast.close()
    this.#gone.abort(new BrokerError('ABORTED', 'the connection is gone'))
    this.#reads.close()
    this.#looks.close()
    this.#pending.failAll(new BrokerError('UNREACHABLE', 'the client is gone'))
    this.#aside?.close()
    const { context, onGone } = this.#options
    this.client.end(context.broker).catch((error: unknown) => {
      const fields = { evt: 'remoting.unregister_failed', err: error }
      context.log.error(fields, 'a client that left could not be unregistered')
    })
    onGone()
  }

  #serve(command: Command, bytes: number): void {
    if (this.#isClosing) {
      throw new BrokerError('CLOSED', 'the broker is shutting down; ask another one or try later')
    }
    if (this.#serveAside(command, bytes)) return
    const principal = this.#identity.of(command)
    if (this.#identity.isVerified) this.trust()
    if (SEND_CODES.has(command.code)) {
      this.#gather(command, principal)
      return
    }
    if (REPLY_CODES.has(command.code)) checkReplyBody(command.body, this.#options.bodyBytesMax)
    else checkRequestBody(command.body)
    const serve = requestTable.get(command.code)
    if (serve === undefined) {
      const remark = ` request type ${command.code} not supported`
      this.answer(command, { code: RESPONSE.requestCodeNotSupported, remark })
      return
    }
    if (this.#serving >= SERVING_MAX) {
      throw new BrokerError(
        'BUSY',
        `[OVERLOAD]system busy: ${SERVING_MAX} requests of this connection are being served`,
      )
    }
    const answer = serve(this.#callOf(command, principal))
    const servedMs = this.#options.context.clock.monotonic() - this.heardMs
    const isLong = isLongRequest(command.code)
    if (isLong || servedMs >= CHUNK_MS_MAX) this.stop()
    if (isLong && !isStartedOnly(command.code) && answer instanceof Promise) this.#waitFor(answer)
    if (answer instanceof Promise) this.#settle(askedOf(command), bytes, answer)
    else this.answer(command, answer)
  }

  #serveAside(command: Command, bytes: number): boolean {
    const answer = this.#aside?.serve(command)
    if (answer === undefined) return false
    this.#isAsideUsed = true
    this.stop()
    if (answer instanceof Promise) {
      this.#waitFor(answer)
      this.#settle(askedOf(command), bytes, answer)
    } else this.answer(command, answer)
    return true
  }

  /**
   * Its work may be spread over many turns: what follows is neither read nor served before it is
   * done.
   */
  #waitFor(answer: Promise<Answer>): void {
    this.#isServingLong = true
    const done = (): void => {
      this.#isServingLong = false
      this.balance()
    }
    answer.then(done, done)
  }

  /** `bytes`: what the command keeps in memory until it is answered. */
  #settle(command: Asked, bytes: number, answer: Promise<Answer>): void {
    this.#serving++
    this.#servingBytes += bytes
    answer.then(
      (value) => {
        this.answer(command, value)
        this.#served(bytes)
      },
      (error: unknown) => {
        this.#answerError(command, error)
        this.#served(bytes)
      },
    )
  }

  #served(bytes: number): void {
    this.#serving--
    this.#servingBytes -= bytes
    this.#answered()
  }

  #answered(): void {
    this.balance()
    if (this.#isClosing) this.#endIfDone()
  }

  /** What was sent is answered: nothing else comes. */
  #endIfDone(): void {
    if (!this.isBusy) this.end()
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
      client: this.client,
      context,
      reads: this.#reads,
      looks: this.#looks,
      memberOf: this.#options.memberOf,
      signal: this.#gone.signal,
    }
  }

  #gather(command: Command, principal: Principal): void {
    const isV1 = command.code === REQUEST.sendMessage
    const fields = readFields(isV1 ? SEND : SEND_V2, command.fields)
    const isBatch = fields.batch === true || command.code === REQUEST.sendBatchMessage
    const mayCreate = this.#identity.mayPublish(principal, fields.topic)
    const sent = messagesOf({ ...fields, batch: isBatch }, Buffer.from(command.body), {
      host: this.client.host,
      version: command.version,
      mayCreate,
      bodyBytesMax: this.#options.bodyBytesMax,
    })
    const checked = this.#checked(sent, principal)
    const isCompressed = (fields.sysFlag & SYS_FLAG.compressed) !== 0
    const messages = isCompressed ? this.#inflated(checked) : checked
    if (messages instanceof Promise) this.#addLater(command, messages)
    else this.#addSends(command, messages)
  }

  /** Those of a large batch over several turns. */
  #checked(sent: Iterator<NewMessage, void>, principal: Principal): Gathered {
    const messages: NewMessage[] = []
    const go = (): Gathered => {
      for (let n = 0; n < GATHERED_AT_ONCE_MAX; n++) {
        const { value: message } = sent.next()
        if (message === undefined) return messages
        this.#identity.checkOrigin(principal, message)
        this.#identity.checkDispatches(principal, message)
        messages.push(message)
      }
      return nextTurn().then(go)
    }
    return go()
  }

  #inflated(messages: Gathered): Gathered {
    const { context, bodyBytesMax } = this.#options
    const inflate = (all: readonly NewMessage[]): Gathered =>
      context.inflation.inflate(all, bodyBytesMax)
    return messages instanceof Promise ? messages.then(inflate) : inflate(messages)
  }

  /** What follows on the connection waits, so that the order of the messages is kept. */
  #addLater(command: Command, messages: Promise<readonly NewMessage[]>): void {
    const bytes = command.body.length
    const asked = askedOf(command)
    const added = messages.then((all) => {
      this.#addSends(asked, all)
      this.#sends.flush()
      return NO_ANSWER
    })
    this.stop()
    this.#waitFor(added)
    this.#settle(asked, bytes, added)
  }

  #addSends({ opaque, codec, flag }: Asked, messages: readonly NewMessage[]): void {
    this.#sends.batch.add(opaque, codec, (flag & FLAG_ONE_WAY) !== 0, messages)
  }

  #answerError(command: Asked, thrown: unknown): void {
    const error = BrokerError.from(thrown)
    if (isOurFault(error)) {
      const fields = { evt: 'remoting.request_failed', code: command.code, err: error }
      this.#options.context.log.error(fields, 'a request failed for a reason of our own')
    }
    if (SEND_CODES.has(command.code)) this.#options.context.traffic.refused(error.code)
    const code = PULL_CODES.has(command.code) ? pullResponseCodeOf(error) : responseCodeOf(error)
    this.answer(command, { code, remark: error.message })
  }
}

type Gathered = readonly NewMessage[] | Promise<readonly NewMessage[]>

const SEND_CODES: ReadonlySet<number> = new Set([
  REQUEST.sendMessage,
  REQUEST.sendMessageV2,
  REQUEST.sendBatchMessage,
])

/** Their body is a message's. */
const REPLY_CODES: ReadonlySet<number> = new Set([REQUEST.sendReply, REQUEST.sendReplyV2])

/** @throws BrokerError MESSAGE_TOO_LARGE */
function checkReplyBody({ length }: Uint8Array, bytesMax: number): void {
  if (length <= bytesMax) return
  throw new BrokerError(
    'MESSAGE_TOO_LARGE',
    `a reply of ${length} bytes is too large; ${bytesMax} are the most`,
  )
}

const PULL_CODES: ReadonlySet<number> = new Set([REQUEST.pullMessage, REQUEST.litePullMessage])
