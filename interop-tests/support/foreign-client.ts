// A foreign client in a process of its own, heard through lines of JSON on its standard output. It ends in
// order when its standard input does, so that it never outlives its test.
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'

/** A JVM starts slowly on a busy machine, and a rebalance takes up to 20 s. */
const WAIT_MS_MAX = 120_000

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
  readonly #child: ChildProcess
  readonly #name: string
  readonly #exited: Promise<unknown>
  #isGone = false
  #stderr = ''
  #onEvent: (() => void)[] = []

  constructor(child: ChildProcess, name: string) {
    this.#child = child
    this.#name = name
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (!line.startsWith('{')) return
      const event = JSON.parse(line) as ClientEvent
      this.events.push(event)
      if (event.event === 'got') this.onGot(event as Got)
      this.#wake()
    })
    child.stderr!.on('data', (chunk) => (this.#stderr += chunk))
    this.#exited = new Promise((resolve) => child.once('close', resolve)).then(() => {
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
    const deadline = AbortSignal.timeout(WAIT_MS_MAX)
    deadline.addEventListener('abort', () => this.#wake())
    while (!isEnough()) {
      if (deadline.aborted || this.#isGone) {
        const heard = this.events.map((event) => JSON.stringify(event).slice(0, 300))
        const state = this.#isGone ? 'it ended' : `${WAIT_MS_MAX} ms passed`
        throw new Error(
          `${this.#name}: ${state} before ${what}:\n${heard.slice(-20).join('\n')}\n${this.#stderr.slice(-2000)}`,
        )
      }
      await new Promise<void>((resolve) => this.#onEvent.push(resolve))
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

  /** Writes a line to its standard input; settles with the next event of this name. */
  async asked(line: string, event: ClientEvent['event']): Promise<ClientEvent> {
    const before = this.of(event).length
    this.#child.stdin!.write(`${line}\n`)
    await this.until(`it answered ${line}`, () => this.of(event).length > before)
    return this.of(event)[before]!
  }

  /** Waits for a scenario that ends by itself. */
  async ends(): Promise<readonly ClientEvent[]> {
    await this.#exited
    return this.events
  }

  /** Ends its standard input, on which consumers shut down in order. */
  async stop(): Promise<void> {
    this.#child.stdin!.end()
    await this.#exited
  }

  async kill(): Promise<void> {
    if (!this.#isGone) this.#child.kill('SIGKILL')
    await this.#exited
  }

  #wake(): void {
    const waiting = this.#onEvent
    this.#onEvent = []
    for (const resolve of waiting) resolve()
  }
}

export const bodyOf = (got: Got): string => Buffer.from(got.body, 'base64').toString('utf8')
