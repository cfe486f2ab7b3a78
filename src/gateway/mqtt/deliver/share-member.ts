// One connection's part in a shared subscription: takes messages of the group while the client has
// room, and settles each as the client does. PUBACK = ack; a refusal = dead letter; what a client
// leaves goes back.
import { ANY_QUEUE, type ReceivedMessage } from '../../../model/message.ts'
import { filterMatches } from '../../../model/topic-filter.ts'
import { isLooking } from '../address.ts'
import { OutgoingMessage } from '../outgoing/outgoing-message.ts'
import type { ShareSource, Subscription } from '../session/subscriptions.ts'
import type { Outbound } from './outbound.ts'
import type { DeliverParts } from './parts.ts'

/** Taken at a time: small, so that members share evenly. */
const TAKEN_MAX = 16
const TAKEN_BYTES_MAX = 256 * 1024
/** A receive is asked again after this long without a message. */
const WAIT_MS = 20_000
/** After a failure it is asked again with growing pauses. */
const RETRY_MS_MIN = 500
const RETRY_MS_MAX = 30_000

export class ShareMember {
  readonly subscription: Subscription
  readonly source: ShareSource
  readonly #parts: DeliverParts
  readonly #outbound: Outbound
  readonly #memberId: string
  readonly #denied: (topic: string) => void
  readonly #abort = new AbortController()
  /** Received and not sent: the client had no room. */
  #waiting: ReceivedMessage[] = []
  #isReceiving = false
  #isPaused = false
  #retryMs = RETRY_MS_MIN

  /**
   * `denied`: the client may not see messages of this topic, which the group was about to give it.
   */
  constructor(
    parts: DeliverParts,
    outbound: Outbound,
    memberId: string,
    subscription: Subscription,
    denied: (topic: string) => void,
  ) {
    this.subscription = subscription
    this.source = subscription.share!
    this.#parts = parts
    this.#outbound = outbound
    this.#memberId = memberId
    this.#denied = denied
  }

  /** Messages held here, to be renewed with those in flight. */
  get waiting(): readonly ReceivedMessage[] {
    return this.#waiting
  }

  /** The client may have room: sends what waits, then asks for more. */
  readonly poke = (): void => {
    if (this.#abort.signal.aborted) return
    this.#send()
    if (this.#abort.signal.aborted) return
    if (!this.#isReceiving && !this.#isPaused && this.#waiting.length === 0) this.#receive()
  }

  /** Gives back what was never sent; it does not count as an attempt. */
  close(): void {
    this.#abort.abort()
    const receipts = this.#waiting.map(({ receipt }) => receipt)
    this.#waiting = []
    if (receipts.length > 0) this.#settle(this.#parts.context.broker.release(receipts))
  }

  #receive(): void {
    const room = Math.min(this.#outbound.newRoom, TAKEN_MAX)
    if (room === 0) return
    const { group, topic, filter } = this.source
    this.#isReceiving = true
    const received = this.#parts.context.broker.receive({
      topic,
      queueId: ANY_QUEUE,
      group,
      filter,
      maxMessages: room,
      maxBytes: TAKEN_BYTES_MAX,
      invisibleMs: this.#parts.options.invisibleMs,
      ordered: false,
      startAt: 'last',
      waitMs: WAIT_MS,
      memberId: this.#memberId,
      signal: this.#abort.signal,
    })
    received.then(
      (messages) => {
        this.#isReceiving = false
        this.#retryMs = RETRY_MS_MIN
        this.#waiting.push(...messages)
        if (this.#abort.signal.aborted) this.close()
        else this.poke()
      },
      (error: unknown) => this.#failed(error),
    )
  }

  #failed(error: unknown): void {
    this.#isReceiving = false
    if (this.#abort.signal.aborted) return
    const { log, clock } = this.#parts.context
    if (this.#retryMs === RETRY_MS_MIN) {
      const fields = { evt: 'mqtt.share_failed', group: this.source.group, err: error }
      log.warn(fields, 'receiving for a group failed; trying again until it works')
    }
    this.#isPaused = true
    clock.after(this.#retryMs, () => {
      this.#isPaused = false
      this.poke()
    })
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX)
  }

  #send(): void {
    const done = []
    let denied: string | undefined
    while (this.#waiting.length > 0 && this.#outbound.newRoom > 0) {
      const { record, brokerName, receipt } = this.#waiting[0]!
      const delivery = new OutgoingMessage(record, 0, brokerName)
      if (!this.#isWanted(delivery)) {
        this.#waiting.shift()
        done.push(receipt)
        continue
      }
      if (!this.#outbound.mayRead(delivery)) {
        denied = delivery.recordTopic
        break
      }
      this.#waiting.shift()
      const isSent = this.#outbound.sendShared(delivery, this.subscription, receipt)
      // QoS 0 is done once written; what the client cannot take is done too.
      const isSettled = !isSent || Math.min(delivery.qos, this.subscription.qos) === 0
      if (isSettled) done.push(receipt)
    }
    if (done.length > 0) this.#settle(this.#parts.context.broker.ack(done))
    // It leaves, which gives back what waits: nothing of it is settled.
    if (denied !== undefined) this.#denied(denied)
  }

  #isWanted({ topicName }: OutgoingMessage): boolean {
    return !isLooking(this.source.group) || filterMatches(this.subscription.filter, topicName)
  }

  #settle(settled: Promise<unknown>): void {
    const { log } = this.#parts.context
    settled.catch((error: unknown) => {
      log.warn({ evt: 'mqtt.settle_failed', err: error }, 'settling messages of a group failed')
    })
  }
}
