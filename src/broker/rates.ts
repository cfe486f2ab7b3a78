// How fast the broker's counters have grown of late, and how far they were at the last two
// midnights: what RocketMQ's tools show. One sample of all every ten seconds.
import type { Clock, Timer } from '../clock.ts'
import type { BrokerRates, Rate } from '../model/status.ts'
import type { Counter } from '../numbers/numbers.ts'

const SAMPLE_MS = 10_000
const SPANS_MS = [10_000, 60_000, 600_000]
/** Ten minutes, whenever in its ten seconds the question comes. */
const SAMPLES_MAX = 62

interface Sample {
  readonly atMs: number
  readonly values: readonly number[]
}

export class Rates {
  readonly #clock: Clock
  readonly #counters: readonly Counter[]
  readonly #samples: Sample[]
  readonly #timer: Timer
  #day: number
  #thisMorning: readonly number[]
  #yesterdayMorning: readonly number[]

  constructor(clock: Clock, { stored, read, readsFound, readsEmpty }: RatedCounters) {
    this.#clock = clock
    this.#counters = [stored, read, readsFound, readsEmpty]
    this.#samples = [this.#now()]
    this.#day = dayOf(clock.now())
    this.#thisMorning = this.#yesterdayMorning = this.#counters.map(() => 0)
    this.#timer = clock.every(SAMPLE_MS, () => this.#take())
  }

  now(): BrokerRates {
    const [stored, read, readsFound, readsEmpty] = this.#counters.map((_, at) => this.#of(at))
    return { stored: stored!, read: read!, readsFound: readsFound!, readsEmpty: readsEmpty! }
  }

  close(): void {
    this.#timer.cancel()
  }

  #of(at: number): Rate {
    const { atMs, values } = this.#now()
    const perSecond = SPANS_MS.map((spanMs) => {
      const isOld = (sample: Sample): boolean => atMs - sample.atMs >= spanMs
      const from = this.#samples.findLast(isOld) ?? this.#samples[0]!
      return (values[at]! - from.values[at]!) / Math.max(1, (atMs - from.atMs) / 1000)
    })
    const [thisMorning, yesterdayMorning] = [this.#thisMorning[at]!, this.#yesterdayMorning[at]!]
    return { perSecond, thisMorning, yesterdayMorning }
  }

  #now(): Sample {
    return { atMs: this.#clock.monotonic(), values: this.#counters.map(({ value }) => value) }
  }

  #take(): void {
    const sample = this.#now()
    this.#samples.push(sample)
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift()
    const day = dayOf(this.#clock.now())
    if (day === this.#day) return
    this.#day = day
    this.#yesterdayMorning = this.#thisMorning
    this.#thisMorning = sample.values
  }
}

type RatedCounters = Readonly<Record<keyof BrokerRates, Counter>>

const dayOf = (ms: number): number => new Date(ms).getDate()
