// A JVM of interop-tests/java: any number of unmodified clients, each a scenario with connections of its own.
// A JVM takes seconds to start on a busy machine, a client in a running one does not.
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { ClientEvent, ClientHost } from './foreign-client.ts'

export type ScenarioOptions = Readonly<
  Record<string, string | number | boolean | readonly string[]>
>

export class Jvm {
  readonly #child: ChildProcess
  readonly #gone: Promise<void>
  readonly #listeners = new Map<number, (event: ClientEvent) => void>()
  #stderr = ''
  #begun = 0

  constructor(classPath: string, options: readonly string[]) {
    const words = ['-Xmx256m', '-XX:TieredStopAtLevel=1', '-cp', classPath, 'interop.Main']
    const child = spawn('java', [...options, ...words], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child = child
    child.stdin.on('error', () => {})
    child.stderr.on('data', (chunk) => (this.#stderr += chunk))
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('{')) return
      const event = JSON.parse(line) as ClientEvent
      this.#listeners.get(Number(event['id']))?.(event)
    })
    this.#gone = new Promise((resolve) => child.once('close', () => resolve()))
  }

  /** @param kill how it is ended without warning; by default in order, as other clients live in this JVM */
  begin(scenario: string, options: ScenarioOptions, kill?: () => void): ClientHost {
    const jvm = this
    const id = ++this.#begun
    const stop = (): void => void this.#child.stdin!.write(`${JSON.stringify({ id })}\n`)
    return {
      get stderr() {
        return jvm.#stderr
      },
      listen: (heard) => {
        const ended = new Promise<void>((resolve) => {
          this.#listeners.set(id, (event) => (event.event === 'ended' ? resolve() : heard(event)))
        })
        this.#child.stdin!.write(`${JSON.stringify({ id, scenario, options })}\n`)
        return Promise.race([ended, this.#gone])
      },
      stop,
      kill: kill ?? stop,
    }
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#gone
  }
}
