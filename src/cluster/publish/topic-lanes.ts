// The lanes of one topic. A message with an ordering key is bound to the lane of its key; one
// without goes by any lane whose broker answers. While little is to be sent one lane is on its way
// at a time, so that what comes gathers; with much, all of them are.
import { type Clock, sleep } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { ANY_QUEUE } from '../../model/message.ts'
import { queueOfKey } from '../../model/ordering-key.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { Lane, type LaneParts } from './lane.ts'
import { type Parcel, refuse } from './parcel.ts'

/** So many that wait are worth another request beside those on their way. */
const FILLED = 16
/** A broker that did not answer is left alone so long by what may go elsewhere. */
const AVOIDED_MS = 1000
const ROUTE_FRESH_MS = 30_000
const PAUSE_MS = 100

export interface TopicLanesParts extends Pick<LaneParts, 'send'> {
  readonly clock: Clock
  readonly topic: string
  /**
   * The queues that may be written, sorted; of a topic that does not exist, those in which a send
   * would make it, where that is wanted. Rejects with a BrokerError.
   */
  route(mayCreate: boolean): Promise<readonly QueueRef[]>
  /** The route may be out of date. */
  invalidate(): void
}

export class TopicLanes {
  readonly #parts: TopicLanesParts
  /** What is bound to a queue, while it is not known to which. */
  #unassigned: Parcel[] = []
  /** What lanes of a queue that is no more had of it, which came before. */
  #returned: Parcel[] = []
  /** What may go by any lane. */
  #loose: Parcel[] = []
  #lanes: readonly Lane[] = []
  #turn = Math.floor(Math.random() * 1024)
  #routedMs = Number.NEGATIVE_INFINITY
  #isRouting = false
  /** Settles a change of the queues, once no lane is on its way. */
  #allIdle: (() => void) | undefined
  /** By broker, monotonic. */
  readonly #avoidedUntilMs = new Map<string, number>()

  constructor(parts: TopicLanesParts) {
    this.#parts = parts
  }

  get #mayCreate(): boolean {
    const waiting = [this.#returned, this.#unassigned, this.#loose]
    return waiting.some((parcels) => parcels.some(mayCreate))
  }

  get isIdle(): boolean {
    const waiting = this.#unassigned.length + this.#loose.length
    return !this.#isRouting && waiting === 0 && this.#lanes.every((lane) => lane.isEmpty)
  }

  /** To go out by `flush`. */
  add(parcel: Parcel): void {
    const { orderingKey, queueId } = parcel.items[0]!.message
    if (queueId === ANY_QUEUE && orderingKey === undefined) this.#loose.push(parcel)
    else if (this.#lanes.length === 0 || this.#allIdle) this.#unassigned.push(parcel)
    else this.#bind(parcel)
  }

  flush(): void {
    const ageMs = this.#parts.clock.monotonic() - this.#routedMs
    if (ageMs >= ROUTE_FRESH_MS && !this.#isRouting) void this.#reroute()
    for (const lane of this.#lanes) lane.start(NONE)
    this.#startLoose()
  }

  #bind(parcel: Parcel): void {
    const { orderingKey = '', queueId, brokerName } = parcel.items[0]!.message
    const lane =
      queueId === ANY_QUEUE
        ? this.#lanes[queueOfKey(orderingKey, this.#lanes.length)]
        : this.#lanes.find(
            ({ queue }) =>
              queue.queueId === queueId && (brokerName ?? queue.brokerName) === queue.brokerName,
          )
    if (lane !== undefined) {
      lane.bind(parcel)
      return
    }
    const text = `the topic '${this.#parts.topic}' has no queue ${queueId} that can be written to now`
    refuse(parcel, new BrokerError('QUEUE_NOT_FOUND', text))
  }

  #startLoose(): void {
    while (this.#loose.length > 0) {
      const isOneOnItsWay = this.#lanes.some((lane) => lane.isBusy)
      if (isOneOnItsWay && this.#loose.length < FILLED) return
      const lane = this.#nextIdle()
      if (lane === undefined) return
      lane.start(this.#loose)
    }
  }

  /** In turn; of brokers that are avoided only where there are no others. */
  #nextIdle(): Lane | undefined {
    if (this.#allIdle) return undefined
    const nowMs = this.#parts.clock.monotonic()
    const isGood = ({ queue }: Lane): boolean =>
      (this.#avoidedUntilMs.get(queue.brokerName) ?? 0) <= nowMs
    const isAnyGood = this.#lanes.some(isGood)
    for (let step = 0; step < this.#lanes.length; step++) {
      const at = (this.#turn + step) % this.#lanes.length
      const lane = this.#lanes[at]!
      if (!lane.isEmpty || (isAnyGood && !isGood(lane))) continue
      this.#turn = at + 1
      return lane
    }
    return undefined
  }

  /** One question at a time. */
  async #reroute(): Promise<void> {
    this.#isRouting = true
    try {
      const queues = await this.#parts.route(this.#mayCreate)
      this.#routedMs = this.#parts.clock.monotonic()
      if (!this.#hasSame(queues)) await this.#change(queues)
    } catch (thrown) {
      this.#refuseOverdue(BrokerError.from(thrown))
      await sleep(this.#parts.clock, PAUSE_MS)
    }
    this.#isRouting = false
    if (!this.isIdle) this.flush()
  }

  #hasSame(queues: readonly QueueRef[]): boolean {
    return (
      queues.length === this.#lanes.length &&
      queues.every(({ brokerName, queueId }, i) => {
        const { queue } = this.#lanes[i]!
        return queue.brokerName === brokerName && queue.queueId === queueId
      })
    )
  }

  /**
   * The messages of a key must not go two ways at once: no lane of the old queues is on its way
   * when the first of the new ones starts.
   */
  async #change(queues: readonly QueueRef[]): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#allIdle = resolve
      for (const lane of this.#lanes) lane.stop()
      this.#look()
    })
    this.#allIdle = undefined
    const { clock, send } = this.#parts
    this.#lanes = queues.map(
      (queue) =>
        new Lane(queue, {
          clock,
          send,
          failed: (lane, error) => this.#onFailed(lane, error),
          handBack: (parcels) => this.#handBack(parcels),
          idle: () => this.#onIdle(),
        }),
    )
    const bound = [...this.#returned, ...this.#unassigned]
    this.#returned = []
    this.#unassigned = []
    for (const parcel of bound) this.#bind(parcel)
  }

  #look(): void {
    if (this.#allIdle !== undefined && !this.#lanes.some((lane) => lane.isBusy)) this.#allIdle()
  }

  #onFailed({ queue }: Lane, { code }: BrokerError): void {
    const { clock, invalidate } = this.#parts
    this.#avoidedUntilMs.set(queue.brokerName, clock.monotonic() + AVOIDED_MS)
    if (code === 'BUSY' || code === 'READ_ONLY') return
    invalidate()
    this.#routedMs = Number.NEGATIVE_INFINITY
  }

  #handBack(parcels: readonly Parcel[]): void {
    const isLoose = ({ items: [item] }: Parcel): boolean =>
      item!.message.queueId === ANY_QUEUE && item!.message.orderingKey === undefined
    this.#loose.unshift(...parcels.filter(isLoose))
    this.#returned.push(...parcels.filter((parcel) => !isLoose(parcel)))
  }

  #onIdle(): void {
    this.#look()
    this.flush()
  }

  /** Without a way to go: what is refused for good goes at once, the rest at its time. */
  #refuseOverdue(error: BrokerError): void {
    const nowMs = this.#parts.clock.monotonic()
    const wasToCreate = this.#mayCreate
    const isOver = (parcel: Parcel): boolean => {
      if (parcel.deadlineMs <= nowMs) return true
      return !error.retryable && mayCreate(parcel) === wasToCreate
    }
    for (const parcel of [...this.#unassigned, ...this.#loose]) {
      if (isOver(parcel)) refuse(parcel, error)
    }
    this.#unassigned = this.#unassigned.filter((parcel) => !isOver(parcel))
    this.#loose = this.#loose.filter((parcel) => !isOver(parcel))
  }
}

const mayCreate = ({ items: [item] }: Parcel): boolean => item!.message.createTopic

const NONE: Parcel[] = []
