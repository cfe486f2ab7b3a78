// The SENDs of one socket chunk: gathered while the chunk is cut into frames, published together,
// and answered in one piece. A native batch among them is stored whole or not at all: its sender
// has one answer for it, and after an error sends all of it again.
import { BrokerError } from '../../errors.ts'
import type { NewMessage, PublishReceipt, PublishResult } from '../../model/message.ts'
import { offsetMessageId } from '../../model/message-id.ts'
import { isSendForbidden } from '../../model/names.ts'
import type { Output } from '../../output.ts'
import { RESPONSE } from '../../remoting/codes.ts'
import { encodeCommand, responseHeader } from '../../remoting/command.ts'
import type { SendResponses } from '../../remoting/fast/send-response.ts'
import type { HeaderCodec } from '../../remoting/frame.ts'
import { writeFields } from '../../remoting/layout.ts'
import { SEND_RESPONSE } from '../../remoting/requests/send.ts'
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

/** The sends of one chunk. */
interface Gathered {
  readonly messages: readonly NewMessage[]
  readonly waiting: readonly Waiting[]
  readonly bytes: number
  /** When they were read, monotonic ms. */
  readonly readMs: number
}

/** Messages that are published by one call. */
interface Part {
  readonly from: number
  readonly to: number
  readonly isBatch: boolean
}

export interface SendBatchOptions {
  readonly context: RemotingContext
  readonly output: Output
  readonly responses: SendResponses
  /** Told of the bytes that wait for the disk, so that reading can pause. */
  readonly onBytes: (change: number) => void
}

export class SendBatch {
  readonly #options: SendBatchOptions
  #messages: NewMessage[] = []
  #waiting: Waiting[] = []
  #bytes = 0
  /** Chunks that are published turn by turn, in their order; undefined: none is. */
  #line: Gathered[] | undefined

  constructor(options: SendBatchOptions) {
    this.#options = options
  }

  add(
    opaque: number,
    codec: HeaderCodec,
    isOneWay: boolean,
    messages: readonly NewMessage[],
  ): void {
    for (const message of messages) {
      this.#messages.push(message)
      this.#bytes += message.body.length + message.properties.length
    }
    this.#waiting.push({ opaque, codec, isOneWay, count: messages.length })
  }

  /** As `add` with one message. */
  addOne(opaque: number, codec: HeaderCodec, isOneWay: boolean, message: NewMessage): void {
    this.#messages.push(message)
    this.#bytes += message.body.length + message.properties.length
    this.#waiting.push({ opaque, codec, isOneWay, count: 1 })
  }

  /** Publishes what the chunk brought. `readMs`: when it was read, monotonic. */
  flush(readMs: number): void {
    if (this.#waiting.length === 0) return
    const messages = this.#messages
    const waiting = this.#waiting
    const bytes = this.#bytes
    this.#messages = []
    this.#waiting = []
    this.#bytes = 0
    this.#options.onBytes(bytes)
    if (this.#line === undefined && messages.length <= PUBLISHED_AT_ONCE_MAX) {
      const published =
        messages.length === waiting.length
          ? this.#options.context.broker.publish(messages)
          : joined(partsOf(waiting).map((part) => this.#publishPart(messages, part)))
      this.#answerTo({ messages, waiting, bytes, readMs }, published)
      return
    }
    const kept = { messages: keptOf(messages, waiting), waiting, bytes, readMs }
    if (this.#line !== undefined) this.#line.push(kept)
    else {
      this.#line = [kept]
      void this.#publishInTurns(this.#line)
    }
  }

  /** Later sends on the connection wait behind it, so that order is kept. */
  async #publishInTurns(line: Gathered[]): Promise<void> {
    for (let next = line.shift(); next !== undefined; next = line.shift()) {
      const published: Promise<readonly PublishResult[]>[] = []
      let room = PUBLISHED_AT_ONCE_MAX
      for (const part of partsOf(next.waiting)) {
        const count = part.to - part.from
        if (count > room && room < PUBLISHED_AT_ONCE_MAX) {
          await new Promise((resolve) => setImmediate(resolve))
          room = PUBLISHED_AT_ONCE_MAX
        }
        room -= count
        const results = this.#publishPart(next.messages, part)
        published.push(results)
        // It is with the store in a later turn.
        if (count > PUBLISHED_AT_ONCE_MAX) await results
      }
      this.#answerTo(next, joined(published))
    }
    this.#line = undefined
  }

  /** Never rejects: each part has its own answer. */
  async #publishPart(
    messages: readonly NewMessage[],
    { from, to, isBatch }: Part,
  ): Promise<readonly PublishResult[]> {
    const { broker } = this.#options.context
    const own = messages.slice(from, to)
    try {
      return await (isBatch ? broker.publishTogether(own) : broker.publish(own))
    } catch (error) {
      return new Array<PublishResult>(own.length).fill(BrokerError.from(error))
    }
  }

  #answerTo(
    { messages, waiting, bytes, readMs }: Gathered,
    published: Promise<readonly PublishResult[]>,
  ): void {
    const { clock, traffic } = this.#options.context
    const answer = (results: readonly PublishResult[]): void => {
      traffic.published(messages, results, clock.monotonic() - readMs)
      this.#answer(waiting, results)
      this.#options.onBytes(-bytes)
    }
    published.then(answer, (error: unknown) => {
      const failed = BrokerError.from(error)
      answer(new Array<PublishResult>(messages.length).fill(failed))
    })
  }

  #answer(waiting: readonly Waiting[], results: readonly PublishResult[]): void {
    const { output, responses } = this.#options
    const { bytesMax } = responses
    let out: Buffer | undefined
    let used = 0
    let first = 0
    for (const [index, entry] of waiting.entries()) {
      const from = first
      first += entry.count
      if (entry.isOneWay) continue
      const result = results[from]!
      if (entry.count === 1 && !(result instanceof BrokerError)) {
        out ??= Buffer.allocUnsafe((waiting.length - index) * bytesMax)
        const { opaque, codec } = entry
        const { queueId, queueOffset, position } = result
        used = responses.write(out, used, codec, opaque, queueId, queueOffset, position)
        continue
      }
      // Answers keep the order of their requests.
      if (out !== undefined) output.push(out.subarray(0, used))
      out = undefined
      used = 0
      output.push(this.#slowAnswer(entry, results.slice(from, first)))
    }
    if (out !== undefined) output.push(out.subarray(0, used))
  }

  /** A failure, or a batch. */
  #slowAnswer({ opaque, codec }: Waiting, results: readonly PublishResult[]): Buffer {
    const failed = results.find((result) => result instanceof BrokerError)
    if (failed !== undefined) {
      this.#log(failed)
      const code = responseCodeOf(failed)
      return encodeCommand(
        responseHeader(opaque, code, undefined, failed.message),
        undefined,
        codec,
      )
    }
    const receipts = results as readonly PublishReceipt[]
    const ids = receipts.map(({ storeHost, position }) => offsetMessageId(storeHost, position))
    const fields = writeFields(SEND_RESPONSE, {
      msgId: ids.join(','),
      queueId: receipts[0]!.queueId,
      queueOffset: receipts[0]!.queueOffset,
      MSG_REGION: 'DefaultRegion',
      TRACE_ON: 'true',
    })
    return encodeCommand(responseHeader(opaque, RESPONSE.success, fields), undefined, codec)
  }

  #log(error: BrokerError): void {
    if (!isOurFault(error)) return
    const fields = { evt: 'remoting.send_failed', err: error }
    this.#options.context.log.error(fields, 'a send failed for a reason of our own')
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
    if (count === 1) {
      const message = kept[at]!
      const [body, properties] = [Buffer.from(message.body), Buffer.from(message.properties)]
      kept[at] = { ...message, body, properties }
    }
    at += count
  }
  return kept
}

/** @throws BrokerError PERMISSION_DENIED for a topic that belongs to the machinery */
export function checkSendTopic(topic: string): void {
  if (!isSendForbidden(topic)) return
  throw new BrokerError('PERMISSION_DENIED', `Sending message to topic[${topic}] is forbidden.`)
}
