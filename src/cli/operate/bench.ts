// trivet bench: how many messages a broker takes and gives over one protocol, and how long each
// waits. Bounded in time and number; what it measured is told also when it was ended early.
import { randomBytes } from 'node:crypto'
import { type Clock, sleep, systemClock, type Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { BODY_BYTES_MAX } from '../../model/limits.ts'
import { Histogram } from '../../numbers/histogram.ts'
import { command, type FlagValues } from '../command.ts'
import { answerTimeoutMs } from '../patience.ts'
import { type Leg, type LegAround, type Letter, legFlags, type Wish } from '../wire/leg.ts'
import { openLeg } from '../wire/open-leg.ts'
import { durationMs, size } from '../words.ts'
import { Progress } from './progress.ts'

const MODES = ['in', 'out', 'through'] as const
type Mode = (typeof MODES)[number]

const CLIENTS_MAX = 256
const TOGETHER_MAX = 1_000
const DURATION_MS = 10_000
const DURATION_MS_MAX = 24 * 3_600_000
/** Run and time of sending, at the beginning of each body. */
const STAMP_BYTES = 40
/** Reading what is there ends when nothing came for this long. */
const SILENCE_MS = 2_000
const PROBE_MS = 100
const PROBE = 'probe'

const flags = {
  ...legFlags,
  mode: {
    type: 'text',
    choices: MODES,
    describe:
      'in: send (default); out: read what is there; through: send and receive, and measure both ways together.',
  },
  clients: { type: 'number', describe: 'Connections that send (default: 4).' },
  together: {
    type: 'number',
    describe:
      'Messages that each has under way at a time; a batch over the native protocol (default: 16).',
  },
  size: { type: 'number', value: 'bytes', describe: 'Of each body (default: 100).' },
  count: { type: 'number', short: 'c', describe: 'End after this many messages.' },
  duration: { type: 'text', value: 'time', describe: 'End after this time (default: 10s).' },
  json: { type: 'boolean', describe: 'Print one JSON object.' },
} as const

interface Plan {
  readonly topic: string
  readonly mode: Mode
  readonly clients: number
  readonly together: number
  readonly bytes: number
  readonly count: number
  readonly durationMs: number
}

export const bench = command({
  summary: 'Measure how many messages a broker takes and gives',
  details:
    'Sends to a topic of your choice, or reads it, and leaves the messages there: use a topic of its own. Over the native\n' +
    'protocol messages that are under way together are one batch. The times are in milliseconds: until a message was\n' +
    'accepted, with --mode through until it came back. What was measured is told also after Ctrl-C.',
  positionals: [{ name: 'topic', describe: 'Topic to send to and read.' }],
  flags,
  examples: [
    'trivet bench load',
    'trivet bench load --via mqtt --at mq.example:8883 --tls --clients 16 --together 1',
    'trivet bench load --mode through --count 100000 --size 1000 --json',
  ],
  async run(invocation) {
    const { args, flags: given, terminal } = invocation
    const plan = planOf(args[0] ?? '', given)
    const run = new Run(plan, invocation, systemClock)
    try {
      await run.measure()
    } catch (error) {
      if (!invocation.signal.aborted) throw error
    }
    const result = run.result(given.via ?? 'native')
    if (given.json) terminal.json(result)
    else for (const line of linesOf(result)) terminal.print(line)
  },
})

function planOf(topic: string, given: FlagValues<typeof flags>): Plan {
  const mode = (given.mode ?? 'in') as Mode
  const duration = given.duration
  const plan: Plan = {
    ...{ topic, mode },
    clients: whole('--clients', given.clients ?? 4, 1, CLIENTS_MAX),
    together: whole('--together', given.together ?? 16, 1, TOGETHER_MAX),
    bytes: whole('--size', given.size ?? 100, mode === 'through' ? STAMP_BYTES : 1, BODY_BYTES_MAX),
    count:
      given.count === undefined ? Number.POSITIVE_INFINITY : whole('--count', given.count, 1, 1e9),
    durationMs: duration === undefined ? DURATION_MS : durationMs('--duration', duration),
  }
  if (plan.durationMs > 0 && plan.durationMs <= DURATION_MS_MAX) return plan
  throw new BrokerError('ARGUMENT_INVALID', `--duration is '${duration}'; up to 24h are allowed`)
}

function whole(flag: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw new BrokerError(
    'ARGUMENT_INVALID',
    `${flag} is ${value}; a number from ${min} to ${max} is due`,
  )
}

/** From 10 us to over an hour, each 5 % wider than the one before. */
const BOUNDS_MS: readonly number[] = Array.from({ length: 410 }, (_, at) => 0.01 * 1.05 ** at)

interface Result {
  readonly via: string
  readonly topic: string
  readonly mode: Mode
  /** Of each body. */
  readonly bytes: number
  readonly messages: number
  readonly clients?: number
  readonly together?: number
  readonly seconds: number
  readonly perSecond: number
  readonly ms?: Readonly<Record<'p50' | 'p90' | 'p99' | 'p999' | 'max', number>>
}

function linesOf({ messages, bytes, seconds, perSecond, ms }: Result): readonly string[] {
  const rate = `${messages} messages in ${seconds} s: ${perSecond} a second, ${size(perSecond * bytes)} a second`
  if (ms === undefined) return [rate]
  const { p50, p90, p99, p999, max } = ms
  return [rate, `ms: p50 ${p50}, p90 ${p90}, p99 ${p99}, p99.9 ${p999}, max ${max}`]
}

/** Calls once when it was not restarted in time. */
class Silence {
  readonly #clock: Clock
  readonly #tell: () => void
  #timer: Timer | undefined

  constructor(clock: Clock, tell: () => void) {
    this.#clock = clock
    this.#tell = tell
  }

  restart(ms: number): void {
    this.#timer?.cancel()
    this.#timer = this.#clock.after(ms, this.#tell)
  }

  end(): void {
    this.#timer?.cancel()
  }
}

class Run {
  readonly #plan: Plan
  readonly #around: LegAround
  readonly #clock: Clock
  readonly #progress: Progress
  /** What is sent here, and not by another run, begins with it. */
  readonly #id = randomBytes(8).toString('hex')
  readonly #times = new Histogram(BOUNDS_MS)
  /** The time is up, or nothing is left to do. */
  readonly #over = new AbortController()
  readonly #ended: AbortSignal
  /** Nothing came for a while. */
  readonly #quiet = new AbortController()
  readonly #silence: Silence
  readonly #legs: Leg[] = []
  #begunMs = 0
  #lastMs = 0
  #given = 0
  #accepted = 0
  #isSent = false
  #count = 0

  constructor(plan: Plan, around: LegAround, clock: Clock) {
    this.#plan = plan
    this.#around = around
    this.#clock = clock
    this.#progress = new Progress(around.terminal, clock)
    this.#ended = AbortSignal.any([around.signal, this.#over.signal, this.#quiet.signal])
    this.#silence = new Silence(clock, () => this.#quiet.abort())
  }

  async measure(): Promise<void> {
    const { mode, clients } = this.#plan
    try {
      if (mode === 'out') return await this.#readWhatIsThere(await this.#open())
      const senders = await Promise.all(Array.from({ length: clients }, () => this.#open()))
      if (mode === 'in') await this.#sendAll(senders)
      else await this.#sendThrough(senders, await this.#open())
    } finally {
      this.#over.abort()
      this.#quiet.abort()
      this.#silence.end()
      await Promise.all(this.#legs.map((leg) => leg.close()))
      this.#progress.end()
    }
  }

  result(via: string): Result {
    const seconds = (this.#lastMs - this.#begunMs) / 1000
    const perSecond = seconds > 0 ? this.#count / seconds : 0
    const { topic, mode, clients, together, bytes } = this.#plan
    const times = this.#times
    const of = (share: number): number => Number(times.quantile(share).toFixed(3))
    return {
      ...{ via, topic, mode, bytes, messages: this.#count },
      ...(mode !== 'out' && { clients, together }),
      seconds: Number(seconds.toFixed(3)),
      perSecond: Math.round(perSecond),
      ...(times.count > 0 && {
        ms: { p50: of(0.5), p90: of(0.9), p99: of(0.99), p999: of(0.999), max: of(1) },
      }),
    }
  }

  async #open(): Promise<Leg> {
    const leg = await openLeg(this.#around)
    this.#legs.push(leg)
    return leg
  }

  #begin(): void {
    this.#begunMs = this.#clock.monotonic()
    this.#lastMs = this.#begunMs
    this.#clock.after(this.#plan.durationMs, () => this.#over.abort())
  }

  #counted(tookMs: number | undefined): void {
    const { count, durationMs: allMs } = this.#plan
    this.#count++
    this.#lastMs = this.#clock.monotonic()
    if (tookMs !== undefined) this.#times.observe(tookMs)
    const goneMs = this.#lastMs - this.#begunMs
    const share = Math.max(this.#count / count, goneMs / allMs)
    this.#progress.moved(share, () => {
      return `${this.#count} messages, ${Math.round((this.#count / goneMs) * 1000)} a second`
    })
  }

  async #sendAll(senders: readonly Leg[]): Promise<void> {
    this.#begin()
    await Promise.all(senders.map((leg) => this.#send(leg)))
  }

  /** Until the count is given out or the time is up. */
  async #send(leg: Leg): Promise<void> {
    const { together, count, mode } = this.#plan
    while (!this.#ended.aborted && this.#given < count) {
      const letters = Math.min(together, count - this.#given)
      this.#given += letters
      const sentMs = this.#clock.monotonic()
      const letter = this.#letter(this.#id, sentMs)
      await leg.publish(Array<Letter>(letters).fill(letter), () => {
        this.#accepted++
        if (mode === 'in') this.#counted(this.#clock.monotonic() - sentMs)
      })
    }
  }

  #letter(id: string, nowMs: number): Letter {
    const { topic, bytes } = this.#plan
    const body = `${id} ${nowMs.toFixed(3)} `.padEnd(bytes, 'x').slice(0, bytes)
    const none = { tag: undefined, keys: [], properties: {}, orderingKey: undefined }
    return { ...none, topic, body, delayMs: undefined }
  }

  /** From the first message on; ends when nothing comes any more. */
  async #readWhatIsThere(leg: Leg): Promise<void> {
    this.#silence.restart(answerTimeoutMs(this.#around.flags.timeout))
    for await (const { settle } of leg.arrivals(this.#wish('first'), this.#ended)) {
      if (this.#count === 0) this.#begin()
      await settle()
      this.#counted(undefined)
      if (this.#count >= this.#plan.count) break
      this.#silence.restart(SILENCE_MS)
    }
    if (this.#count > 0 || this.#around.signal.aborted) return
    throw new BrokerError('TIMED_OUT', `'${this.#plan.topic}' has nothing to read`)
  }

  async #sendThrough(senders: readonly Leg[], reader: Leg): Promise<void> {
    const isReading = new AbortController()
    const reading = this.#readBack(reader, () => isReading.abort())
    await Promise.race([reading, this.#probe(senders[0]!, isReading.signal)])
    await Promise.race([reading, this.#sendAll(senders)])
    this.#isSent = true
    if (this.#count < this.#accepted) {
      this.#silence.restart(answerTimeoutMs(this.#around.flags.timeout))
      await reading
    }
    if (this.#count < this.#accepted && !this.#around.signal.aborted) {
      const text = `${this.#accepted - this.#count} of ${this.#accepted} messages did not come back`
      throw new BrokerError('TIMED_OUT', text)
    }
  }

  /** A reader without a group reads from where it joins, which no protocol tells. */
  async #probe(leg: Leg, isReading: AbortSignal): Promise<void> {
    const untilMs = this.#clock.monotonic() + answerTimeoutMs(this.#around.flags.timeout)
    while (!isReading.aborted) {
      if (this.#clock.monotonic() > untilMs) {
        throw new BrokerError(
          'TIMED_OUT',
          `nothing that is sent to '${this.#plan.topic}' comes back`,
        )
      }
      await leg.publish([this.#letter(PROBE, this.#clock.monotonic())], () => {})
      const pause = AbortSignal.any([this.#around.signal, isReading])
      await sleep(this.#clock, PROBE_MS, pause).catch(() => this.#around.signal.throwIfAborted())
    }
  }

  async #readBack(leg: Leg, isReading: () => void): Promise<void> {
    for await (const { body, settle } of leg.arrivals(this.#wish(undefined), this.#quiet.signal)) {
      await settle()
      isReading()
      const [id, sentMs] = Buffer.from(body).toString('latin1', 0, STAMP_BYTES).split(' ')
      if (id !== this.#id) continue
      this.#counted(this.#clock.monotonic() - Number(sentMs))
      if (this.#isSent && this.#count >= this.#accepted) break
      if (this.#isSent) this.#silence.restart(answerTimeoutMs(this.#around.flags.timeout))
    }
  }

  #wish(from: 'first' | undefined): Wish {
    const { terminal } = this.#around
    const note = (text: string): void => terminal.note(`trivet: ${text}`)
    const every = { tags: undefined, sql: undefined, group: undefined }
    return { topic: this.#plan.topic, ...every, from, note }
  }
}
