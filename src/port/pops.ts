// Pops of the Broker port: receiving per message, where a delivery goes by a name of plain words
// instead of a receipt. Its consumers are consumers of their group like those of `receive`: they
// share its messages, attempts and progress.
import type { PopDelivery, Popped, PopRequest } from '../model/message.ts'

/**
 * A message whose time is over, or that was changed to come back, counts an attempt and comes again
 * from the group's retry topic at that time; after the last attempt it is a dead letter. One that
 * was handed out in order comes again in its place.
 *
 * A name is worth nothing once its delivery was settled, changed, or its time is over; so is one of
 * another group, or of an earlier run of the broker: what it stands for is left alone. After a
 * restart the group is handed out again what it had not acknowledged.
 */
export interface Pops {
  /** As `Broker.receive`. @throws as that */
  pop(request: PopRequest): Promise<Popped>
  /**
   * Done for the group, where the names hold; those that do not are passed over, as RocketMQ does.
   * Settles with how many of each delivery's held. Durable within a second.
   */
  ack(deliveries: readonly PopDelivery[]): Promise<readonly number[]>
  /**
   * The time starts again, and the delivery goes by a new name: of one offset, with the answered
   * `poppedAt`. undefined: the name does not hold, and nothing was changed.
   *
   * `isSuspended`: the consumer hands the message back unseen, so that no attempt is counted when
   * the time is over.
   */
  change(
    delivery: PopDelivery,
    invisibleMs: number,
    isSuspended: boolean,
  ): Promise<number | undefined>
}
