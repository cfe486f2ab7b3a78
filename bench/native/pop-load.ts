// One connection that pops and acknowledges, several POPs at a time: the next one goes out with the
// acknowledgements of the one before. A group that has popped everything is followed by a new one.
import type { Socket } from 'node:net'
import { REQUEST, RESPONSE } from '../../src/remoting/codes.ts'
import { decodeCommand, encodeCommand, requestHeader } from '../../src/remoting/command.ts'
import { CODEC_JSON, type FrameSink } from '../../src/remoting/frame.ts'
import type { Fields } from '../../src/remoting/header/header.ts'
import { readFields, writeFields } from '../../src/remoting/layout.ts'
import {
  ACK,
  encodeBatchAck,
  POP,
  POP_RESPONSE,
  parseOffsets,
  printHandle,
} from '../../src/remoting/requests/pop.ts'
import { type Load, type LoadOptions, open, Tally } from './load.ts'

const INVISIBLE_MS = 60_000
const ACK_OPAQUE = 0
/** The others are the POPs under way, from this one on. */
const FIRST_POP_OPAQUE = 1

export class PopLoad implements Load {
  readonly tally = new Tally()
  readonly #options: LoadOptions
  readonly #acksTogether: boolean
  /** Of all runs, so that no group has popped before. */
  readonly #run = Date.now().toString(36)
  #round = 0
  #socket: Socket | undefined
  /** Of each POP under way: when it was sent, and its group, whose end is noticed once. */
  readonly #asked: { atMs: number; round: number }[] = []
  /** Messages of the acknowledgement whose answer is awaited, oldest first. */
  readonly #acked: number[] = []

  constructor(options: LoadOptions, acksTogether: boolean) {
    this.#options = options
    this.#acksTogether = acksTogether
  }

  async connect(): Promise<void> {
    this.#socket = await open(this.#options, this.tally, this.#received, () => {})
  }

  start(): void {
    for (let i = 0; i < this.#options.inFlight; i++) this.#socket!.write(this.#pop(i))
  }

  stop(): void {
    this.#socket?.destroy()
  }

  #group(round: number): string {
    return `bench-${this.#run}-${this.#options.index}-${round}`
  }

  readonly #received: FrameSink = (bytes, headerAt, bodyAt, end) => {
    const answer = decodeCommand(bytes, headerAt, bodyAt, end, CODEC_JSON)
    if (answer.opaque === ACK_OPAQUE) {
      const messages = this.#acked.shift() ?? 0
      if (answer.code === RESPONSE.success) this.tally.messages += messages
      else this.tally.fail(`${answer.code} ${answer.remark}`)
      return
    }
    const slot = answer.opaque - FIRST_POP_OPAQUE
    const { atMs, round } = this.#asked[slot]!
    this.#options.latency.add((performance.now() - atMs) * 1000)
    const found = answer.code === RESPONSE.success
    if (!found && answer.code !== RESPONSE.pollingTimeout) {
      this.tally.fail(`${answer.code} ${answer.remark}`)
    }
    const acks = found ? this.#acks(answer.fields, round) : []
    if (!found && round === this.#round) this.#round++
    this.#socket!.write(Buffer.concat([...acks, this.#pop(slot)]))
  }

  #acks(fields: Fields, round: number): Buffer[] {
    const group = this.#group(round)
    const { topic } = this.#options
    const { popTime, invisibleTime, reviveQid, msgOffsetInfo } = readFields(POP_RESPONSE, fields)
    const common = { popTime, invisibleTime, reviveQid }
    const queues = parseOffsets(msgOffsetInfo ?? '').map((queue) => {
      return { ...common, ...queue, group, topic, startOffset: queue.offsets[0]! }
    })
    if (this.#acksTogether) {
      this.#acked.push(queues.reduce((sum, { offsets }) => sum + offsets.length, 0))
      const code = REQUEST.batchAckMessage
      const header = requestHeader({ code, opaque: ACK_OPAQUE })
      return [encodeCommand(header, encodeBatchAck('broker-a', queues))]
    }
    return queues.flatMap((queue) =>
      queue.offsets.map((offset) => {
        this.#acked.push(1)
        const extraInfo = printHandle({ ...queue, brokerName: 'broker-a', offset })
        const { queueId } = queue
        const named = writeFields(ACK, { consumerGroup: group, topic, queueId, extraInfo, offset })
        const code = REQUEST.ackMessage
        return encodeCommand(requestHeader({ code, opaque: ACK_OPAQUE, fields: named }))
      }),
    )
  }

  #pop(slot: number): Buffer {
    this.#asked[slot] = { atMs: performance.now(), round: this.#round }
    const { topic, batch } = this.#options
    const fields = writeFields(POP, {
      ...{ consumerGroup: this.#group(this.#round), topic, queueId: -1, maxMsgNums: batch },
      ...{ invisibleTime: INVISIBLE_MS, pollTime: 0, bornTime: Date.now() },
      initMode: 0,
    })
    const code = REQUEST.popMessage
    return encodeCommand(requestHeader({ code, opaque: FIRST_POP_OPAQUE + slot, fields }))
  }
}
