// Runs a handler for every message of a group: returning settles it, throwing hands it back for
// later. Messages with one ordering key are handled one after the other.
import { randomUUID } from 'node:crypto'
import { unlessAborted } from '../../abort.ts'
import { type Clock, sleep } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { abortController } from '../calls/abort.ts'
import { BackOff } from '../calls/back-off.ts'
import { begunEntry, endedEntry, type TraceSink } from '../calls/trace-entry.ts'
import type { Delivery } from './delivery.ts'
import { GroupMember, type MemberContext } from './group-member.ts'
import { Lanes } from './lanes.ts'
import type { MemberOptions } from './member-options.ts'
import type { CloseOptions } from './subscription.ts'

/** The signal is aborted when the consumer closes and its deadline has passed. */
export type Handler = (delivery: Delivery, context: { signal: AbortSignal }) => unknown

const DEADLINE_MS = 10_000
/** Between attempts to hand a message back. */
const FIRST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 10_000

export class Consumer implements AsyncDisposable {
  readonly #clock: Clock
  readonly #handler: Handler
  readonly #lanes: Lanes
  readonly #member: GroupMember
  readonly #overdue = abortController()
  readonly #onClosed: () => void
  readonly #failed: (error: BrokerError) => void
  readonly #traces: TraceSink | undefined
  readonly #group: string
  #closing: Promise<void> | undefined

  /** Use `client.consume`. */
  constructor(
    options: MemberOptions & { readonly concurrency: number },
    context: MemberContext,
    handler: Handler,
    onClosed: () => void,
  ) {
    this.#clock = context.clock
    this.#handler = handler
    this.#traces = context.traces
    this.#group = options.group
    this.#onClosed = onClosed
    this.#lanes = new Lanes(options.concurrency)
    this.#failed = (error) => context.status.emit({ type: 'error', error })
    this.#member = new GroupMember(options, context, {
      deliver: (delivery) => {
        if (this.#closing !== undefined) return
        this.#lanes.add(delivery.orderingKey, () => this.#handle(delivery))
      },
    })
  }

  /** Settles when its share of the queues is known and read. */
  async start(signal?: AbortSignal): Promise<void> {
    try {
      await unlessAborted(this.#member.start(), signal)
    } catch (error) {
      await this.close({ deadlineMs: 0 })
      throw error
    }
  }

  /**
   * Starts no further message, waits for the running ones until the deadline, then aborts their
   * signal, commits and signs off. Idempotent, never rejects.
   */
  close({ deadlineMs = DEADLINE_MS }: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(deadlineMs)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(deadlineMs: number): Promise<void> {
    this.#lanes.clear()
    await this.#member.close(async () => {
      const overdue = new Promise<void>((resolve) => {
        const timer = this.#clock.after(deadlineMs, resolve)
        void this.#lanes.idle().then(() => timer.cancel())
      })
      await Promise.race([this.#lanes.idle(), overdue])
      this.#overdue.abort(new BrokerError('CLOSED', 'the consumer is closed'))
    })
    this.#onClosed()
  }

  /** Never rejects. */
  async #handle(delivery: Delivery): Promise<void> {
    // Its queue went to another member while it waited here.
    if (delivery.isExpired) return
    const ended = this.#trace(delivery)
    try {
      await this.#handler(delivery, { signal: this.#overdue.signal })
      ended(true)
    } catch (thrown) {
      ended(false)
      this.#failed(BrokerError.from(thrown))
      return this.#handBack(delivery)
    }
    // A handler may settle by itself, and its queue may have gone to another member since.
    await delivery.ack().catch((error) => {
      if (!isExpired(error)) this.#failed(BrokerError.from(error))
    })
  }

  /** @returns what to call when the handler is done */
  #trace({ messageId, keys, attempt }: Delivery): (isSuccess: boolean) => void {
    const traces = this.#traces
    if (traces === undefined) return () => {}
    const attemptId = randomUUID()
    const handled = { group: this.#group, messageId, keys, attemptId, retries: attempt - 1 }
    const beganMs = this.#clock.now()
    traces.add(begunEntry(handled, beganMs))
    return (isSuccess) => {
      const atMs = this.#clock.now()
      traces.add(endedEntry(handled, { atMs, costMs: atMs - beganMs, isSuccess }))
    }
  }

  /**
   * Until it is handed back it counts as unsettled: a crash before repeats it, nothing loses it.
   */
  async #handBack(delivery: Delivery): Promise<void> {
    const backOff = new BackOff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS)
    for (;;) {
      try {
        return await delivery.nack()
      } catch (error) {
        if (isExpired(error) || this.#closing !== undefined) return
        this.#failed(BrokerError.from(error))
        await sleep(this.#clock, backOff.nextMs())
      }
    }
  }
}

const isExpired = (error: unknown): boolean =>
  error instanceof BrokerError && error.code === 'RECEIPT_EXPIRED'
