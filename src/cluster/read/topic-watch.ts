// News of messages of a topic: one held pull at the end of each queue, for all that watch it.
import { abortController } from '../../client/calls/abort.ts'
import { type Clock, sleep } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import type { Arrived } from '../../port/broker.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import type { ClusterTopics } from '../definitions/topics.ts'
import type { Links } from '../links.ts'
import type { ClusterPuller } from './puller.ts'

const HELD_MS = 15_000
/** Queues that nothing follows, new ones and those of a broker that was away, are looked for. */
const PAUSE_MS = 1_000

interface Parts {
  readonly links: Links
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

  async #follow(topic: string, watch: Watch): Promise<void> {
    const { clock, links } = this.#parts
    const { signal } = watch.stop
    const followed = new Set<string>()
    while (!signal.aborted) {
      const { readable } = await links.routes.queues(topic).catch(() => NO_QUEUES)
      for (const queue of readable) {
        const name = nameOf(queue)
        if (followed.has(name)) continue
        followed.add(name)
        void this.#followQueue(queue, watch)
          .catch(() => {})
          .finally(() => followed.delete(name))
      }
      await sleep(clock, PAUSE_MS, signal).catch(() => {})
    }
  }

  /** A watcher may have read before this began: what there is now counts as news. */
  async #followQueue(queue: QueueRef, { watchers, stop }: Watch): Promise<void> {
    const { clock, puller, topics } = this.#parts
    const { brokerName, queueId } = queue
    const { signal } = stop
    const of = { ...queue, maxMessages: 1, maxBytes: 1, filter: EVERY_TAG, waitMs: HELD_MS }
    let { maxOffset: offset } = await topics.range(queue)
    const tell = (): void => {
      for (const watcher of watchers) watcher(brokerName, queueId, offset)
    }
    tell()
    while (!signal.aborted) {
      const { maxOffset, status } = await puller.pull({ ...of, offset, signal })
      if (maxOffset !== offset) {
        offset = maxOffset
        tell()
      } else if (status !== 'at-end') await sleep(clock, PAUSE_MS, signal)
    }
  }
}

const nameOf = ({ brokerName, queueId }: QueueRef): string => `${brokerName}/${queueId}`

const NO_QUEUES = { readable: [] }

const ended = (): BrokerError => new BrokerError('ABORTED', 'the topic is watched no more')
