// The SENDs of one socket chunk: gathered while the chunk is cut into frames, published together,
// and answered in one piece. A native batch among them is stored whole or not at all: its sender
// has one answer for it, and after an error sends all of it again.
import { BrokerError, Unconfirmed } from '../../errors.ts'
import {
  type NewMessage,
  type PublishReceipt,
  type PublishResult,
  withOwnBytes,
} from '../../model/message.ts'
import { offsetMessageIds } from '../../model/message-id.ts'
import { isSendForbidden } from '../../model/names.ts'
import type { Output } from '../../output.ts'
import type { Broker } from '../../port/broker.ts'
import { RESPONSE } from '../../remoting/codes.ts'
import { encodeCommand, responseHeader } from '../../remoting/command.ts'
import { type SendResponses, TRANSACTION_ID_BYTES } from '../../remoting/fast/send-response.ts'
import { CODEC_JSON, type HeaderCodec } from '../../remoting/frame.ts'
import { writeFields } from '../../remoting/layout.ts'
import { SEND_RESPONSE } from '../../remoting/requests/send.ts'
import { type PublishBatch, PublishLine } from '../shared/publish-line.ts'
import type { RemotingContext } from './call.ts'
import { isOurFault, responseCodeOf } from './errors.ts'

/**
 * Messages that are published in one turn of the event loop; the broker takes a larger native batch
 * over several.
 */
const PUBLISHED_AT_ONCE_MAX = 4096

/**
 * One SEND that waits for its answer; `count` of the messages are its own: several are a native
 * batch.
 */
interface Waiting {
  readonly opaque: number
  readonly codec: HeaderCodec
  readonly isOneWay: boolean
  readonly count: number
}

/** Messages that are published by one call. */
interface Part {
  readonly from: number
  readonly to: number
  readonly isBatch: boolean
}

/** What needs no escapes in JSON, and is no longer than those that clients make. */
const PLAIN_ID = /^[\w.:-]{1,64}$/
const ID_BYTES_MAX = 64 + TRANSACTION_ID_BYTES

function isFast({ recallHandle, transactionId }: PublishReceipt, codec: HeaderCodec): boolean {
  if (recallHandle !== undefined) return false
  return transactionId === undefined || (codec === CODEC_JSON && PLAIN_ID.test(transactionId))
}

export interface SendOptions {
  readonly context: RemotingContext
  readonly output: Output
  readonly responses: SendResponses
}

export class SendBatch implements PublishBatch {
  messages: NewMessage[] = []
  readonly waiting: Waiting[] = []
  bytes = 0
  readonly #options: SendOptions

  constructor(options: SendOptions) {
    this.#options = options
  }

  add(
    opaque: number,
    codec: HeaderCodec,
    isOneWay: boolean,
    messages: readonly NewMessage[],
  ): void {
    for (const message of messages) this.#push(message)
    this.waiting.push({ opaque, codec, isOneWay, count: messages.length })
  }

  /** As `add` with one message. */
  addOne(opaque: number, codec: HeaderCodec, isOneWay: boolean, message: NewMessage): void {
    this.#push(message)
    this.waiting.push({ opaque, codec, isOneWay, count: 1 })
  }

  #push(message: NewMessage): void {
    this.messages.push(message)
    this.bytes += message.body.length + message.properties.length
  }

  settle(results: readonly PublishResult[]): void {
    const { waiting } = this
    const { output, responses } = this.#options
    let out: Buffer | undefined
    let used = 0
    let handed = 0
    let first = 0
    const hand = (): void => {
      if (out !== undefined && used > handed) output.push(out.subarray(handed, used))
      handed = used
    }
    for (let index = 0; index < waiting.length; index++) {
      const entry = waiting[index]!
      const from = first
      first += entry.count
      if (entry.isOneWay) continue
      const result = results[from]!
      const { opaque, codec } = entry
      if (entry.count > 1 || result instanceof BrokerError || !isFast(result, codec)) {
        // Answers keep the order of their requests.
        hand()
        output.push(this.#slowAnswer(entry, results.slice(from, first)))
        continue
      }
      const { queueId, queueOffset, position, transactionId: id } = result
      const bytesMax = responses.bytesMax + (id === undefined ? 0 : ID_BYTES_MAX)
      if (out === undefined || out.length - used < bytesMax) {
        hand()
        out = Buffer.allocUnsafe((waiting.length - index) * bytesMax)
        used = handed = 0
      }
      used =
        id === undefined
          ? responses.write(out, used, codec, opaque, queueId, queueOffset, position)
          : responses.writeHalf(out, used, opaque, queueId, queueOffset, position, id)
    }
    hand()
  }

  /** A failure, a delayed message, a batch, or a half message with an unusual id. */
  #slowAnswer({ opaque, codec }: Waiting, results: readonly PublishResult[]): Buffer {
    const failed = results.find((result) => result instanceof BrokerError)
    if (failed !== undefined && !(failed instanceof Unconfirmed)) {
      this.#log(failed)
      const code = responseCodeOf(failed)
      return encodeCommand(
        responseHeader(opaque, code, undefined, failed.message),
        undefined,
        codec,
      )
    }
    // As Apache's broker: what slaves did not confirm has its place all the same.
    const receipts = results.map((result) =>
      result instanceof Unconfirmed ? (result.done as PublishReceipt) : (result as PublishReceipt),
    )
    const code = failed === undefined ? RESPONSE.success : responseCodeOf(failed)
    const { queueId, queueOffset, transactionId, storeHost } = receipts[0]!
    const positions = receipts.map((receipt) => receipt.position)
    const fields = writeFields(SEND_RESPONSE, {
      msgId: offsetMessageIds(storeHost, positions),
      queueId,
      queueOffset,
      transactionId,
      MSG_REGION: 'DefaultRegion',
      TRACE_ON: 'true',
      recallHandle: receipts[0]!.recallHandle,
    })
    const header = responseHeader(opaque, code, fields, failed?.message)
    return encodeCommand(header, undefined, codec)
  }

  #log(error: BrokerError): void {
    if (!isOurFault(error)) return
    const fields = { evt: 'remoting.send_failed', err: error }
    this.#options.context.log.error(fields, 'a send failed for a reason of our own')
  }
}

export type Sends = PublishLine<SendBatch>

/** `changed`: `isFull` of the connection's sends has changed. */
export function openSends(
  options: SendOptions,
  unstoredBytesMax: number,
  changed: () => void,
): Sends {
  const { broker, clock, traffic } = options.context
  const turns = new SendTurns(broker)
  const newBatch = () => new SendBatch(options)
  const publish = (batch: SendBatch) => turns.publish(batch)
  return new PublishLine({ clock, traffic, unstoredBytesMax, newBatch, publish, changed })
}

/** Spreads what is too much for one turn of the event loop over several. */
class SendTurns {
  readonly #broker: Broker
  /** Settles when all batches before are with the broker; undefined: they are. */
  #before: Promise<void> | undefined

  constructor(broker: Broker) {
    this.#broker = broker
  }

  publish({ messages, waiting }: SendBatch): Promise<readonly PublishResult[]> {
    if (this.#before === undefined && messages.length <= PUBLISHED_AT_ONCE_MAX) {
      return messages.length === waiting.length
        ? this.#broker.publish(messages)
        : joined(partsOf(waiting).map((part) => this.#publishPart(messages, part)))
    }
    const handed = this.#inTurns(keptOf(messages, waiting), partsOf(waiting), this.#before)
    const before: Promise<void> = handed.then(() => {
      if (this.#before === before) this.#before = undefined
    })
    this.#before = before
    return handed.then(joined)
  }

  /** Later sends on the connection wait behind it, so that order is kept. */
  async #inTurns(
    messages: readonly NewMessage[],
    parts: readonly Part[],
    before: Promise<void> | undefined,
  ): Promise<readonly Promise<readonly PublishResult[]>[]> {
    await before
    const published: Promise<readonly PublishResult[]>[] = []
    let room = PUBLISHED_AT_ONCE_MAX
    for (const part of parts) {
      const count = part.to - part.from
      if (count > room && room < PUBLISHED_AT_ONCE_MAX) {
        await new Promise((resolve) => setImmediate(resolve))
        room = PUBLISHED_AT_ONCE_MAX
      }
      room -= count
      const results = this.#publishPart(messages, part)
      published.push(results)
      // It is with the store in a later turn.
      if (count > PUBLISHED_AT_ONCE_MAX) await results
    }
    return published
  }

  /** Never rejects: each part has its own answer. */
  async #publishPart(
    messages: readonly NewMessage[],
    { from, to, isBatch }: Part,
  ): Promise<readonly PublishResult[]> {
    const own = messages.slice(from, to)
    try {
      return await (isBatch ? this.#broker.publishTogether(own) : this.#broker.publish(own))
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      if (!(error instanceof Unconfirmed)) return new Array<PublishResult>(own.length).fill(error)
      const receipts = error.done as readonly PublishReceipt[]
      return receipts.map((receipt) => new Unconfirmed(error, receipt))
    }
  }
}

/** Each native batch by itself, and what stands between them in parts for one turn. */
function partsOf(waiting: readonly Waiting[]): Part[] {
  const parts: Part[] = []
  let from = 0
  let to = 0
  const end = (isBatch: boolean): void => {
    if (to > from) parts.push({ from, to, isBatch })
    from = to
  }
  for (const { count } of waiting) {
    if (count > 1 || to - from >= PUBLISHED_AT_ONCE_MAX) end(false)
    to += count
    if (count > 1) end(true)
  }
  end(false)
  return parts
}

const joined = (
  parts: readonly Promise<readonly PublishResult[]>[],
): Promise<readonly PublishResult[]> => Promise.all(parts).then((results) => results.flat())

/**
 * The messages for a later turn: a message that is a SEND of its own may be a view on the chunk,
 * which is reused by then. Those of a batch are views on a copy already.
 */
function keptOf(messages: readonly NewMessage[], waiting: readonly Waiting[]): NewMessage[] {
  const kept = [...messages]
  let at = 0
  for (const { count } of waiting) {
    if (count === 1) kept[at] = withOwnBytes(kept[at]!)
    at += count
  }
  return kept
}

/** @throws BrokerError PERMISSION_DENIED for a topic that belongs to the machinery */
export function checkSendTopic(topic: string): void {
  if (!isSendForbidden(topic)) return
  throw new BrokerError('PERMISSION_DENIED', `Sending message to topic[${topic}] is forbidden.`)
}
