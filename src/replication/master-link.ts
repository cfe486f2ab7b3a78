// One connection of a slave to its master: HELLO once, then one FETCH after the other.
import type { Clock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { splitAddress } from '../model/host.ts'
import { logPosition } from '../model/positions.ts'
import { RESPONSE } from '../remoting/codes.ts'
import { type DialOptions, dial, type RemotingConnection } from '../remoting/connection.ts'
import { readFields, type Values, writeFields } from '../remoting/layout.ts'
import type { Credentials } from '../remoting/signature.ts'
import type { LogHistory } from '../store/log/epochs/history.ts'
import { BATCH_BYTES_MAX, type FrameBatch } from '../store/log/following.ts'
import {
  CONFIRM,
  checkAnswer,
  decodeEpochs,
  FETCH,
  FETCH_ANSWER,
  HELLO,
  HELLO_ANSWER,
  READ,
  REPLICATION_REQUEST,
} from './wire.ts'

/** A FETCH is answered within so long although there is nothing. */
const WAIT_MS = 5_000
/** Beyond the wait: a master that does not answer by then is dialled anew. */
const ANSWER_MS = 10_000
const READ_BYTES = 256 * 1024
/** A full batch with its header. */
const ANSWER_BYTES = BATCH_BYTES_MAX + 64 * 1024
/** Memory for batches that is used again; further ones get their own. */
const SPARE_MAX = 8

export interface MasterAddress {
  /** host:port */
  readonly address: string
  readonly clock: Clock
  readonly tls?: DialOptions['tls']
  readonly credentials?: Credentials | undefined
  readonly signal?: AbortSignal
}

export type Hello = Values<typeof HELLO>
export interface HelloAnswer extends Values<typeof HELLO_ANSWER> {
  readonly history: LogHistory
}

export class MasterLink {
  readonly #connection: RemotingConnection
  /** Batches are gathered in them. */
  #spare: Buffer[] = []

  private constructor(connection: RemotingConnection) {
    this.#connection = connection
  }

  /** @throws BrokerError UNREACHABLE */
  static async dial({ address, ...options }: MasterAddress): Promise<MasterLink> {
    const readInto = Buffer.allocUnsafeSlow(READ_BYTES)
    return new MasterLink(await dial({ ...splitAddress(address), ...options, readInto }))
  }

  /** @throws BrokerError what the master refuses with, UNREACHABLE, TIMED_OUT */
  async hello(hello: Hello, signal?: AbortSignal): Promise<HelloAnswer> {
    const fields = writeFields(HELLO, hello)
    const options = { fields, timeoutMs: ANSWER_MS, signal }
    const answer = await this.#connection.request(REPLICATION_REQUEST.hello, options)
    if (answer.code === RESPONSE.requestCodeNotSupported) {
      const text = `${this.#connection.address} takes other clients than slaves: name the replication.port of the master`
      throw new BrokerError('PROTOCOL_ERROR', text)
    }
    checkAnswer(answer)
    const told = readFields(HELLO_ANSWER, answer.fields)
    const start = logPosition(told.logStart)
    const end = logPosition(told.logEnd)
    const epochs = decodeEpochs(answer.body)
    return { ...told, history: { logId: told.logId, start, end, epochs } }
  }

  /**
   * Empty when nothing came within some seconds. The bytes are the caller's until it gives them to
   * `done`. @throws as `hello`
   */
  async fetch(fetch: Omit<Values<typeof FETCH>, 'waitMs'>): Promise<FrameBatch> {
    const fields = writeFields(FETCH, { ...fetch, waitMs: WAIT_MS })
    this.#connection.lend(() => this.#spare.pop() ?? Buffer.allocUnsafeSlow(ANSWER_BYTES))
    const options = { fields, timeoutMs: WAIT_MS + ANSWER_MS }
    const answer = await this.#connection.request(REPLICATION_REQUEST.fetch, options)
    checkAnswer(answer)
    const { from, logStart, logEnd, confirmed } = readFields(FETCH_ANSWER, answer.fields)
    const bytes = answer.body
    return {
      bytes,
      from: logPosition(from),
      to: logPosition(from + bytes.length),
      logStart: logPosition(logStart),
      logEnd: logPosition(logEnd),
      ...(confirmed !== undefined && { confirmed: logPosition(confirmed) }),
    }
  }

  /** What stands there, checked. @throws as `hello` */
  async read(read: Values<typeof READ>): Promise<Buffer> {
    const options = { fields: writeFields(READ, read), timeoutMs: ANSWER_MS }
    const answer = await this.#connection.request(REPLICATION_REQUEST.read, options)
    checkAnswer(answer)
    return answer.body
  }

  /** The next batches may have the memory of this one. */
  done({ bytes }: FrameBatch): void {
    const isWhole = bytes.buffer.byteLength === ANSWER_BYTES
    if (isWhole && this.#spare.length < SPARE_MAX) this.#spare.push(Buffer.from(bytes.buffer))
  }

  confirm(synced: number): void {
    if (!this.#connection.isOpen) return
    this.#connection.oneWay(REPLICATION_REQUEST.confirm, {
      fields: writeFields(CONFIRM, { synced }),
    })
  }

  close(): void {
    this.#connection.close()
  }
}
