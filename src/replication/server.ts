// The master's end of replication: takes slaves at a port of its own, checks that each has a copy
// of this log, and answers their FETCHes from a feed of it.
import { sleep, type Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { type LogPosition, logPosition } from '../model/positions.ts'
import { Connections } from '../net/connections.ts'
import type { GatewayContext, GatewaySocket } from '../port/gateway.ts'
import { RESPONSE } from '../remoting/codes.ts'
import {
  type Command,
  decodeCommand,
  encodeCommandHead,
  isResponse,
  responseHeader,
} from '../remoting/command.ts'
import { FRAME_BYTES_MAX_UNAUTHENTICATED, type FrameSink } from '../remoting/frame.ts'
import { readFields, type Values, writeFields } from '../remoting/layout.ts'
import {
  type Answer,
  type Asked,
  askedOf,
  NO_ANSWER,
  ServerConnection,
  Serving,
} from '../remoting/serving/connection.ts'
import { ACL_FIELD, signedContent } from '../remoting/signature.ts'
import { BATCH_BYTES_MAX, type FrameBatch, type FrameFeed } from '../store/log/following.ts'
import type { Replication } from '../store/replication.ts'
import type { Replicas } from './replicas.ts'
import {
  CHECKED_BYTES_MAX,
  CONFIRM,
  encodeEpochs,
  FETCH,
  FETCH_ANSWER,
  HELLO,
  HELLO_ANSWER,
  READ,
  REPLICATION_REQUEST,
  refusal,
  WIRE_VERSION,
} from './wire.ts'

/** A FETCH is held for so long; a slave asks for less. */
const WAIT_MS_MAX = 30_000
const SWEEP_MS = 5_000
/** Where nothing waits for a slave, it gets what came within so long together. */
const GATHER_MS = 10
/** One line in so long says that slaves are refused. */
const REFUSALS_TOLD_MS = 1_000

/** Of a master that was elected. */
export interface Electorate {
  /** undefined: it is the master no more. */
  readonly election: number | undefined
  /** Everything before the position is on the disk of a copy that follows in this election. */
  confirm(copy: string, election: number, to: number): void
}

export interface ReplicationContext extends Pick<GatewayContext, 'auth' | 'clock' | 'log'> {
  readonly replication: Replication
  /** Or why none are taken. */
  readonly replicas: Replicas | BrokerError
  readonly clusterName: string
  readonly brokerName: string
  /** Absent where the role of a broker is what its configuration says. */
  readonly electorate?: Electorate | undefined
}

export class ReplicationServer {
  readonly #context: ReplicationContext
  readonly #serving: Serving
  readonly #connections: Connections<SlaveConnection>
  readonly #refusals: Refusals

  constructor(context: ReplicationContext) {
    this.#context = context
    this.#serving = new Serving(context, {})
    this.#refusals = new Refusals(context)
    this.#connections = new Connections(context.clock)
    this.#connections.every(SWEEP_MS, (nowMs) => {
      for (const connection of this.#connections) connection.sweep(nowMs)
    })
  }

  get connections(): number {
    return this.#connections.size
  }

  accept(socket: GatewaySocket): void {
    this.#connections.accept(
      socket,
      (_serial, gone) =>
        new SlaveConnection(socket, this.#context, this.#serving, this.#refusals, gone),
    )
  }

  close(deadlineMs: number): Promise<void> {
    return this.#connections.close(deadlineMs)
  }
}

/** Strangers come as often as they like: the log is not to be filled by it. */
class Refusals {
  readonly #context: Pick<ReplicationContext, 'clock' | 'log'>
  #quietToMs = Number.NEGATIVE_INFINITY

  constructor(context: Pick<ReplicationContext, 'clock' | 'log'>) {
    this.#context = context
  }

  tell({ code, message }: BrokerError, remote: string): void {
    const { clock, log } = this.#context
    const nowMs = clock.monotonic()
    const level = nowMs >= this.#quietToMs ? 'warn' : 'debug'
    if (level === 'warn') this.#quietToMs = nowMs + REFUSALS_TOLD_MS
    log[level]({ evt: 'replication.refused', remote, code }, `a slave was refused: ${message}`)
  }
}

const newBuffer = (): Buffer => Buffer.allocUnsafeSlow(BATCH_BYTES_MAX)

/** A copy that follows in an election. */
interface Member {
  readonly copy: string
  readonly election: number
}

class SlaveConnection extends ServerConnection {
  /** One FETCH at a time; what came behind it waits. */
  readonly isFull = false
  readonly #context: ReplicationContext
  readonly #socket: GatewaySocket
  readonly #gone: () => void
  /** As HELLO said. */
  #brokerId: number | undefined
  #member: Member | undefined
  /** From the first FETCH on, which shows that the slave's log is a copy of this one. */
  #replica: ReturnType<Replicas['join']> | undefined
  #feed: FrameFeed | undefined
  #fedTo: LogPosition | undefined
  /** Of the feed, for the FETCH that is held or the next one. */
  #next: Promise<FrameBatch | undefined> | undefined
  /** What the next batch is read into: a FETCH says that the one before the last is all there. */
  #buffers: [next: Buffer, last: Buffer] | undefined
  #isFetching = false
  /** When it was last answered with frames, monotonic ms. */
  #fedMs = Number.NEGATIVE_INFINITY
  /** Its HELLO was answered. */
  #isWelcome = false
  #isRefused = false
  readonly #refusals: Refusals

  constructor(
    socket: GatewaySocket,
    context: ReplicationContext,
    serving: Serving,
    refusals: Refusals,
    gone: () => void,
  ) {
    // All that a slave sends is short.
    super(socket, serving, { bytesMax: FRAME_BYTES_MAX_UNAUTHENTICATED, isTrusted: true })
    this.#context = context
    this.#socket = socket
    this.#gone = gone
    this.#refusals = refusals
  }

  /** By a HELLO: no other frame says whose connection it is. */
  override get isKnown(): boolean {
    return this.#isWelcome
  }

  onFrame(...frame: Parameters<FrameSink>): void {
    if (this.#isRefused) return
    const command = decodeCommand(...frame)
    if (isResponse(command)) return
    const asked = askedOf(command)
    try {
      const answer = this.#serve(command)
      if (!(answer instanceof Promise)) this.answer(asked, answer)
      else {
        void answer.then(
          (later) => this.#answerLater(asked, later),
          (thrown) => this.#refuse(command, asked, thrown),
        )
      }
    } catch (thrown) {
      this.#refuse(command, asked, thrown)
    }
  }

  onClose(): void {
    this.#feed?.close()
    if (this.#replica !== undefined) this.#leave(this.#replica)
    this.#gone()
  }

  /** @throws BrokerError */
  get #replicas(): Replicas {
    const { replicas } = this.#context
    if (replicas instanceof BrokerError) throw replicas
    return replicas
  }

  #leave(replica: ReturnType<Replicas['join']>): void {
    const { log } = this.#context
    this.#replicas.leave(replica)
    const { brokerId, address } = replica
    const fields = { evt: 'replication.slave_gone', brokerId, address }
    log.info(fields, `slave ${brokerId} is not connected any more`)
  }

  #answerLater(asked: Asked, answer: Answer): void {
    this.answer(asked, answer)
    this.output.flush()
    this.balance()
  }

  /** Its last request. A wrong signature is answered late: guessing at a key is to take long. */
  #refuse({ fields }: Command, asked: Asked, thrown: unknown): void {
    const { auth } = this.#context
    const error = BrokerError.from(thrown)
    this.#isRefused = true
    this.#refusals.tell(error, this.remoteAddress)
    const isSigned = (fields.get(ACL_FIELD.accessKey) ?? '') !== ''
    const isWrong = isSigned && error.code === 'UNAUTHENTICATED'
    const delayMs = isWrong ? auth.wrongSignature(this.remoteAddress) : 0
    if (delayMs > 0) this.answerLate(delayMs, () => this.answer(asked, refusal(error)))
    else {
      this.answer(asked, refusal(error))
      this.end()
    }
  }

  #serve(command: Command): Answer | Promise<Answer> {
    this.#authenticate(command)
    switch (command.code) {
      case REPLICATION_REQUEST.hello:
        return this.#hello(readFields(HELLO, command.fields))
      case REPLICATION_REQUEST.fetch:
        return this.#fetch(readFields(FETCH, command.fields), askedOf(command))
      case REPLICATION_REQUEST.read:
        return this.#read(readFields(READ, command.fields))
      case REPLICATION_REQUEST.confirm:
        this.#confirm(readFields(CONFIRM, command.fields).synced)
        return NO_ANSWER
      default:
        throw new BrokerError('NOT_SUPPORTED', 'only slaves of this broker have requests here')
    }
  }

  /** What it gets is everything: only an admin may. */
  #authenticate({ fields, body }: Command): void {
    const { auth } = this.#context
    if (auth.anonymousAllowed) return
    const accessKey = fields.get(ACL_FIELD.accessKey) ?? ''
    const { certifiedUser } = this.#socket
    if (accessKey === '' && certifiedUser === undefined) {
      const text =
        'this master has users: give the slave replication.accessKey and secretKey of an admin'
      throw new BrokerError('UNAUTHENTICATED', text)
    }
    const signature = fields.get(ACL_FIELD.signature) ?? ''
    const principal =
      accessKey === ''
        ? auth.certified(certifiedUser!)
        : auth.verifySignature(accessKey, signature, signedContent(fields, body))
    auth.authorize(principal, 'manage', { kind: 'cluster' })
  }

  #hello(hello: Values<typeof HELLO>): Answer {
    const { replication, clusterName, brokerName } = this.#context
    const replicas = this.#replicas
    const { version, brokerId, logId, epoch, end } = hello
    if (version !== WIRE_VERSION) {
      const text = `the slave speaks version ${version} of replication, and this master version ${WIRE_VERSION}`
      throw new BrokerError('NOT_SUPPORTED', `${text}: run the same version of TrivetMQ on both`)
    }
    if (hello.clusterName !== clusterName || hello.brokerName !== brokerName) {
      const its = `${hello.clusterName}/${hello.brokerName}`.slice(0, 300)
      const text = `a slave of '${its}' came to '${clusterName}/${brokerName}'`
      throw new BrokerError('CONFIG_INVALID', `${text}: both have one cluster name and broker name`)
    }
    if (brokerId < 1) {
      throw new BrokerError('CONFIG_INVALID', `broker id ${brokerId} is no slave's: 1 is the first`)
    }
    if (logId !== undefined && logId !== replication.logId) {
      const text = `the slave has log ${logId}, and this master has log ${replication.logId}`
      throw new BrokerError('CONFIG_INVALID', `${text}: give the slave an empty data directory`)
    }
    this.#member = this.#memberOf(hello)
    if (epoch !== undefined && epoch > replication.epoch) {
      replicas.depose(epoch)
      const text = `the slave is in epoch ${epoch}, and this master in epoch ${replication.epoch}`
      throw new BrokerError('ABORTED', `${text}: this master was replaced`)
    }
    if (end !== undefined) this.#brokerId ??= brokerId
    this.#isWelcome = true
    return {
      fields: writeFields(HELLO_ANSWER, {
        version: WIRE_VERSION,
        logId: replication.logId,
        epoch: replication.epoch,
        logStart: replication.start,
        logEnd: replication.syncedEnd,
      }),
      body: encodeEpochs(replication.history.epochs),
    }
  }

  /** Copies follow the master of the newest election that they know of, and no other. */
  #memberOf({ copy, election }: Values<typeof HELLO>): Member | undefined {
    const { electorate } = this.#context
    if (electorate === undefined && election === undefined) return undefined
    const own = electorate?.election
    if (copy === undefined || election === undefined || electorate === undefined) {
      const text = 'one of the two has its master elected, and the other has not'
      throw new BrokerError('CONFIG_INVALID', `${text}: give both the same replication.etcd`)
    }
    if (own === election) return { copy, election }
    const text = `the slave follows election ${election}, and this broker`
    const mine = own === undefined ? 'is no master' : `won election ${own}`
    throw new BrokerError('BUSY', `${text} ${mine}`)
  }

  #confirm(synced: number): void {
    if (this.#replica === undefined || this.#fedTo === undefined) return
    // Nor what it was not given.
    const to = Math.min(synced, this.#fedTo)
    this.#replicas.confirm(this.#replica, to)
    if (this.#member === undefined) return
    const { copy, election } = this.#member
    this.#context.electorate?.confirm(copy, election, to)
  }

  #join(brokerId: number, from: number): void {
    const { log } = this.#context
    this.#replica = this.#replicas.join(brokerId, this.remoteAddress, () => this.destroy())
    const fields = { evt: 'replication.slave', brokerId, address: this.remoteAddress, from }
    log.info(fields, `slave ${brokerId} follows from position ${from}`)
  }

  async #fetch(fetch: Values<typeof FETCH>, asked: Asked): Promise<Answer> {
    const brokerId = this.#brokerId
    if (brokerId === undefined) throw new BrokerError('PROTOCOL_ERROR', 'HELLO comes first')
    if (this.#isFetching) throw new BrokerError('PROTOCOL_ERROR', 'one FETCH at a time')
    this.#isFetching = true
    try {
      this.#feed ??= await this.#beginFeed(fetch)
      if (this.isClosed) return NO_ANSWER
      if (this.#replica === undefined) this.#join(brokerId, fetch.from)
      if (fetch.from !== this.#fedTo) {
        const text = `a FETCH from ${fetch.from}, and ${this.#fedTo} comes next`
        throw new BrokerError('PROTOCOL_ERROR', text)
      }
      this.#confirm(fetch.synced)
      await this.#gather(this.#fedTo)
      return this.#answerOf(await this.#nextWithin(this.#feed, fetch.waitMs), asked)
    } finally {
      this.#isFetching = false
    }
  }

  /**
   * Each answer wakes both processes, and has the slave sync: on one that follows closely, messages
   * that come one by one would each cost as much as a hundred.
   */
  async #gather(fedTo: number): Promise<void> {
    const { clock, replication } = this.#context
    const leftMs = this.#fedMs + GATHER_MS - clock.monotonic()
    const isFar = replication.syncedEnd - fedTo > BATCH_BYTES_MAX
    if (leftMs > 0 && !isFar && !this.#replicas.isAwaited) await sleep(clock, leftMs)
  }

  async #beginFeed(fetch: Values<typeof FETCH>): Promise<FrameFeed> {
    const feed = await this.#openFeed(fetch)
    // The connection may be gone by now, and what closes its feed with it.
    if (this.isClosed) feed.close()
    this.#fedTo = logPosition(fetch.from)
    return feed
  }

  /** It follows nothing by that, and counts for nothing. */
  async #read(read: Values<typeof READ>): Promise<Answer> {
    const { replication } = this.#context
    if (!this.#isWelcome) throw new BrokerError('PROTOCOL_ERROR', 'HELLO comes first')
    if (read.from >= replication.syncedEnd) {
      throw new BrokerError('OFFSET_OUT_OF_RANGE', `this log ends before ${read.from}`)
    }
    const feed = await this.#openFeed(read)
    try {
      const batch = await feed.next()
      if (batch === undefined) throw new BrokerError('CLOSED', 'the log is closed')
      const { from, logStart, logEnd, bytes: body } = batch
      return { fields: writeFields(FETCH_ANSWER, { from, logStart, logEnd }), body }
    } finally {
      feed.close()
    }
  }

  async #openFeed({ from, checkFrom, check }: Values<typeof READ>): Promise<FrameFeed> {
    const { replication } = this.#context
    const { start, syncedEnd } = replication
    if (from > syncedEnd) {
      const text = `the slave has the log to ${from}, and its master to ${syncedEnd}`
      throw new BrokerError('ABORTED', `${text}: it has what this master never had, or lost`)
    }
    if (from > start) await this.#compare(from, checkFrom, check)
    return replication.feed(logPosition(from))
  }

  /** Are the last bytes of the slave those that are here? */
  async #compare(from: number, checkFrom = from, check = -1): Promise<void> {
    const { replication } = this.#context
    if (checkFrom >= from || from - checkFrom > CHECKED_BYTES_MAX) {
      throw new BrokerError('PROTOCOL_ERROR', 'the first FETCH says what the slave has')
    }
    const own =
      checkFrom < replication.start
        ? undefined
        : await replication.checksum(logPosition(checkFrom), logPosition(from))
    if (own === undefined) {
      throw new BrokerError('BUSY', `bytes ${checkFrom} to ${from} cannot be compared just now`)
    }
    if (own === check) return
    const text = `what the slave has before ${from} is not what its master has there`
    throw new BrokerError('ABORTED', `${text}: their logs went apart`)
  }

  /** undefined: its time is over, and the next FETCH waits on. */
  async #nextWithin(feed: FrameFeed, waitMs: number): Promise<FrameBatch | undefined> {
    this.#next ??= this.#readOn(feed)
    const next = this.#next
    let late: Timer | undefined
    const isLate = new Promise<undefined>((resolve) => {
      const { clock } = this.#context
      const ms = Math.min(Math.max(0, waitMs), WAIT_MS_MAX, this.#replicas.fetchMsMax)
      late = clock.after(ms, () => resolve(undefined))
    })
    try {
      const batch = await Promise.race([next, isLate])
      if (batch !== undefined) this.#next = undefined
      return batch
    } catch (error) {
      this.#next = undefined
      throw error
    } finally {
      late?.cancel()
    }
  }

  #readOn(feed: FrameFeed): Promise<FrameBatch | undefined> {
    const [next, last] = this.#buffers ?? [newBuffer(), newBuffer()]
    this.#buffers = [last, next]
    return feed.next(next)
  }

  #answerOf(batch: FrameBatch | undefined, { opaque, codec }: Asked): Answer {
    const { replication } = this.#context
    const from = this.#fedTo ?? 0
    if (batch === undefined) {
      this.#buffers = undefined
      const { start, syncedEnd } = replication
      return { fields: writeFields(FETCH_ANSWER, { from, logStart: start, logEnd: syncedEnd }) }
    }
    this.#fedTo = batch.to
    this.#fedMs = this.#context.clock.monotonic()
    const { logStart, logEnd, confirmed, bytes } = batch
    // Of a slave that is far behind the next batch is read while it takes this one. One that is not
    // gets more by one answer when it asks.
    if (logEnd - batch.to > BATCH_BYTES_MAX && this.#feed !== undefined) {
      this.#next = this.#readOn(this.#feed)
      this.#next.catch(() => {})
    }
    const fields = writeFields(FETCH_ANSWER, { from, logStart, logEnd, confirmed })
    const header = responseHeader(opaque, RESPONSE.success, fields)
    return { frames: [encodeCommandHead(header, bytes.length, codec), bytes] }
  }
}
