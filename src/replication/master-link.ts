// One connection of a slave to its master: HELLO once, then one FETCH after the other.
import type { Clock } from '../clock.ts'
import { splitAddress } from '../model/host.ts'
import { logPosition } from '../model/positions.ts'
import { type DialOptions, dial, type RemotingConnection } from '../remoting/connection.ts'
import { readFields, type Values, writeFields } from '../remoting/layout.ts'
import type { Credentials } from '../remoting/signature.ts'
import type { LogHistory } from '../store/log/epochs/history.ts'
import type { FrameBatch } from '../store/log/following.ts'
import {
  CONFIRM,
  checkAnswer,
  decodeEpochs,
  FETCH,
  FETCH_ANSWER,
  HELLO,
  HELLO_ANSWER,
  REPLICATION_REQUEST,
} from './wire.ts'

/** A FETCH is answered within so long although there is nothing. */
const WAIT_MS = 5_000
/** Beyond the wait: a master that does not answer by then is dialled anew. */
const ANSWER_MS = 10_000

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

  private constructor(connection: RemotingConnection) {
    this.#connection = connection
  }

  /** @throws BrokerError UNREACHABLE */
  static async dial({ address, ...options }: MasterAddress): Promise<MasterLink> {
    return new MasterLink(await dial({ ...splitAddress(address), ...options }))
  }

  /** @throws BrokerError what the master refuses with, UNREACHABLE, TIMED_OUT */
  async hello(hello: Hello, signal?: AbortSignal): Promise<HelloAnswer> {
    const fields = writeFields(HELLO, hello)
    const options = { fields, timeoutMs: ANSWER_MS, signal }
    const answer = await this.#connection.request(REPLICATION_REQUEST.hello, options)
    checkAnswer(answer)
    const told = readFields(HELLO_ANSWER, answer.fields)
    const start = logPosition(told.logStart)
    const end = logPosition(told.logEnd)
    const epochs = decodeEpochs(answer.body)
    return { ...told, history: { logId: told.logId, start, end, epochs } }
  }

  /** Empty when nothing came within some seconds. @throws as `hello` */
  async fetch(fetch: Omit<Values<typeof FETCH>, 'waitMs'>): Promise<FrameBatch> {
    const fields = writeFields(FETCH, { ...fetch, waitMs: WAIT_MS })
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
