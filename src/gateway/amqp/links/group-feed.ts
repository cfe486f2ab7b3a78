// Messages of a consumer group: the broker hands them out one by one and keeps them for us until
// they are settled.

import type { Resource } from '../../../access/auth.ts'
import type { Receipt, SettleResult } from '../../../model/message.ts'
import type { MessageFilter } from '../../../model/message-filter.ts'
import type { Outcome } from '../codec/disposition.ts'
import { type Feed, type FeedItem, receiptsOf } from './feed.ts'
import type { Peer } from './link.ts'
import { verdictOf } from './verdict.ts'

export interface GroupSource {
  readonly topic: string
  readonly group: string
  /** ANY_QUEUE for all. */
  readonly queueId: number
  readonly filter: MessageFilter
  /** As `ReceiveRequest.leavesRest`. */
  readonly leavesRest: boolean
  readonly ordered: boolean
  readonly startAt: 'first' | 'last'
  readonly lockMs: number
}

/** Feeds of this process since its start. */
let opened = 0

export class GroupFeed implements Feed {
  readonly lockMs: number
  readonly consumes: readonly Resource[]
  readonly #peer: Peer
  readonly #source: GroupSource
  /** A link that attaches again is another consumer (AMQP 3.4.5). */
  readonly #memberId: string
  readonly #closed: () => void

  constructor(peer: Peer, source: GroupSource, closed: () => void) {
    this.lockMs = source.lockMs
    this.consumes = [
      { kind: 'topic', name: source.topic },
      { kind: 'group', name: source.group },
    ]
    this.#peer = peer
    this.#source = source
    this.#memberId = `${peer.connectionId}/${++opened}`
    this.#closed = closed
  }

  /** Fixes where a new group begins: now, and not when the peer first grants credit. */
  async start(): Promise<void> {
    await this.giveBack(receiptsOf(await this.read(1, 0, NEVER)), false)
  }

  read(max: number, waitMs: number, signal: AbortSignal): Promise<readonly FeedItem[]> {
    const { topic, group, queueId, filter, leavesRest, ordered, startAt, lockMs } = this.#source
    return this.#peer.broker.receive({
      topic,
      queueId,
      group,
      filter,
      leavesRest,
      maxMessages: max,
      maxBytes: this.#peer.readBytesMax,
      invisibleMs: lockMs,
      ordered,
      startAt,
      waitMs,
      memberId: this.#memberId,
      signal,
    })
  }

  async settle(receipts: readonly Receipt[], outcome: Outcome): Promise<void> {
    const { broker, clock } = this.#peer
    const verdict = verdictOf(outcome, clock.now())
    switch (verdict.kind) {
      case 'ack':
        return this.#settled(await broker.ack(receipts))
      case 'release':
        return this.#settled(await broker.release(receipts, verdict.handBack))
      case 'deadLetter':
        return this.#settled(await broker.deadLetter(receipts, verdict.reason))
      case 'nack':
        return this.#settled(await broker.nack(receipts, verdict.delayMs, verdict.handBack))
    }
  }

  async giveBack(receipts: readonly Receipt[], isLost: boolean): Promise<void> {
    const { broker } = this.#peer
    if (receipts.length === 0) return
    this.#settled(await (isLost ? broker.abandon(receipts) : broker.release(receipts)))
  }

  /** An expired receipt is no error here: the message is delivered again, as the group promises. */
  #settled(results: readonly SettleResult[]): void {
    const expired = results.filter((result) => result !== null).length
    if (expired === 0) return
    const fields = { evt: 'amqp.receipt_expired', group: this.#source.group, messages: expired }
    this.#peer.log.debug(fields, 'settlements came too late')
  }

  close(): void {
    this.#closed()
  }
}

/** A read that does not wait needs no end. */
const NEVER = new AbortController().signal
