// Messages of a group as they come, to be settled one by one: an async iterable, or `poll` for
// some at a time. Leaving the loop ends it and returns unsettled messages to the group.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { abortController, onAbort } from '../calls/abort.ts'
import { Mailbox } from '../calls/mailbox.ts'
import { checkNames, KIND, type Kind } from '../calls/option-names.ts'
import type { Delivery } from './delivery.ts'
import { GroupMember, type MemberContext } from './group-member.ts'
import type { MemberOptions } from './member-options.ts'
import { checkCount } from './subscribe-options.ts'

export interface BatchOptions {
  /** At most this many; default 1. */
  readonly max?: number | undefined
  /** How long to wait for the first; default: not at all. */
  readonly waitMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

const NAMES: Readonly<Record<keyof BatchOptions, Kind | true>> = {
  max: KIND.number,
  waitMs: KIND.wait,
  signal: KIND.signal,
}

export interface CloseOptions {
  /** How long messages in hand may take to be settled. */
  readonly deadlineMs?: number | undefined
}

const DEADLINE_MS = 10_000
/** As many as can be here. */
const RECEIVE_MAX = 100_000

export class Subscription implements AsyncIterableIterator<Delivery>, AsyncDisposable {
  /** Settles when its share of the queues is known and read. Rejects as the iteration does. */
  readonly ready: Promise<void>
  readonly #clock: Clock
  readonly #member: GroupMember
  readonly #mailbox = new Mailbox<Delivery>()
  readonly #onClosed: () => void
  readonly #unheard: () => void
  /** Came after the end. */
  #late = 0
  #settled: (() => void) | undefined
  #closing: Promise<void> | undefined

  /** Use `client.subscribe`. */
  constructor(
    options: MemberOptions,
    context: MemberContext,
    onClosed: () => void,
    signal?: AbortSignal,
  ) {
    this.#clock = context.clock
    this.#onClosed = onClosed
    this.#member = new GroupMember(options, context, {
      deliver: (delivery) => this.#deliver(delivery),
      settled: () => this.#settled?.(),
      refused: (error) => this.#fail(error),
    })
    this.ready = this.#member.start()
    this.ready.catch((error) => this.#fail(error))
    this.#unheard = onAbort(signal, (reason) => {
      this.#mailbox.clear()
      this.#fail(reason)
    })
  }

  async next(): Promise<IteratorResult<Delivery, undefined>> {
    const value = await this.#next()
    return value === undefined ? { done: true, value } : { done: false, value }
  }

  /** Empty when nothing came in time, or the subscription is closed. */
  async poll(options: BatchOptions = {}): Promise<Delivery[]> {
    checkNames('option of poll', options, NAMES)
    const { max = 1, waitMs = 0, signal } = options
    checkCount('max', max, 1, RECEIVE_MAX)
    if (Number.isNaN(waitMs)) throw new BrokerError('ARGUMENT_INVALID', "'waitMs' is no number")
    signal?.throwIfAborted()
    const first = this.#take() ?? (await this.#firstWithin(waitMs, signal))
    const polled: Delivery[] = []
    for (let one = first; one !== undefined; one = this.#take()) {
      polled.push(one)
      if (polled.length >= max) break
    }
    return polled
  }

  /** Leaves at once; messages in hand that are not settled go back to the group. */
  async return(): Promise<IteratorResult<Delivery, undefined>> {
    await this.close({ deadlineMs: 0 })
    return { done: true, value: undefined }
  }

  /**
   * Ends the iteration, waits for messages in hand, commits and signs off. Idempotent, never
   * rejects.
   */
  close({ deadlineMs = DEADLINE_MS }: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(deadlineMs)
    return this.#closing
  }

  #deliver(delivery: Delivery): void {
    if (this.#mailbox.ended) this.#late++
    else this.#mailbox.push(delivery)
  }

  /** Whose queue went to another member while they waited here are left out. */
  #take(): Delivery | undefined {
    let one = this.#mailbox.take()
    while (one?.isExpired) one = this.#mailbox.take()
    return one
  }

  async #next(signal?: AbortSignal): Promise<Delivery | undefined> {
    let one = await this.#mailbox.next(signal)
    while (one?.isExpired) one = await this.#mailbox.next(signal)
    return one
  }

  #fail(error: unknown): void {
    this.#mailbox.end(error)
    void this.close({ deadlineMs: 0 })
  }

  async #close(deadlineMs: number): Promise<void> {
    this.#mailbox.end()
    this.#unheard()
    await this.#member.close(() => this.#untilSettled(deadlineMs))
    this.#onClosed()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close({ deadlineMs: 0 })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async #firstWithin(waitMs: number, signal?: AbortSignal): Promise<Delivery | undefined> {
    if (waitMs <= 0 && !this.#mailbox.ended) return undefined
    const late = abortController()
    const unheard = onAbort(signal, (reason) => late.abort(reason))
    const timer = this.#clock.after(waitMs, () => late.abort(TOO_LATE))
    try {
      return await this.#next(late.signal)
    } catch (error) {
      if (error === TOO_LATE) return undefined
      throw error
    } finally {
      timer.cancel()
      unheard()
    }
  }

  /** Deliveries no caller took are given up; those handed out may be settled until the deadline. */
  async #untilSettled(deadlineMs: number): Promise<void> {
    const givenUp = this.#late + this.#mailbox.clear().filter((one) => !one.isExpired).length
    if (deadlineMs <= 0) return
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(deadlineMs, resolve)
      this.#settled = () => {
        if (this.#member.unsettled > givenUp) return
        timer.cancel()
        resolve()
      }
      this.#settled()
    })
  }
}

const TOO_LATE = new BrokerError('TIMED_OUT', 'nothing came in time')
