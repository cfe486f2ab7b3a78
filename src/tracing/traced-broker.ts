// The Broker port of one front-end, with spans around what happens to messages. What is not traced
// goes through unchanged.
import type { SpanContext } from '@opentelemetry/api'
import { BrokerError } from '../errors.ts'
import type { Protocol } from '../model/client.ts'
import type {
  HandBack,
  NewMessage,
  PopDelivery,
  Popped,
  PopRequest,
  PublishReceipt,
  PublishResult,
  PullRequest,
  PullResult,
  Receipt,
  ReceivedMessage,
  ReceiveRequest,
  Settlement,
  SettleResult,
} from '../model/message.ts'
import { RecordView, recordsOf } from '../model/record.ts'
import type { StateChange } from '../model/state.ts'
import type { Broker } from '../port/broker.ts'
import type { MessageSpans, Published } from './message-spans.ts'
import { PopContexts } from './pop-contexts.ts'

export function tracedBroker(broker: Broker, protocol: Protocol, spans: MessageSpans): Broker {
  const traced = new TracedMessages(broker, protocol, spans)
  return {
    ...traced.port,
    identity: broker.identity,
    recall: (topic, handle) => broker.recall(topic, handle),
    extend: (receipts, invisibleMs) => broker.extend(receipts, invisibleMs),
    sendBack: (request) => broker.sendBack(request),
    watch: (topic, arrived) => broker.watch(topic, arrived),
    permission: broker.permission,
    topics: broker.topics,
    groups: broker.groups,
    cursors: broker.cursors,
    lightQueues: broker.lightQueues,
    lookup: broker.lookup,
    clients: broker.clients,
    states: broker.states,
    queueLocks: broker.queueLocks,
    transactions: broker.transactions,
    replies: broker.replies,
    status: () => broker.status(),
  }
}

class TracedMessages {
  readonly #broker: Broker
  readonly #protocol: Protocol
  readonly #spans: MessageSpans
  /** Of deliveries that are not settled, as long as their receipts are. */
  readonly #deliveries = new WeakMap<Receipt, SpanContext>()
  readonly #pops = new PopContexts()

  constructor(broker: Broker, protocol: Protocol, spans: MessageSpans) {
    this.#broker = broker
    this.#protocol = protocol
    this.#spans = spans
  }

  get port() {
    const broker = this.#broker
    return {
      publish: (
        messages: readonly NewMessage[],
        changes?: readonly StateChange[],
      ): Promise<readonly PublishResult[]> =>
        this.#publish(messages, (all) => broker.publish(all, changes)),
      publishTogether: (messages: readonly NewMessage[]): Promise<readonly PublishReceipt[]> =>
        this.#publish(messages, (all) => broker.publishTogether(all)),
      publishAndSettle: (
        messages: readonly NewMessage[],
        settlements: readonly Settlement[],
      ): Promise<readonly PublishReceipt[]> =>
        this.#publish(messages, (all) => broker.publishAndSettle(all, settlements)),
      pull: (request: PullRequest): Promise<PullResult> => this.#pull(request),
      receive: (request: ReceiveRequest): Promise<readonly ReceivedMessage[]> =>
        this.#receive(request),
      ack: (receipts: readonly Receipt[]) =>
        this.#settle(receipts, 'ack', () => broker.ack(receipts)),
      nack: (receipts: readonly Receipt[], delayMs?: number, handBack?: HandBack) =>
        this.#settle(receipts, 'nack', () => broker.nack(receipts, delayMs, handBack)),
      release: (receipts: readonly Receipt[], handBack?: HandBack) =>
        this.#settle(receipts, 'release', () => broker.release(receipts, handBack)),
      abandon: (receipts: readonly Receipt[]) =>
        this.#settle(receipts, 'abandon', () => broker.abandon(receipts)),
      deadLetter: (receipts: readonly Receipt[], reason: string) =>
        this.#settle(receipts, 'dead letter', () => broker.deadLetter(receipts, reason)),
      pops: {
        pop: (request: PopRequest): Promise<Popped> => this.#pop(request),
        ack: (deliveries: readonly PopDelivery[]) => this.#ackPops(deliveries),
        change: (delivery: PopDelivery, invisibleMs: number, isSuspended: boolean) =>
          broker.pops.change(delivery, invisibleMs, isSuspended),
      },
    }
  }

  /** The call to the broker is made within this one. */
  #publish<R extends PublishResult>(
    messages: readonly NewMessage[],
    call: (messages: readonly NewMessage[]) => Promise<readonly R[]>,
  ): Promise<readonly R[]> {
    let under: (Published | undefined)[] | undefined
    for (const [at, message] of messages.entries()) {
      const published = this.#spans.publish(message, this.#protocol)
      if (published === undefined) continue
      under ??= new Array(messages.length)
      under[at] = published
    }
    if (under === undefined) return call(messages)
    const all = messages.map((message, at) => under[at]?.message ?? message)
    return this.#published(under, call(all))
  }

  async #published<R extends PublishResult>(
    under: readonly (Published | undefined)[],
    storing: Promise<readonly R[]>,
  ): Promise<readonly R[]> {
    const end = (of: (at: number) => PublishResult): void => {
      for (const [at, published] of under.entries()) {
        if (published !== undefined) this.#spans.published(published, of(at))
      }
    }
    try {
      const results = await storing
      end((at) => results[at]!)
      return results
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      end(() => error)
      throw thrown
    }
  }

  async #pull(request: PullRequest): Promise<PullResult> {
    const result = await this.#broker.pull(request)
    // A native pull names its reader; without one the front-end looks at a record for itself.
    const isLook = this.#protocol === 'remoting' && request.reader === undefined
    if (!isLook && this.#spans.mayBeTraced(result.records)) {
      const to = { protocol: this.#protocol, group: request.group, attempt: undefined }
      for (const record of recordsOf(result.records)) this.#spans.delivered(record, to)
    }
    return result
  }

  async #receive(request: ReceiveRequest): Promise<readonly ReceivedMessage[]> {
    const { group } = request
    const received = await this.#broker.receive(request)
    for (const { record, receipt, attempt } of received) {
      const to = { protocol: this.#protocol, group, attempt }
      const context = this.#delivered(record, to)
      if (context !== undefined) this.#deliveries.set(receipt, context)
    }
    return received
  }

  async #pop(request: PopRequest): Promise<Popped> {
    const { group } = request
    const popped = await this.#broker.pops.pop(request)
    for (const { record, topic, queueId, offset, attempt } of popped.messages) {
      const context = this.#delivered(record, { protocol: this.#protocol, group, attempt })
      if (context === undefined) continue
      this.#pops.add({ group, topic, queueId, poppedAt: popped.poppedAt }, offset, context)
    }
    return popped
  }

  #delivered(
    record: Buffer,
    to: Parameters<MessageSpans['delivered']>[1],
  ): SpanContext | undefined {
    return this.#spans.mayBeTraced(record)
      ? this.#spans.delivered(new RecordView(record), to)
      : undefined
  }

  #settle(
    receipts: readonly Receipt[],
    outcome: string,
    call: () => Promise<readonly SettleResult[]>,
  ): Promise<readonly SettleResult[]> {
    const under = new Map<number, (refused: BrokerError | null) => void>()
    for (const [at, receipt] of receipts.entries()) {
      const context = this.#deliveries.get(receipt)
      const end = context && this.#spans.settle(context, outcome, this.#protocol)
      if (end !== undefined) under.set(at, end)
    }
    return under.size === 0 ? call() : settled(under, call())
  }

  async #ackPops(deliveries: readonly PopDelivery[]): Promise<readonly number[]> {
    const contexts = deliveries.map((delivery) => this.#pops.take(delivery))
    const ends = contexts.flatMap((all) =>
      all.flatMap((context) => this.#spans.settle(context, 'ack', this.#protocol) ?? []),
    )
    try {
      const counts = await this.#broker.pops.ack(deliveries)
      for (const end of ends) end(null)
      return counts
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      for (const end of ends) end(error)
      throw thrown
    }
  }
}

async function settled(
  under: ReadonlyMap<number, (refused: BrokerError | null) => void>,
  settling: Promise<readonly SettleResult[]>,
): Promise<readonly SettleResult[]> {
  try {
    const results = await settling
    for (const [at, end] of under) end(results[at]!)
    return results
  } catch (thrown) {
    const error = BrokerError.from(thrown)
    for (const end of under.values()) end(error)
    throw thrown
  }
}
