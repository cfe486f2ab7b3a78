// Starts clients of the matrix, and keeps what they report.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Task } from './client-main.ts'
import { type Arrival, isWarmUp } from './sample.ts'

const MAIN = fileURLToPath(new URL('./client-main.js', import.meta.url))

export class MatrixClient {
  readonly task: Task
  readonly reports: Arrival[] = []
  /** Ids, in the order they came. */
  readonly warmUps: string[] = []
  /** Messages that the broker acknowledged. */
  sent = 0
  isDone = false
  readonly ready: Promise<void>
  stderr = ''
  readonly #child: ChildProcess

  constructor(task: Task, changed: () => void) {
    this.task = task
    const child = spawn(process.execPath, [MAIN, JSON.stringify(task)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    this.#child = child
    child.stdin.on('error', () => {})
    child.stderr.on('data', (text) => {
      this.stderr += text
    })
    this.ready = new Promise((resolve, reject) => {
      child.once('exit', (code) =>
        reject(new Error(`${this.name} ended (${code}): ${this.stderr}`)),
      )
      createInterface({ input: child.stdout }).on('line', (line) => {
        // Some clients write to standard output what is for nobody.
        if (!line.startsWith('{"event"')) return
        const { event, ...rest } = JSON.parse(line) as { event: string }
        if (event === 'ready') resolve()
        else if (event === 'sent') this.sent++
        else if (event === 'done') this.isDone = true
        else if (event === 'got') this.#got(rest as Arrival)
        changed()
      })
    })
    this.ready.catch(() => {})
  }

  #got(arrival: Arrival): void {
    if (isWarmUp(arrival.id)) this.warmUps.push(arrival.id)
    else this.reports.push(arrival)
  }

  get name(): string {
    const { task } = this
    return task.role === 'produce' ? `producer ${task.client}` : `consumer ${task.clientId}`
  }

  go(): void {
    this.#child.stdin!.write('go\n')
  }

  /** In order, or not at all after a while. */
  async stop(): Promise<void> {
    const child = this.#child
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.stdin!.end()
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000)
    await gone
    clearTimeout(timer)
  }
}
