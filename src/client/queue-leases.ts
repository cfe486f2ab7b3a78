// The right to read a queue in order, which the broker gives to one member at a time for 60 seconds
// (LOCK_BATCH_MQ). Renewed every 20; a member that could not renew for 30 stops by itself, well before
// the broker gives the queue to another.
import type { Clock } from '../clock.ts'
import type { RemotingConnection } from '../remoting/connection.ts'
import type { QueueRef } from '../remoting/requests/queue.ts'
import { queueKey } from './allocation.ts'
import { lockQueues, type QueueHolder, unlockQueues } from './calls.ts'

export const LEASE_RENEW_MS = 20_000
const LEASE_CERTAIN_MS = 30_000
const TIMEOUT_MS = 1000

export type ConnectionOf = (queue: QueueRef) => Promise<RemotingConnection>

interface Lease {
  readonly queue: QueueRef
  readonly certainUntil: number
}

export class QueueLeases {
  readonly #holder: QueueHolder
  readonly #clock: Clock
  readonly #connection: ConnectionOf
  readonly #leases = new Map<string, Lease>()

  constructor(holder: QueueHolder, clock: Clock, connection: ConnectionOf) {
    this.#holder = holder
    this.#clock = clock
    this.#connection = connection
  }

  holds(queue: QueueRef): boolean {
    const lease = this.#leases.get(queueKey(queue))
    return lease !== undefined && lease.certainUntil > this.#clock.monotonic()
  }

  /** Asks for those that it does not hold. Rejects when a broker does not answer. */
  async take(queues: readonly QueueRef[]): Promise<void> {
    const missing = queues.filter((queue) => !this.holds(queue))
    await Promise.all(byBroker(missing).map((some) => this.#lock(some)))
  }

  /** Rejects when a broker does not answer; what is held then ages. */
  async renew(): Promise<void> {
    const queues = [...this.#leases.values()].map((lease) => lease.queue)
    await Promise.all(byBroker(queues).map((some) => this.#lock(some)))
  }

  async give(queues: readonly QueueRef[]): Promise<void> {
    for (const queue of queues) this.#leases.delete(queueKey(queue))
    await Promise.all(
      byBroker(queues).map(async (some) => {
        const connection = await this.#connection(some[0]!)
        await unlockQueues(connection, this.#holder, some, { timeoutMs: TIMEOUT_MS })
      }),
    )
  }

  /** Queues of one broker. */
  async #lock(queues: readonly QueueRef[]): Promise<void> {
    const connection = await this.#connection(queues[0]!)
    const certainUntil = this.#clock.monotonic() + LEASE_CERTAIN_MS
    const locked = await lockQueues(connection, this.#holder, queues, { timeoutMs: TIMEOUT_MS })
    for (const queue of queues) this.#leases.delete(queueKey(queue))
    for (const queue of locked) this.#leases.set(queueKey(queue), { queue, certainUntil })
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
