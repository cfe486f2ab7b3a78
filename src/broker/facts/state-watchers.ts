// Tells what there is to say of states, the newest of an id once per turn.
import type { Logger } from '../../log.ts'

type Changed<News> = (news: News) => void

export class StateWatchers<News> {
  readonly #log: Logger
  readonly #newest: (id: string) => News | undefined
  readonly #watchers = new Map<Changed<News>, string>()
  readonly #changed = new Set<string>()

  constructor(log: Logger, newest: (id: string) => News | undefined) {
    this.#log = log
    this.#newest = newest
  }

  watch(prefix: string, changed: Changed<News>): Disposable {
    // Of its own, so that one function may watch twice.
    const watcher: Changed<News> = (news) => changed(news)
    this.#watchers.set(watcher, prefix)
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) }
  }

  note(id: string): void {
    if (this.#watchers.size === 0) return
    if (this.#changed.size === 0) queueMicrotask(() => this.#tell())
    this.#changed.add(id)
  }

  #tell(): void {
    const ids = [...this.#changed]
    this.#changed.clear()
    for (const id of ids) {
      const news = this.#newest(id)
      if (news === undefined) continue
      for (const [changed, prefix] of this.#watchers) {
        if (id.startsWith(prefix)) this.#safely(() => changed(news))
      }
    }
  }

  /** One watcher's mistake must not keep the news from the others. */
  #safely(tell: () => void): void {
    try {
      tell()
    } catch (error) {
      this.#log.error({ evt: 'states.watcher_failed', err: error }, 'a watcher of states threw')
    }
  }
}
