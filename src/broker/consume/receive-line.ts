// The consumers of one group that wait on one topic, first come first served. The handout chooses
// their messages; when to ask it is decided here.
import { onAbort } from '../../abort.ts'
import { inTurns, type Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { ANY_QUEUE, type ReceivedMessage } from '../../model/message.ts'
import { type MessageFilter, selectsAll, wantTheSame } from '../../model/message-filter.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import { Handout, type HandoutGroup, type HandoutRequest } from './handout.ts'

/** Receives that are answered in one turn, as their line is closed. */
const ENDED_AT_ONCE_MAX = 256

interface Waiting {
  readonly request: HandoutRequest
  readonly resolve: (messages: readonly ReceivedMessage[]) => void
  readonly reject: (error: BrokerError) => void
  /** undefined: waits only until the stored messages were searched. */
  readonly timer: Timer | undefined
  readonly callOff: (() => void) | undefined
}

export class ReceiveLine {
  readonly handout: Handout
  readonly #group: HandoutGroup
  readonly #waiting = new Set<Waiting>()
  /** The receives among them that do not wait for new messages. */
  #pollers = 0
  #isWoken = false

  constructor(group: HandoutGroup, topic: string, filter: MessageFilter) {
    this.#group = group
    this.handout = new Handout(group, topic, filter)
  }

  get waitingCount(): number {
    return this.#waiting.size
  }

  receive(request: HandoutRequest): Promise<readonly ReceivedMessage[]> {
    this.#agreeOn(request)
    if (request.signal?.aborted) return Promise.reject(ABORTED)
    const messages = this.handout.collect(request, request.maxMessages)
    if (messages.length > 0) return Promise.resolve(messages)
    if (request.waitMs <= 0 && !this.#isLooking) return Promise.resolve([])
    const { counts, options } = this.#group
    if (counts.waiting >= options.heldReceivesMax) {
      return Promise.reject(
        new BrokerError(
          'BUSY',
          `${counts.waiting} receives are waiting already; broker.heldReceivesMax is ${options.heldReceivesMax}`,
        ),
      )
    }
    return this.#wait(request)
  }

  /** Serves the waiting ones at the end of this turn; by a condition, in the turn of its search. */
  wake(): void {
    if (this.#waiting.size === 0 || this.#isWoken) return
    this.#isWoken = true
    const serve = (): void => {
      this.#isWoken = false
      this.#serve()
    }
    if (this.handout.leavesRest || this.handout.filter.kind === 'sql')
      void this.#group.searches.run(async () => serve())
    else queueMicrotask(serve)
  }

  /**
   * Ends every waiting receive: without messages at a close, with the error when the topic is gone.
   * They are answered over several turns of the event loop, for there may be thousands.
   */
  close(error?: BrokerError): void {
    const gone = [...this.#waiting]
    for (const waiting of gone) this.#leave(waiting)
    void inTurns(gone, ENDED_AT_ONCE_MAX, ({ resolve, reject }) => {
      if (error === undefined) resolve([])
      else reject(error)
    })
  }

  /**
   * Two filters in one group would each settle what only the other one wants, unless each leaves
   * that.
   */
  #agreeOn({ filter, leavesRest = false }: HandoutRequest): void {
    const current = this.handout.filter
    const isAgreed = this.handout.leavesRest
      ? leavesRest || selectsAll(filter)
      : !leavesRest && wantTheSame(filter, current)
    if (isAgreed) return
    const canChange = leavesRest && selectsAll(current)
    if (!canChange && (this.#waiting.size > 0 || this.handout.isBusy)) {
      const used = this.handout.leavesRest ? 'selectors' : `the filter '${current.expression}'`
      throw new BrokerError(
        'SUBSCRIPTION_CONFLICT',
        `the group '${this.#group.name}' consumes '${this.handout.topic}' with ${used}; ` +
          `'${filter.expression}' must wait until those consumers have gone, or use another group`,
      )
    }
    this.handout.change(leavesRest ? EVERY_TAG : filter, leavesRest)
  }

  #wait(request: HandoutRequest): Promise<readonly ReceivedMessage[]> {
    return new Promise((resolve, reject) => {
      const { signal, waitMs } = request
      const leaveWith = (settle: () => void) => () => {
        this.#leave(waiting)
        settle()
      }
      const timer =
        waitMs > 0
          ? this.#group.clock.after(
              waitMs,
              leaveWith(() => resolve([])),
            )
          : undefined
      const callOff =
        signal &&
        onAbort(
          signal,
          leaveWith(() => reject(ABORTED)),
        )
      const waiting: Waiting = { request, resolve, reject, timer, callOff }
      this.#waiting.add(waiting)
      if (timer === undefined) this.#pollers++
      this.#group.counts.waiting++
    })
  }

  #leave(waiting: Waiting): void {
    this.#waiting.delete(waiting)
    this.#group.counts.waiting--
    if (waiting.timer === undefined) this.#pollers--
    waiting.timer?.cancel()
    waiting.callOff?.()
    if (this.#waiting.size === 0) this.handout.dropLoaded()
  }

  #serve(): void {
    for (const waiting of this.#waiting) {
      if (!this.handout.hasMore) break
      const { request } = waiting
      try {
        const messages = this.handout.collect(request, this.#share(request))
        if (messages.length > 0) {
          this.#leave(waiting)
          waiting.resolve(messages)
        } else if (this.handout.isSearching) break
        else if (this.handout.leavesRest) continue
        else if (request.queueId === ANY_QUEUE && !request.ordered && !this.handout.hasAside) {
          break
        }
      } catch (error) {
        this.#leave(waiting)
        waiting.reject(BrokerError.from(error))
      }
    }
    this.#letPollersGo()
  }

  /** May there be something that was not seen yet? */
  get #isLooking(): boolean {
    return this.handout.isLoading || this.handout.isSearching
  }

  /** Receives without a wait are answered empty once the queues have been searched. */
  #letPollersGo(): void {
    if (this.#pollers === 0 || this.#isLooking) return
    for (const waiting of [...this.#waiting]) {
      if (waiting.timer !== undefined) continue
      this.#leave(waiting)
      waiting.resolve([])
    }
  }

  /** Several waiting consumers share the messages, rather than the first one taking all. */
  #share(request: HandoutRequest): number {
    if (this.#waiting.size === 1) return request.maxMessages
    const share = Math.ceil(this.handout.available / this.#waiting.size)
    return Math.max(1, Math.min(request.maxMessages, share))
  }
}

/**
 * One for all: a consumer that is lost ends thousands of receives at once, and each would cost its
 * stack.
 */
const ABORTED = new BrokerError('ABORTED', 'the receive was aborted')
