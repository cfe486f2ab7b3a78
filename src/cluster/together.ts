// Messages together with settlements of received ones, as far as the brokers of a cluster go: the
// messages go as one batch, which a broker takes whole or refuses whole, and what was received is
// settled behind them. A gateway that dies in between, or a broker that is lost, leaves received
// messages unsettled, and they come again: nothing is lost, and no part of the messages is stored.
import { BrokerError } from '../errors.ts'
import type {
  NewMessage,
  PublishReceipt,
  Receipt,
  Settlement,
  SettleResult,
  Verdict,
} from '../model/message.ts'
import type { ClusterPublisher } from './publish/cluster-publisher.ts'
import type { ClusterReceiver } from './receive/receiver.ts'

interface Parts {
  readonly publisher: ClusterPublisher
  readonly receiver: ClusterReceiver
}

/** As `Broker.publishAndSettle`. */
export async function publishAndSettle(
  { publisher, receiver }: Parts,
  messages: readonly NewMessage[],
  settlements: readonly Settlement[],
): Promise<readonly PublishReceipt[]> {
  checkOneQueue(messages)
  receiver.checkHeld(settlements.map(({ receipt }) => receipt))
  const stored = messages.length === 0 ? [] : await publisher.publishTogether(messages)
  const results = await Promise.all(runsOf(settlements).map((run) => settle(receiver, run)))
  const failed = results.flat().find((result) => result !== null)
  // What goes with messages that are stored comes again when its time is over.
  if (failed !== undefined && messages.length === 0) throw failed
  return stored
}

/** @throws NOT_SUPPORTED */
function checkOneQueue(messages: readonly NewMessage[]): void {
  const [first] = messages
  const isWithFirst = (one: NewMessage): boolean =>
    one.topic === first!.topic &&
    one.orderingKey === first!.orderingKey &&
    one.queueId === first!.queueId &&
    one.brokerName === first!.brokerName
  if (messages.every(isWithFirst)) return
  throw new BrokerError(
    'NOT_SUPPORTED',
    'before a cluster the messages of one transaction go to one queue, since no more than a batch ' +
      'is stored whole or not at all: one topic, and one sender or one ordering key',
  )
}

interface Run {
  readonly verdict: Verdict
  readonly receipts: Receipt[]
}

/** Neighbours that are settled alike. */
function runsOf(settlements: readonly Settlement[]): Run[] {
  const runs: Run[] = []
  for (const { receipt, verdict } of settlements) {
    const last = runs.at(-1)
    if (last !== undefined && isAlike(last.verdict, verdict)) last.receipts.push(receipt)
    else runs.push({ verdict, receipts: [receipt] })
  }
  return runs
}

const isAlike = (one: Verdict, other: Verdict): boolean =>
  one.kind === other.kind &&
  (one.kind !== 'nack' || other.kind !== 'nack' || one.delayMs === other.delayMs)

function settle(receiver: ClusterReceiver, run: Run): Promise<readonly SettleResult[]> {
  const { verdict, receipts } = run
  switch (verdict.kind) {
    case 'ack':
      return receiver.ack(receipts)
    case 'nack':
      return receiver.nack(receipts, verdict.delayMs)
    case 'release':
      return receiver.release(receipts)
    case 'deadLetter':
      return receiver.deadLetter(receipts)
  }
}
