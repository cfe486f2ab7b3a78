// How many messages each group was given of each topic over the last minute, hour and day: what
// RocketMQ's tools show as rates of consumers.
import type { Clock, Timer } from '../clock.ts'
import type { RecentCounts, SpanCount } from '../model/status.ts'

const SAMPLE_MS = 10_000
/** Samples of a span: every so many ticks, and as many as it has, with the one at its beginning. */
const SPANS = [
  { ticks: 1, samples: 7, from: 0 },
  { ticks: 60, samples: 7, from: 7 },
  { ticks: 360, samples: 25, from: 14 },
] as const
const SAMPLES = 39
/** Pairs of a group and a topic; what comes beyond is not counted. */
const PAIRS_MAX = 10_000

interface Pair {
  total: number
  /** `total` at each sample; rings, one behind the other. */
  readonly samples: Float64Array
}

export class GivenCounts {
  readonly #clock: Clock
  readonly #timer: Timer
  /** By group, then topic. */
  readonly #pairs = new Map<string, Map<string, Pair>>()
  /** When each sample was taken, by the monotonic clock. */
  readonly #times: Float64Array
  #size = 0
  #tick = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#times = new Float64Array(SAMPLES).fill(clock.monotonic())
    this.#timer = clock.every(SAMPLE_MS, () => this.#sample())
  }

  add(group: string, topic: string, messages: number): void {
    const pair = this.#pairs.get(group)?.get(topic) ?? this.#newPair(group, topic)
    if (pair !== undefined) pair.total += messages
  }

  /** Since the start, or since a pair was given anything again after a day without. */
  *totals(): Generator<{
    readonly group: string
    readonly topic: string
    readonly messages: number
  }> {
    for (const [group, topics] of this.#pairs) {
      for (const [topic, { total }] of topics) yield { group, topic, messages: total }
    }
  }

  /** Without a topic: of all. */
  of(group: string, topic?: string): RecentCounts {
    const topics = this.#pairs.get(group)
    const pairs =
      topic === undefined ? [...(topics?.values() ?? [])] : [topics?.get(topic)].filter(isThere)
    const [minute, hour, day] = SPANS.map((span) => this.#spanOf(span, pairs))
    return { minute: minute!, hour: hour!, day: day! }
  }

  close(): void {
    this.#timer.cancel()
  }

  #spanOf({ ticks, samples, from }: (typeof SPANS)[number], pairs: readonly Pair[]): SpanCount {
    // The oldest is the next to be written.
    const at = from + ((Math.floor(this.#tick / ticks) + 1) % samples)
    let messages = 0
    for (const pair of pairs) messages += pair.total - pair.samples[at]!
    return { messages, seconds: (this.#clock.monotonic() - this.#times[at]!) / 1000 }
  }

  #newPair(group: string, topic: string): Pair | undefined {
    if (this.#size === PAIRS_MAX) return undefined
    this.#size++
    const pair: Pair = { total: 0, samples: new Float64Array(SAMPLES) }
    const topics = this.#pairs.get(group) ?? new Map<string, Pair>()
    this.#pairs.set(group, topics.set(topic, pair))
    return pair
  }

  #sample(): void {
    this.#tick++
    for (const { ticks, samples, from } of SPANS) {
      if (this.#tick % ticks !== 0) continue
      const at = from + ((this.#tick / ticks) % samples)
      this.#times[at] = this.#clock.monotonic()
      for (const topics of this.#pairs.values()) {
        for (const pair of topics.values()) pair.samples[at] = pair.total
      }
      if (ticks === SPANS[2].ticks) this.#forgetIdle()
    }
  }

  /** Those that were given nothing for a day. */
  #forgetIdle(): void {
    const { samples, from } = SPANS[2]
    for (const [group, topics] of this.#pairs) {
      for (const [topic, pair] of topics) {
        const isIdle = pair.samples.subarray(from, from + samples).every((at) => at === pair.total)
        if (isIdle && topics.delete(topic)) this.#size--
      }
      if (topics.size === 0) this.#pairs.delete(group)
    }
  }
}

const isThere = (pair: Pair | undefined): pair is Pair => pair !== undefined
