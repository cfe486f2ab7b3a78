// Appends of the timer that are on their way to the disk: several, so that the next records are
// read while these are synced, and few enough to leave room for those of others.
import type { Clock } from '../../clock.ts'
import { APPEND_BYTES_TARGET } from '../options.ts'

const COUNT_MAX = 16
const BYTES_MAX = 2 * APPEND_BYTES_TARGET
/** Others become due while these are under way: look again after this time. */
const LOOK_AGAIN_MS = 5

export class AppendsUnderWay {
  /** With their bytes, oldest first. None rejects. */
  readonly #appends = new Map<Promise<void>, number>()
  #bytes = 0
  #hasFailed = false
  #failure: unknown

  get isEmpty(): boolean {
    return this.#appends.size === 0
  }

  add(bytes: number, append: Promise<void>): void {
    const settled: Promise<void> = append.then(
      () => this.#ended(settled, bytes),
      (error: unknown) => {
        this.#failure = this.#hasFailed ? this.#failure : error
        this.#hasFailed = true
        this.#ended(settled, bytes)
      },
    )
    this.#appends.set(settled, bytes)
    this.#bytes += bytes
  }

  #ended(append: Promise<void>, bytes: number): void {
    this.#appends.delete(append)
    this.#bytes -= bytes
  }

  /** @throws the first failure */
  check(): void {
    if (this.#hasFailed) throw this.#failure
  }

  /** There is room for one more; what follows a failure would overtake it. @throws that */
  async room(bytes: number): Promise<void> {
    this.check()
    while (this.#appends.size >= COUNT_MAX || (!this.isEmpty && this.#bytes + bytes > BYTES_MAX)) {
      await this.#oldest
      this.check()
    }
  }

  /** One of them is through, or a while is over. */
  async change(clock: Clock): Promise<void> {
    if (this.isEmpty) return
    let over = (): void => {}
    const pause = new Promise<void>((resolve) => {
      over = resolve
    })
    const timer = clock.after(LOOK_AGAIN_MS, over)
    await Promise.race([this.#oldest, pause])
    timer.cancel()
  }

  /** All of them are through. */
  async end(): Promise<void> {
    await Promise.all(this.#appends.keys())
  }

  get #oldest(): Promise<void> | undefined {
    return this.#appends.keys().next().value
  }
}
