// One connection that keeps its window full of transactions: a half message, and when it is
// answered its commit; the answer to the commit counts.
import type { Socket } from 'node:net'
import { encodeCommand, requestHeader } from '../../src/remoting/command.ts'
import { CODEC_JSON, type FrameSink } from '../../src/remoting/frame.ts'
import { writeFields } from '../../src/remoting/layout.ts'
import { END_TRANSACTION, TRANSACTION_OUTCOME } from '../../src/remoting/requests/transactions.ts'
import {
  type Load,
  type LoadOptions,
  OPAQUE_MAX,
  opaqueAt,
  opaqueOf,
  open,
  putOpaque,
  sendFrame,
  Tally,
} from './load.ts'

const GROUP = 'bench-producer'
const HALF: readonly [string, string][] = [
  ['TRAN_MSG', 'true'],
  ['PGROUP', GROUP],
]
/** Where the numbers of an END go: as wide as any, with zeros ahead. */
const POSITION = '111111111111111'
const TABLE_OFFSET = '222222222222222'
const MESSAGE_ID_MARK = Buffer.from('"msgId":"')
const TABLE_OFFSET_MARK = Buffer.from('"queueOffset":"')
const MESSAGE_ID_CHARS = 32

export class TransactLoad implements Load {
  readonly tally = new Tally()
  readonly #options: LoadOptions
  readonly #frames: readonly Buffer[]
  readonly #end: Buffer
  readonly #opaqueAt: number
  readonly #endOpaqueAt: number
  readonly #positionAt: number
  readonly #tableOffsetAt: number
  readonly #sentAt: Float64Array
  #socket: Socket | undefined
  #isStopped = false
  #queue: number
  #out: Buffer[] = []

  constructor(options: LoadOptions) {
    this.#options = { ...options, codec: CODEC_JSON }
    this.#frames = Array.from({ length: options.queues }, (_, queueId) =>
      sendFrame(this.#options, queueId, HALF),
    )
    this.#end = endFrame()
    this.#opaqueAt = opaqueAt(this.#frames[0]!, CODEC_JSON)
    this.#endOpaqueAt = opaqueAt(this.#end, CODEC_JSON)
    this.#positionAt = this.#end.indexOf(POSITION)
    this.#tableOffsetAt = this.#end.indexOf(TABLE_OFFSET)
    this.#sentAt = new Float64Array(options.inFlight)
    this.#queue = options.index % options.queues
  }

  async connect(): Promise<void> {
    this.#socket = await open(this.#options, this.tally, this.#received, () => this.#flush())
  }

  start(): void {
    for (let slot = 0; slot < this.#options.inFlight; slot++) this.#begin(slot)
    this.#flush()
  }

  stop(): void {
    this.#isStopped = true
    this.#socket?.destroy()
  }

  readonly #received: FrameSink = (bytes, headerAt, bodyAt) => {
    const opaque = opaqueOf(bytes, headerAt, bodyAt)
    const slot = opaque % this.#options.inFlight
    const isSuccess = bytes.toString('latin1', headerAt, headerAt + 10) === '{"code":0,'
    if (!isSuccess) this.tally.fail(bytes.toString('utf8', headerAt, bodyAt))
    else if (opaque < this.#options.inFlight) return this.#commit(bytes, headerAt, slot)
    else {
      this.#options.latency.add((performance.now() - this.#sentAt[slot]!) * 1000)
      this.tally.messages++
    }
    this.#begin(slot)
  }

  #begin(slot: number): void {
    this.#sentAt[slot] = performance.now()
    const frame = Buffer.from(this.#frames[this.#queue]!)
    this.#queue = (this.#queue + 1) % this.#frames.length
    putOpaque(frame, this.#opaqueAt, slot, CODEC_JSON)
    this.#out.push(frame)
  }

  #commit(bytes: Buffer, headerAt: number, slot: number): void {
    const idAt = bytes.indexOf(MESSAGE_ID_MARK, headerAt) + MESSAGE_ID_MARK.length
    const hex = bytes.latin1Slice(idAt + MESSAGE_ID_CHARS - 16, idAt + MESSAGE_ID_CHARS)
    const offsetAt = bytes.indexOf(TABLE_OFFSET_MARK, headerAt) + TABLE_OFFSET_MARK.length
    const tableOffset = Number.parseInt(bytes.latin1Slice(offsetAt, offsetAt + 20), 10)
    const frame = Buffer.from(this.#end)
    const digits = (value: number): string => String(value).padStart(POSITION.length, '0')
    frame.write(digits(Number.parseInt(hex, 16)), this.#positionAt, 'latin1')
    frame.write(digits(tableOffset), this.#tableOffsetAt, 'latin1')
    putOpaque(frame, this.#endOpaqueAt, slot + this.#options.inFlight, CODEC_JSON)
    this.#out.push(frame)
  }

  #flush(): void {
    if (this.#out.length === 0 || this.#isStopped) return
    this.#socket!.write(Buffer.concat(this.#out))
    this.#out = []
  }
}

function endFrame(): Buffer {
  const fields = writeFields(END_TRANSACTION, {
    ...{ producerGroup: GROUP, fromTransactionCheck: false, msgId: 'x', transactionId: 'x' },
    ...{ tranStateTableOffset: Number(TABLE_OFFSET), commitLogOffset: Number(POSITION) },
    commitOrRollback: TRANSACTION_OUTCOME.commit,
  })
  return encodeCommand(requestHeader({ code: 37, opaque: OPAQUE_MAX, fields }), undefined)
}
