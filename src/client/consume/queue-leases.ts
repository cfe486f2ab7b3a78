// The right to read a queue in order, which the broker gives to one member at a time for 60 seconds
// (LOCK_BATCH_MQ). Renewed every 20; a member that could not renew for 30 stops by itself, well
// before the broker gives the queue to another.
import type { Clock } from '../../clock.ts'
import { queueKey } from '../../remoting/allocation.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { lockQueues, type QueueHolder, unlockQueues } from '../calls/calls.ts'
import type { Brokers } from '../routes/brokers.ts'

export const LEASE_RENEW_MS = 20_000
const LEASE_CERTAIN_MS = 30_000
/** A broker that is slow must hold up neither a rebalance nor a close. */
const ANSWER = { timeoutMs: 1000 }

interface Lease {
  readonly queue: QueueRef
  readonly certainUntil: number
}

export class QueueLeases {
  readonly #holder: QueueHolder
  readonly #clock: Clock
  readonly #brokers: Brokers
  readonly #leases = new Map<string, Lease>()

  constructor(holder: QueueHolder, clock: Clock, brokers: Brokers) {
    this.#holder = holder
    this.#clock = clock
    this.#brokers = brokers
  }

  holds(queue: QueueRef): boolean {
    const lease = this.#leases.get(queueKey(queue))
    return lease !== undefined && lease.certainUntil > this.#clock.monotonic()
  }

  /** Asks for those that it does not hold. Rejects when a broker does not answer. */
  async take(queues: readonly QueueRef[]): Promise<void> {
    const missing = queues.filter((queue) => !this.holds(queue))
    await Promise.all(
      byBroker(missing).map(async (some) => {
        for (const lease of await this.#lock(some)) this.#keep(lease)
      }),
    )
  }

  /** Rejects when a broker does not answer; the leases then age. */
  async renew(): Promise<void> {
    const queues = [...this.#leases.values()].map((lease) => lease.queue)
    await Promise.all(
      byBroker(queues).map(async (some) => {
        const leases = await this.#lock(some)
        // Queues given back during the call stay given back.
        const kept = leases.filter(({ queue }) => this.#leases.has(queueKey(queue)))
        for (const queue of some) this.#leases.delete(queueKey(queue))
        for (const lease of kept) this.#keep(lease)
      }),
    )
  }

  async give(queues: readonly QueueRef[]): Promise<void> {
    for (const queue of queues) this.#leases.delete(queueKey(queue))
    await Promise.all(
      byBroker(queues).map(async (some) => {
        const connection = await this.#brokers.connection(some[0]!.brokerName, ANSWER)
        await unlockQueues(connection, this.#holder, some, ANSWER)
      }),
    )
  }

  #keep(lease: Lease): void {
    this.#leases.set(queueKey(lease.queue), lease)
  }

  /** Of queues of one broker; those that it gave. */
  async #lock(queues: readonly QueueRef[]): Promise<readonly Lease[]> {
    const connection = await this.#brokers.connection(queues[0]!.brokerName, ANSWER)
    const certainUntil = this.#clock.monotonic() + LEASE_CERTAIN_MS
    const locked = await lockQueues(connection, this.#holder, queues, ANSWER)
    return locked.map((queue) => ({ queue, certainUntil }))
  }
}

function byBroker(queues: readonly QueueRef[]): QueueRef[][] {
  const groups = new Map<string, QueueRef[]>()
  for (const queue of queues) {
    const group = groups.get(queue.brokerName)
    if (group === undefined) groups.set(queue.brokerName, [queue])
    else group.push(queue)
  }
  return [...groups.values()]
}
