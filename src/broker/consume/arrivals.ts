// News of readable entries, once per queue and event-loop turn, to the requests that wait: held
// pulls, held receives and the front-ends' watchers. Carries positions, never messages.
import type { Logger } from '../../log.ts'
import type { QueueOffset } from '../../model/positions.ts'

export type TopicArrived = (topic: string, queueId: number, maxOffset: QueueOffset) => void
type TopicWatcher = (queueId: number, maxOffset: QueueOffset) => void

export class Arrivals {
  readonly #log: Logger
  readonly #parts: TopicArrived[] = []
  readonly #watchers = new Map<string, Set<TopicWatcher>>()
  readonly #news = new Map<string, Map<number, QueueOffset>>()
  #isScheduled = false

  constructor(log: Logger) {
    this.#log = log
  }

  /** The store's arrival listener, called within its own commit: the arrival is only noted here. */
  readonly note: TopicArrived = (topic, queueId, maxOffset) => {
    let queues = this.#news.get(topic)
    if (queues === undefined) {
      queues = new Map()
      this.#news.set(topic, queues)
    }
    queues.set(queueId, maxOffset)
    if (this.#isScheduled) return
    this.#isScheduled = true
    queueMicrotask(() => this.#tell())
  }

  /** A part of the broker that wants every arrival. */
  onAny(arrived: TopicArrived): void {
    this.#parts.push(arrived)
  }

  watch(topic: string, arrived: TopicWatcher): Disposable {
    let watchers = this.#watchers.get(topic)
    if (watchers === undefined) {
      watchers = new Set()
      this.#watchers.set(topic, watchers)
    }
    watchers.add(arrived)
    return {
      [Symbol.dispose]: () => {
        watchers.delete(arrived)
        if (watchers.size === 0 && this.#watchers.get(topic) === watchers) {
          this.#watchers.delete(topic)
        }
      },
    }
  }

  #tell(): void {
    this.#isScheduled = false
    const news = [...this.#news]
    this.#news.clear()
    for (const [topic, queues] of news) {
      const watchers = this.#watchers.get(topic)
      for (const [queueId, maxOffset] of queues) {
        for (const part of this.#parts) this.#safely(() => part(topic, queueId, maxOffset))
        for (const watcher of watchers ?? []) this.#safely(() => watcher(queueId, maxOffset))
      }
    }
  }

  /** One listener's mistake must not keep the news from the others. */
  #safely(tell: () => void): void {
    try {
      tell()
    } catch (error) {
      this.#log.error(
        { evt: 'arrivals.listener_failed', err: error },
        'a listener for arrivals threw',
      )
    }
  }
}
