// How many POPs and notifications wait for messages, by topic, group and queue.
import { BrokerError } from '../../errors.ts'

/** Of one topic, group and queue; as Apache's popPollingSize. */
const HELD_MAX = 1024
/** Of all together; as Apache's maxPopPollingSize. */
const HELD_TOTAL_MAX = 100_000

export class HeldPops {
  readonly #counts = new Map<string, number>()
  #total = 0

  count(topic: string, group: string, queueId: number): number {
    return this.#counts.get(keyOf(topic, group, queueId)) ?? 0
  }

  /** Waits with it counted; undefined when too many wait already, here or at the broker. */
  async within<T>(
    { topic, consumerGroup: group, queueId }: HeldPop,
    wait: () => Promise<T>,
  ): Promise<T | undefined> {
    const key = keyOf(topic, group, queueId)
    const count = this.#counts.get(key) ?? 0
    if (count >= HELD_MAX || this.#total >= HELD_TOTAL_MAX) return undefined
    this.#counts.set(key, count + 1)
    this.#total++
    try {
      return await wait()
    } catch (error) {
      if (BrokerError.from(error).code === 'BUSY') return undefined
      throw error
    } finally {
      this.#total--
      const left = this.#counts.get(key)! - 1
      if (left > 0) this.#counts.set(key, left)
      else this.#counts.delete(key)
    }
  }
}

interface HeldPop {
  readonly topic: string
  readonly consumerGroup: string
  readonly queueId: number
}

const keyOf = (topic: string, group: string, queueId: number): string =>
  `${topic}@${group}@${Math.max(-1, queueId)}`
