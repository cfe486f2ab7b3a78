// A process whose disk fails when the test says so: what it writes and syncs by Node's own calls ends
// with EIO. What LevelDB writes does not.
import { rmSync, writeFileSync } from 'node:fs'

const CALLS = ['write', 'fdatasync', 'fsync'] as const

export class FailingDisk {
  readonly #file: string

  /** `file`: says how it fails while it is there. */
  constructor(file: string) {
    this.#file = file
  }

  /** Of the process. */
  get env(): Readonly<Record<string, string>> {
    const script = `
      import fs from 'node:fs'
      import { syncBuiltinESMExports } from 'node:module'
      const file = ${JSON.stringify(this.#file)}
      const { readFileSync, rmSync } = fs
      const failure = (fd) => {
        if (fd <= 2) return undefined
        let how
        try {
          how = readFileSync(file, 'utf8')
        } catch {
          return undefined
        }
        if (how === 'once') rmSync(file)
        return Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
      }
      for (const name of ${JSON.stringify(CALLS)}) {
        const [later, now] = [fs[name], fs[name + 'Sync']]
        fs[name] = (fd, ...rest) => {
          const error = failure(fd)
          if (error === undefined) return later(fd, ...rest)
          setImmediate(rest.at(-1), error)
        }
        fs[name + 'Sync'] = (fd, ...rest) => {
          const error = failure(fd)
          if (error === undefined) return now(fd, ...rest)
          throw error
        }
      }
      syncBuiltinESMExports()`
    return { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(script)}` }
  }

  fails(how: 'once' | 'always'): void {
    writeFileSync(this.#file, how)
  }

  isWhole(): void {
    rmSync(this.#file, { force: true })
  }
}
