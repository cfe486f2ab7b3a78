// The hot path of the native front-end: a plain SEND_MESSAGE_V2 becomes a message without a Map, a
// JSON tree or a string of its own. Whatever is not plain (compressed, batched, malformed,
// unusually written) is declined and goes the general way, which also finds the words for what is
// wrong.
import { partOf } from '../../model/bytes.ts'
import type { Host } from '../../model/host.ts'
import { ANY_QUEUE, type NewMessage } from '../../model/message.ts'
import { AUTO_CREATE_TOPIC, isRetryTopic } from '../../model/names.ts'
import { SYS_FLAG } from '../../model/record.ts'
import { VERSION } from '../../remoting/codes.ts'
import type { HeaderScan } from '../../remoting/fast/header-scan.ts'
import { SEND_SLOT, SendScan } from '../../remoting/fast/send-scan.ts'
import { unescapeJson } from '../../remoting/json/json-unescape.ts'

/**
 * Unescaped properties of one chunk; a chunk's escaped ones are longer, so it hardly ever
 * overflows.
 */
const SCRATCH_BYTES = 512 * 1024
const NO_PROPERTIES = Buffer.alloc(0)

/** Answers whether the topic may be sent to, and created; throws when not. */
export type MayPublish = (topic: string) => boolean

/**
 * One for the process: chunks are taken one after the other, and published before the next comes.
 */
export class FastSend {
  readonly #scan: HeaderScan
  readonly #send: SendScan
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  #used = 0
  /** The topic of the last message, and its bytes: the next one's is mostly the same. */
  #topic = ''

  constructor(scan: HeaderScan) {
    this.#scan = scan
    this.#send = new SendScan(scan)
  }

  /** A new chunk: what the last one left is published. */
  reset(): void {
    this.#used = 0
  }

  /**
   * The message of the scanned SEND, or undefined. Its body is a view on the frame, its properties
   * on the frame or on scratch space that lives until `reset`.
   * @throws BrokerError PERMISSION_DENIED
   */
  message(bodyAt: number, end: number, host: Host, mayPublish: MayPublish): NewMessage | undefined {
    const send = this.#send
    send.index()
    if (!send.has(SEND_SLOT.producerGroup) || !send.has(SEND_SLOT.defaultTopic)) return undefined
    if (!this.#isAlone()) return undefined
    const queueId = send.integer(SEND_SLOT.queueId)
    const sysFlag = send.integer(SEND_SLOT.sysFlag)
    const bornTimestamp = send.integer(SEND_SLOT.bornTimestamp)
    const flag = send.integer(SEND_SLOT.flag)
    const createQueues = send.integer(SEND_SLOT.defaultTopicQueueNums)
    if ((queueId | 0) !== queueId || (flag | 0) !== flag || (sysFlag | 0) !== sysFlag) {
      return undefined
    }
    if ((createQueues | 0) !== createQueues || !(bornTimestamp >= 0)) return undefined
    if ((sysFlag & SYS_FLAG.compressed) !== 0) return undefined
    const topic = this.#topicOf()
    const properties = this.#properties()
    // A message for a retry topic names its topic of origin, which the general way checks.
    if (topic === undefined || properties === undefined || isRetryTopic(topic)) return undefined
    // Only what a consumer sends to its retry topic says these.
    const reconsumeTimes = send.has(SEND_SLOT.reconsumeTimes)
      ? send.integer(SEND_SLOT.reconsumeTimes)
      : 0
    const retryTimesMax = send.has(SEND_SLOT.maxReconsumeTimes)
      ? send.integer(SEND_SLOT.maxReconsumeTimes)
      : undefined
    if ((reconsumeTimes | 0) !== reconsumeTimes) return undefined
    if (retryTimesMax !== undefined && (retryTimesMax | 0) !== retryTimesMax) return undefined
    const mayCreate = mayPublish(topic)
    return {
      topic,
      queueId: queueId < 0 ? ANY_QUEUE : queueId,
      body: partOf(this.#scan.bytes, bodyAt, end),
      properties,
      flag,
      sysFlag: sysFlag & SYS_FLAG.multiTags,
      bornTimestamp,
      bornHost: host,
      reconsumeTimes,
      createTopic: mayCreate && send.is(SEND_SLOT.defaultTopic, AUTO_CREATE_TOPIC),
      createQueues: createQueues > 0 ? createQueues : undefined,
      retryTimesMax: this.#scan.version >= VERSION.v3_4_9 ? retryTimesMax : undefined,
    }
  }

  /** Is it no batch? What is neither of the usual words, the general way reads. */
  #isAlone(): boolean {
    const send = this.#send
    if (!send.has(SEND_SLOT.batch)) return true
    return send.is(SEND_SLOT.batch, 'false') || send.is(SEND_SLOT.batch, '0')
  }

  #topicOf(): string | undefined {
    const send = this.#send
    if (!send.has(SEND_SLOT.topic) || send.isEscaped(SEND_SLOT.topic)) return undefined
    if (!send.is(SEND_SLOT.topic, this.#topic)) {
      const at = send.start(SEND_SLOT.topic)
      this.#topic = this.#scan.bytes.utf8Slice(at, send.end(SEND_SLOT.topic))
    }
    return this.#topic
  }

  #properties(): Uint8Array | undefined {
    const send = this.#send
    const slot = SEND_SLOT.properties
    if (!send.has(slot)) return NO_PROPERTIES
    const { bytes } = this.#scan
    const at = send.start(slot)
    const to = send.end(slot)
    if (!send.isEscaped(slot)) return partOf(bytes, at, to)
    if (this.#used + to - at > SCRATCH_BYTES) return undefined
    const from = this.#used
    const end = unescapeJson(bytes, at, to, this.#scratch, from)
    if (end === -1) return undefined
    this.#used = end
    return partOf(this.#scratch, from, end)
  }
}
