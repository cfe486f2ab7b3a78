// The acknowledgements that came in one chunk of a connection: settled in one call and answered
// from one piece of memory. One whose handle does not hold is looked at by itself, for its code.

import type { Principal } from '../../access/auth.ts'
import type { PopDelivery } from '../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../model/positions.ts'
import { REQUEST } from '../../remoting/codes.ts'
import { doneResponses } from '../../remoting/fast/done-response.ts'
import type { ScannedAck } from '../../remoting/fast/pop-scan.ts'
import { CODEC_JSON } from '../../remoting/frame.ts'
import type { Asked } from '../../remoting/serving/connection.ts'
import type { Answering } from './answering.ts'
import { ackNamed, authorizedTopic } from './requests/pop-settle.ts'

interface Delivery extends PopDelivery {
  readonly offsets: QueueOffset[]
}

interface Acks {
  readonly delivery: Delivery
  readonly principal: Principal
  readonly named: ScannedAck[]
  readonly opaques: number[]
}

export class AckBatch {
  readonly #options: Answering
  #batch: Acks[] = []
  #last: Acks | undefined
  /** Acknowledgements that are not answered yet. */
  #open = 0

  constructor(options: Answering) {
    this.#options = options
  }

  get open(): number {
    return this.#open
  }

  /** @throws BrokerError PERMISSION_DENIED */
  add(opaque: number, principal: Principal, ack: ScannedAck): void {
    const topic = this.#topicOf(principal, ack)
    if (!this.#isLast(principal, ack)) {
      const { consumerGroup: group, queueId, popTime: poppedAt } = ack
      const delivery = { group, topic, queueId, poppedAt, offsets: [] }
      this.#last = { delivery, principal, named: [], opaques: [] }
      this.#batch.push(this.#last)
    }
    this.#last!.delivery.offsets.push(queueOffset(ack.offset))
    this.#last!.named.push(ack)
    this.#last!.opaques.push(opaque)
    this.#open++
  }

  /** The chunk is over. */
  flush(): void {
    if (this.#batch.length === 0) return
    const batch = this.#batch
    this.#batch = []
    this.#last = undefined
    const { pops } = this.#options.context.broker
    pops.ack(batch.map(({ delivery }) => delivery)).then(
      (counts) => this.#answer(batch, (at) => counts[at] === batch[at]!.opaques.length),
      // Each is tried by itself, and answered with what is the matter.
      () => this.#answer(batch, () => false),
    )
  }

  #answer(batch: readonly Acks[], holds: (at: number) => boolean): void {
    const { output, onAnswered } = this.#options
    for (const [at, acks] of batch.entries()) {
      this.#open -= acks.opaques.length
      if (holds(at)) output.push(doneResponses(acks.opaques))
      else this.#answerEach(acks)
    }
    onAnswered()
  }

  #answerEach({ named, opaques, principal }: Acks): void {
    const { context, serve } = this.#options
    for (const [i, ack] of named.entries()) {
      const asked = { code: REQUEST.ackMessage, opaque: opaques[i]!, codec: CODEC_JSON, flag: 0 }
      serve(asked as Asked, ackNamed({ context, principal }, ack))
    }
  }

  /** Those of one POP stand together: what was allowed for one of them holds for the others. */
  #topicOf(principal: Principal, ack: ScannedAck): string {
    if (this.#isLast(principal, ack)) return this.#last!.delivery.topic
    return authorizedTopic(
      { context: this.#options.context, principal },
      ack.consumerGroup,
      ack.topic,
    )
  }

  #isLast(principal: Principal, ack: ScannedAck): boolean {
    const last = this.#last
    if (last === undefined || last.principal !== principal) return false
    const first = last.named[0]!
    return (
      first.popTime === ack.popTime &&
      first.queueId === ack.queueId &&
      first.topic === ack.topic &&
      first.consumerGroup === ack.consumerGroup
    )
  }
}
