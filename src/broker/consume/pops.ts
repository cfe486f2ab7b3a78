// Receiving per message by names: a delivery is found by its group, queue, offset and time, so
// nothing is kept for a name beside the unsettled message itself.
import type { Clock } from '../../clock.ts'
import type { PopDelivery, Popped, PoppedMessage, PopRequest } from '../../model/message.ts'
import { openReceipt } from './held/receipt.ts'
import type { Receiver } from './receiver.ts'

export class PopReceiver {
  readonly #receiver: Receiver
  readonly #clock: Clock

  constructor(receiver: Receiver, clock: Clock) {
    this.#receiver = receiver
    this.#clock = clock
  }

  async pop(request: PopRequest): Promise<Popped> {
    const received = await this.#receiver.receive({ ...request, isPop: true })
    let poppedAt = 0
    const messages = received.map(({ record, receipt, attempt }): PoppedMessage => {
      const open = openReceipt(receipt)
      poppedAt = open.poppedAt
      return { record, topic: open.topic, queueId: open.queueId, offset: open.queueOffset, attempt }
    })
    return { poppedAt, messages }
  }

  ack(deliveries: readonly PopDelivery[]): number[] {
    return deliveries.map(({ group: name, topic, queueId, poppedAt, offsets }) => {
      const group = this.#receiver.receiving(name)
      const queue = group?.queue(topic, queueId)
      if (group === undefined || queue === undefined) return 0
      let acked = 0
      for (const offset of offsets) if (queue.ackPopped(offset, poppedAt)) acked++
      if (acked > 0) {
        group.moved(queue)
        group.wakeFor(topic)
      }
      return acked
    })
  }

  change(
    { group: name, topic, queueId, poppedAt, offsets }: PopDelivery,
    invisibleMs: number,
    isSuspended: boolean,
  ): number | undefined {
    const group = this.#receiver.receiving(name)
    const queue = group?.queue(topic, queueId)
    const entry = offsets[0] === undefined ? undefined : queue?.popped(offsets[0], poppedAt)
    if (group === undefined || queue === undefined || entry === undefined) return undefined
    const renamed = Math.max(this.#clock.now(), poppedAt + 1)
    queue.rename(entry, renamed, this.#clock.monotonic() + invisibleMs, isSuspended)
    group.expects(queue)
    return renamed
  }
}
