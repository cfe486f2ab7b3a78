// The lanes of one topic. A message with an ordering key is bound to the lane of its key; one
// without goes by any lane whose broker answers. While little is to be sent one lane is on its way
// at a time, so that what comes gathers; with much, all of them are.
import { ROUTE_ERRORS } from '../../client/routes/routes.ts'
import { type Clock, sleep, type Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { ANY_QUEUE } from '../../model/message.ts'
import { queueOfKey } from '../../model/topic.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { Lane, type LaneParts } from './lane.ts'
import { type Parcel, refuse } from './parcel.ts'

/** So many that wait are worth another request beside those on their way. */
const FILLED = 16
/**
 * A broker that did not answer is left alone so long by what may go elsewhere, and a route is not
 * asked for again for what a broker that did answer refuses.
 */
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
  /** By broker, monotonic: when it last did not take something. */
  readonly #failedMs = new Map<string, number>()
  /** Tries again what no broker took. */
  #trial: Timer | undefined

  constructor(parts: TopicLanesParts) {
    this.#parts = parts
  }

  get #mayCreate(): boolean {
    const waiting = [this.#returned, this.#unassigned, this.#loose]
    return waiting.some((parcels) => parcels.some(mayCreate))
  }

  get #isRoutedLately(): boolean {
    return this.#parts.clock.monotonic() - this.#routedMs < AVOIDED_MS
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
    // Its broker may have come back since.
    if (!this.#isRoutedLately) {
      this.#unassigned.push(parcel)
      this.#reconsider()
      return
    }
    const text = `the topic '${this.#parts.topic}' has no queue ${queueId} that can be written to now`
    refuse(parcel, new BrokerError('QUEUE_NOT_FOUND', text))
  }

  #startLoose(): void {
    while (this.#loose.length > 0) {
      const nowMs = this.#parts.clock.monotonic()
      const isOneOnItsWay = this.#lanes.some((lane) => lane.isBusy && !lane.isHeldUp(nowMs))
      if (isOneOnItsWay && this.#loose.length < FILLED) {
        this.#tryAgain()
        return
      }
      const lane = this.#nextIdle()
      if (lane === undefined) return
      lane.start(this.#loose)
    }
  }

  /** In turn; of brokers that are avoided only where there are no others, and then not at once. */
  #nextIdle(): Lane | undefined {
    if (this.#allIdle) return undefined
    const nowMs = this.#parts.clock.monotonic()
    const slow = this.#lanes.filter((lane) => lane.isHeldUp(nowMs))
    const isGood = (lane: Lane): boolean =>
      this.#isRested(lane, AVOIDED_MS) &&
      !slow.some(({ queue }) => queue.brokerName === lane.queue.brokerName)
    const mayTake = this.#lanes.some(isGood)
      ? isGood
      : (lane: Lane): boolean => this.#isRested(lane, PAUSE_MS)
    for (let step = 0; step < this.#lanes.length; step++) {
      const at = (this.#turn + step) % this.#lanes.length
      const lane = this.#lanes[at]!
      if (!lane.isEmpty || !mayTake(lane)) continue
      this.#turn = at + 1
      return lane
    }
    this.#tryAgain()
    return undefined
  }

  #tryAgain(): void {
    this.#trial ??= this.#parts.clock.after(PAUSE_MS, () => {
      this.#trial = undefined
      this.flush()
    })
  }

  /** It did not fail within that time. */
  #isRested({ queue }: Lane, ms: number): boolean {
    const failedMs = this.#failedMs.get(queue.brokerName) ?? Number.NEGATIVE_INFINITY
    return this.#parts.clock.monotonic() - failedMs >= ms
  }

  /** One question at a time. */
  async #reroute(): Promise<void> {
    this.#isRouting = true
    try {
      const queues = await this.#parts.route(this.#mayCreate)
      if (queues.length === 0) throw unwritable(this.#parts.topic)
      this.#routedMs = this.#parts.clock.monotonic()
      if (this.#hasSame(queues)) this.#bindAll(this.#unassigned.splice(0))
      else await this.#change(queues)
    } catch (thrown) {
      this.#parts.invalidate()
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
    this.#bindAll([...this.#returned.splice(0), ...this.#unassigned.splice(0)])
  }

  #bindAll(parcels: readonly Parcel[]): void {
    for (const parcel of parcels) this.#bind(parcel)
  }

  /** The queues may be others by now. */
  #reconsider(): void {
    this.#parts.invalidate()
    this.#routedMs = Number.NEGATIVE_INFINITY
  }

  #look(): void {
    if (this.#allIdle !== undefined && !this.#lanes.some((lane) => lane.isBusy)) this.#allIdle()
  }

  #onFailed({ queue }: Lane, error: BrokerError): void {
    const { code, retryable } = error
    // A broker tells the name servers that it takes no messages, and others may have come to them.
    const isTold = code === 'READ_ONLY' && !this.#isRoutedLately
    const isUnknown = code !== 'READ_ONLY' && code !== 'BUSY'
    if (retryable ? isTold || isUnknown : ROUTE_ERRORS.has(code)) this.#reconsider()
    if (!retryable) return
    this.#failedMs.set(queue.brokerName, this.#parts.clock.monotonic())
    this.#loose = this.#refused(this.#loose, error, () => false)
    this.flush()
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
    const wasToCreate = this.#mayCreate
    const isOver = (parcel: Parcel): boolean =>
      !error.retryable && mayCreate(parcel) === wasToCreate
    this.#unassigned = this.#refused(this.#unassigned, error, isOver)
    this.#loose = this.#refused(this.#loose, error, isOver)
  }

  /** @returns the others */
  #refused(
    parcels: readonly Parcel[],
    error: BrokerError,
    isOver: (parcel: Parcel) => boolean,
  ): Parcel[] {
    const nowMs = this.#parts.clock.monotonic()
    return parcels.filter((parcel) => {
      if (parcel.deadlineMs > nowMs && !isOver(parcel)) return true
      refuse(parcel, error)
      return false
    })
  }
}

const mayCreate = ({ items: [item] }: Parcel): boolean => item!.message.createTopic

const unwritable = (topic: string): BrokerError =>
  new BrokerError('NO_ROUTE', `the topic '${topic}' has no queue that can be written to now`, {
    retryable: true,
  })

const NONE: Parcel[] = []
