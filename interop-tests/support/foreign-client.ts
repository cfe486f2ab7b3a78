// A foreign client, heard through lines of JSON on the standard output of its process. It ends in order when
// its standard input does, so that it never outlives its test; a process may also have several clients.
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'

/** Without any news: a JVM starts slowly on a busy machine, and a rebalance takes up to 20 s. */
const SILENCE_MS_MAX = 120_000

/** What a client runs in. */
export interface ClientHost {
  /** What it complained about. */
  readonly stderr: string
  /** @returns settles when it has ended */
  listen(heard: (event: ClientEvent) => void): Promise<void>
  /** Ends it in order. */
  stop(): void
  kill(): void
}

/** A process that is one client. */
export function processHost(child: ChildProcess): ClientHost {
  let stderr = ''
  child.stderr!.on('data', (chunk) => (stderr += chunk))
  // A process that is gone hears nothing.
  child.stdin!.on('error', () => {})
  return {
    get stderr() {
      return stderr
    },
    listen(heard) {
      createInterface({ input: child.stdout! }).on('line', (line) => {
        if (line.startsWith('{')) heard(JSON.parse(line) as ClientEvent)
      })
      return new Promise((resolve) => child.once('close', () => resolve()))
    },
    stop: () => void child.stdin!.end(),
    kill: () => void child.kill('SIGKILL'),
  }
}

export interface ClientEvent {
  readonly event:
    | 'ready'
    | 'sent'
    | 'settled'
    | 'got'
    | 'failed'
    | 'check'
    | 'case'
    | 'done'
    | 'printed'
    | 'ended'
  readonly [field: string]: unknown
}

/** A message as a consumer printed it. */
export interface Got extends ClientEvent {
  readonly event: 'got'
  readonly msgId: string
  readonly topic: string
  readonly queueId: number
  readonly queueOffset: number
  readonly reconsumeTimes: number
  readonly tag?: string
  readonly keys?: string
  readonly properties: Readonly<Record<string, string>>
  /** base64 */
  readonly body: string
  readonly delayMs: number
}

export class ForeignClient {
  readonly events: ClientEvent[] = []
  /** Called with each message. */
  onGot: (got: Got) => void = () => {}
  readonly #host: ClientHost
  readonly #name: string
  readonly #ended: Promise<void>
  #isGone = false
  #lastNewsMs = performance.now()
  #onEvent: (() => void)[] = []

  constructor(host: ClientHost, name: string) {
    this.#host = host
    this.#name = name
    this.#ended = host
      .listen((event) => {
        this.events.push(event)
        this.#lastNewsMs = performance.now()
        if (event.event === 'got') this.onGot(event as Got)
        this.#wake()
      })
      .then(() => {
        this.#isGone = true
        this.#wake()
      })
  }

  get got(): readonly Got[] {
    return this.events.filter((event): event is Got => event.event === 'got')
  }

  of(event: ClientEvent['event']): readonly ClientEvent[] {
    return this.events.filter((entry) => entry.event === event)
  }

  /** Waits until `isEnough` is true of what was heard. @throws with everything heard when it never is */
  async until(what: string, isEnough: () => boolean): Promise<void> {
    this.#lastNewsMs = performance.now()
    while (!isEnough()) {
      const leftMs = this.#lastNewsMs + SILENCE_MS_MAX - performance.now()
      if (leftMs <= 0 || this.#isGone) {
        const heard = this.events.map((event) => JSON.stringify(event).slice(0, 300))
        const state = this.#isGone ? 'it ended' : `it said nothing for ${SILENCE_MS_MAX} ms`
        throw new Error(
          `${this.#name}: ${state} before ${what}:\n${heard.slice(-20).join('\n')}\n${this.#host.stderr.slice(-2000)}`,
        )
      }
      const timer = setTimeout(() => this.#wake(), leftMs)
      await new Promise<void>((resolve) => this.#onEvent.push(resolve))
      clearTimeout(timer)
    }
  }

  ready(): Promise<void> {
    return this.until('it was ready', () => this.of('ready').length > 0)
  }

  /** Waits for `count` messages. */
  async receives(count: number): Promise<readonly Got[]> {
    await this.until(`${count} messages came`, () => this.got.length >= count)
    return this.got
  }

  /** Waits for a scenario that ends by itself. */
  async ends(): Promise<readonly ClientEvent[]> {
    await this.#ended
    return this.events
  }

  /** Asks it to end, on which consumers shut down in order. */
  async stop(): Promise<void> {
    this.#host.stop()
    await this.#ended
  }

  async kill(): Promise<void> {
    if (!this.#isGone) this.#host.kill()
    await this.#ended
  }

  #wake(): void {
    const waiting = this.#onEvent
    this.#onEvent = []
    for (const resolve of waiting) resolve()
  }
}

export const bodyOf = (got: Got): string => Buffer.from(got.body, 'base64').toString('utf8')
