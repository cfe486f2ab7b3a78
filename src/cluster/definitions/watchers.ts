// Watchers of definitions that others may change: told of our own changes at once, and of those
// that a look now and then shows.
import type { Clock, Timer } from '../../clock.ts'

/** Of what there is: its name, and a text that differs when it does. */
type Look = () => Promise<readonly (readonly [name: string, content: string])[]>

export class Watchers {
  readonly #clock: Clock
  readonly #periodMs: number
  readonly #look: Look
  readonly #watching = new Set<(name: string) => void>()
  #seen: ReadonlyMap<string, string> | undefined
  #looks: Timer | undefined
  #isLooking = false

  constructor(clock: Clock, periodMs: number, look: Look) {
    this.#clock = clock
    this.#periodMs = periodMs
    this.#look = look
  }

  watch(changed: (name: string) => void): Disposable {
    const watcher = (name: string): void => changed(name)
    this.#watching.add(watcher)
    this.#looks ??= this.#clock.every(this.#periodMs, () => void this.#compare())
    void this.#compare()
    return {
      [Symbol.dispose]: () => {
        this.#watching.delete(watcher)
        if (this.#watching.size === 0) this.close()
      },
    }
  }

  tell(name: string): void {
    for (const watcher of this.#watching) watcher(name)
  }

  close(): void {
    this.#looks?.cancel()
    this.#looks = undefined
    this.#seen = undefined
  }

  async #compare(): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    try {
      const now = new Map(await this.#look())
      const before = this.#seen
      this.#seen = now
      if (before === undefined || this.#looks === undefined) return
      for (const [name, content] of now) if (before.get(name) !== content) this.tell(name)
      for (const name of before.keys()) if (!now.has(name)) this.tell(name)
    } catch {
      // A cluster that does not answer now is asked again.
    } finally {
      this.#isLooking = false
    }
  }
}
