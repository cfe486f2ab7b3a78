// Reads a topic without a consumer group, from a given place on: no settlement, no committed
// offset. For watching, replay and tools.
import { TOOLS_GROUP } from '../../model/names.ts'
import { onAbort } from '../calls/abort.ts'
import { Mailbox } from '../calls/mailbox.ts'
import { checkNames, KIND, type Kind } from '../calls/option-names.ts'
import type { Delivery, Message } from './delivery.ts'
import { GroupMember, type MemberContext } from './group-member.ts'
import type { StartAt } from './start-offset.ts'
import { memberOptions, type Tags } from './subscribe-options.ts'

const PREFETCH_DEFAULT = 256

export interface ReadOptions {
  readonly topic: string
  readonly tags?: Tags | undefined
  /** Instead of tags: a condition over properties, in RocketMQ's SQL92. */
  readonly sql?: string | undefined
  /** Default: messages sent from now on. */
  readonly from?: StartAt | undefined
  /** Messages that may wait here, shared out evenly over the queues, at least one for each. */
  readonly prefetch?: number | undefined
  /** Ends the iteration with its reason. */
  readonly signal?: AbortSignal | undefined
}

const NAMES: Readonly<Record<keyof ReadOptions, Kind | true>> = {
  topic: KIND.text,
  tags: true,
  sql: KIND.text,
  from: true,
  prefetch: KIND.number,
  signal: KIND.signal,
}

export class TopicReader implements AsyncIterableIterator<Message>, AsyncDisposable {
  /** Settles when every queue is read. Rejects as the iteration does. */
  readonly ready: Promise<void>
  readonly #member: GroupMember
  readonly #mailbox = new Mailbox<Delivery>()
  readonly #onClosed: () => void
  readonly #unheard: () => void
  #closing: Promise<void> | undefined

  /** Use `client.read`. */
  constructor(options: ReadOptions, context: MemberContext, onClosed: () => void) {
    checkNames('option of read', options, NAMES)
    const { topic, tags, sql, from, prefetch = PREFETCH_DEFAULT, signal } = options
    const member = memberOptions({ group: TOOLS_GROUP, topic, tags, sql, from, prefetch })
    this.#onClosed = onClosed
    this.#member = new GroupMember(
      { ...member, broadcasting: true, isRegistered: false },
      context,
      {
        deliver: (delivery) => this.#mailbox.push(delivery),
        refused: (error) => this.#fail(error),
      },
    )
    this.ready = this.#member.start()
    this.ready.catch((error) => this.#fail(error))
    this.#unheard = onAbort(signal, (reason) => {
      this.#mailbox.clear()
      this.#fail(reason)
    })
  }

  async next(): Promise<IteratorResult<Message, undefined>> {
    const value = await this.#mailbox.next()
    if (value === undefined) return { done: true, value }
    // Makes room for the next one, unless its queue is gone; nothing is told to a broker.
    if (!value.isExpired) await value.ack()
    return { done: false, value }
  }

  async return(): Promise<IteratorResult<Message, undefined>> {
    await this.close()
    return { done: true, value: undefined }
  }

  /** Idempotent, never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  #fail(error: unknown): void {
    this.#mailbox.end(error)
    void this.close()
  }

  async #close(): Promise<void> {
    this.#unheard()
    this.#mailbox.clear()
    this.#mailbox.end()
    await this.#member.close()
    this.#onClosed()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
