// News of messages of a topic: one held pull at the end of each queue, for all that watch it.
import { abortController } from '../../client/calls/abort.ts'
import { type Clock, sleep } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { QueueRange } from '../../model/message.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import type { Arrived } from '../../port/broker.ts'
import type { ClusterTopics } from '../definitions/topics.ts'
import type { ClusterPuller } from './puller.ts'

const HELD_MS = 15_000
const PAUSE_MS = 1_000

interface Parts {
  readonly clock: Clock
  readonly puller: ClusterPuller
  readonly topics: ClusterTopics
}

interface Watch {
  readonly watchers: Set<Arrived>
  readonly stop: AbortController
}

export class TopicWatch {
  readonly #parts: Parts
  readonly #watches = new Map<string, Watch>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  watch(topic: string, arrived: Arrived): Disposable {
    let watch = this.#watches.get(topic)
    if (watch === undefined) {
      watch = { watchers: new Set(), stop: abortController() }
      this.#watches.set(topic, watch)
      void this.#follow(topic, watch)
    }
    const { watchers, stop } = watch
    const watcher: Arrived = (...news) => arrived(...news)
    watchers.add(watcher)
    return {
      [Symbol.dispose]: () => {
        if (!watchers.delete(watcher) || watchers.size > 0) return
        stop.abort(ended())
        if (this.#watches.get(topic)?.watchers === watchers) this.#watches.delete(topic)
      },
    }
  }

  close(): void {
    for (const { stop } of this.#watches.values()) stop.abort(ended())
    this.#watches.clear()
  }

  /** Queues that come later are found when the topic is asked about again. */
  async #follow(topic: string, watch: Watch): Promise<void> {
    const { signal } = watch.stop
    while (!signal.aborted) {
      try {
        const ranges = await this.#parts.topics.ranges(topic)
        await Promise.all(ranges.map((range) => this.#followQueue(range, watch)))
      } catch {
        await sleep(this.#parts.clock, PAUSE_MS, signal).catch(() => {})
      }
    }
  }

  async #followQueue(range: QueueRange, { watchers, stop }: Watch): Promise<void> {
    const { brokerName, queueId } = range
    const { signal } = stop
    const of = { ...range, maxMessages: 1, maxBytes: 1, filter: EVERY_TAG, waitMs: HELD_MS }
    for (let offset = range.maxOffset; !signal.aborted; ) {
      const { maxOffset } = await this.#parts.puller.pull({ ...of, offset, signal })
      if (maxOffset === offset) continue
      offset = maxOffset
      for (const watcher of watchers) watcher(brokerName, queueId, maxOffset)
    }
  }
}

const ended = (): BrokerError => new BrokerError('ABORTED', 'the topic is watched no more')
