// A process that opens a store with damaged views and says what it shows. LevelDB aborts the
// process on some damage; then it is started again, as a supervisor would, until it answers.
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { openStore } from '../../../src/store/open.ts'
import { FakeClock } from '../fake-clock.ts'
import { LogLines } from '../log-lines.ts'
import { contentsOf } from './store-contents.ts'

const STARTS_MAX = 5

interface Answer {
  readonly contents: string
  readonly isBuilt: boolean
}

export class ViewsVictim {
  readonly #directory: string
  #child: ChildProcess | undefined
  rebuilds = 0
  deaths = 0

  constructor(directory: string) {
    this.#directory = directory
  }

  /** All that the store shows, as JSON. */
  async read(): Promise<string> {
    for (let start = 0; start < STARTS_MAX; start++) {
      const answer = await this.#ask()
      if (answer === undefined) {
        this.deaths++
        continue
      }
      if (answer.isBuilt) this.rebuilds++
      return answer.contents
    }
    throw new Error(`the process died ${STARTS_MAX} times in a row`)
  }

  end(): void {
    this.#child?.kill('SIGKILL')
  }

  #ask(): Promise<Answer | undefined> {
    const path = fileURLToPath(import.meta.url)
    this.#child ??= fork(path, ['victim'], { stdio: ['ignore', 'inherit', 'ignore', 'ipc'] })
    const child = this.#child
    return new Promise((resolve) => {
      const onExit = (): void => {
        this.#child = undefined
        resolve(undefined)
      }
      child.once('exit', onExit)
      child.once('message', (answer) => {
        child.off('exit', onExit)
        resolve(answer as Answer)
      })
      child.send(this.#directory)
    })
  }
}

async function answer(directory: string): Promise<Answer> {
  const log = new LogLines()
  const storeHost = { ip: 0x7f000001, port: 10_911 }
  const clock = new FakeClock()
  const store = await openStore({ directory, storeHost, clock, log })
  const contents = JSON.stringify(await contentsOf(store))
  await store.close()
  return { contents, isBuilt: log.events().includes('views.built') }
}

if (process.argv[2] === 'victim' && process.send !== undefined) {
  process.on('message', (directory) => {
    answer(String(directory)).then(
      (result) => process.send!(result),
      (error: unknown) => process.send!({ contents: String(error), isBuilt: false }),
    )
  })
}
