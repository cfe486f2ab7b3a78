// A bar for work that takes its time, on a terminal alone.
import type { Clock } from '../../clock.ts'
import type { Terminal } from '../terminal.ts'
import { span } from '../words.ts'

const DRAW_MS = 100
const BAR_CHARS = 24

export class Progress {
  readonly #terminal: Pick<Terminal, 'progress'>
  readonly #clock: Clock
  readonly #startedMs: number
  #drawnMs = Number.NEGATIVE_INFINITY

  constructor(terminal: Pick<Terminal, 'progress'>, clock: Clock) {
    this.#terminal = terminal
    this.#clock = clock
    this.#startedMs = clock.monotonic()
  }

  /** @param share of the work, 0 to 1 */
  moved(share: number, text: () => string): void {
    const nowMs = this.#clock.monotonic()
    if (nowMs - this.#drawnMs < DRAW_MS) return
    this.#drawnMs = nowMs
    this.#terminal.progress(barLine(share, nowMs - this.#startedMs, text()))
  }

  end(): void {
    this.#terminal.progress('')
  }
}

/** '[######------------------]  25 %  1.0 GiB of 4.0 GiB, 12s left' */
function barLine(share: number, elapsedMs: number, text: string): string {
  const done = Math.min(1, Math.max(0, share))
  const full = Math.round(done * BAR_CHARS)
  const bar = `${'#'.repeat(full)}${'-'.repeat(BAR_CHARS - full)}`
  const percent = String(Math.floor(done * 100)).padStart(3)
  const left = done > 0 && done < 1 ? `, ${span((elapsedMs / done) * (1 - done))} left` : ''
  return `[${bar}] ${percent} %  ${text}${left}`
}
