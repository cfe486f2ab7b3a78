// Strictly ordered consumption by queue: one client at a time holds a queue of a
// group, by a lease that it renews. In memory only: after a restart the clients lock again.
import type { Clock } from '../../clock.ts'

export interface LockableQueue {
  readonly topic: string
  readonly queueId: number
}

interface Lease {
  clientId: string
  untilMs: number
}

export class QueueLockTable {
  readonly #clock: Clock
  readonly #leaseMs: number
  /** By group, then by queue. */
  readonly #leases = new Map<string, Map<string, Lease>>()

  constructor(clock: Clock, leaseMs: number) {
    this.#clock = clock
    this.#leaseMs = leaseMs
  }

  /** Those of the queues that the client holds now; a lease of its own is renewed. */
  lock<Q extends LockableQueue>(group: string, clientId: string, queues: readonly Q[]): Q[] {
    const nowMs = this.#clock.monotonic()
    let leases = this.#leases.get(group)
    if (leases === undefined) {
      leases = new Map()
      this.#leases.set(group, leases)
    }
    const held: Q[] = []
    for (const queue of queues) {
      const key = keyOf(queue)
      const lease = leases.get(key)
      if (lease !== undefined && lease.clientId !== clientId && lease.untilMs > nowMs) continue
      leases.set(key, { clientId, untilMs: nowMs + this.#leaseMs })
      held.push(queue)
    }
    return held
  }

  unlock(group: string, clientId: string, queues: readonly LockableQueue[]): void {
    const leases = this.#leases.get(group)
    for (const queue of queues) {
      const key = keyOf(queue)
      if (leases?.get(key)?.clientId === clientId) leases.delete(key)
    }
    if (leases?.size === 0) this.#leases.delete(group)
  }

  /** Does a client hold a queue of the group? */
  isLocking(group: string): boolean {
    const nowMs = this.#clock.monotonic()
    for (const lease of this.#leases.get(group)?.values() ?? []) {
      if (lease.untilMs > nowMs) return true
    }
    return false
  }

  isLocked(group: string, topic: string, queueId: number): boolean {
    const lease = this.#leases.get(group)?.get(keyOf({ topic, queueId }))
    return lease !== undefined && lease.untilMs > this.#clock.monotonic()
  }

  /** The client is gone. */
  unlockAll(group: string, clientId: string): void {
    const leases = this.#leases.get(group)
    for (const [key, lease] of leases ?? []) if (lease.clientId === clientId) leases!.delete(key)
    if (leases?.size === 0) this.#leases.delete(group)
  }

  /** The topic is gone, and with it its queues. */
  dropTopic(topic: string): void {
    for (const [group, leases] of this.#leases) {
      for (const key of leases.keys()) if (topicOf(key) === topic) leases.delete(key)
      if (leases.size === 0) this.#leases.delete(group)
    }
  }

  dropGroup(group: string): void {
    this.#leases.delete(group)
  }

  /** Leases that ran out take no room. */
  sweep(): void {
    const nowMs = this.#clock.monotonic()
    for (const [group, leases] of this.#leases) {
      for (const [key, lease] of leases) if (lease.untilMs <= nowMs) leases.delete(key)
      if (leases.size === 0) this.#leases.delete(group)
    }
  }
}

const topicOf = (key: string): string => key.slice(key.indexOf('/') + 1)
const keyOf = (queue: LockableQueue): string => `${queue.queueId}/${queue.topic}`
