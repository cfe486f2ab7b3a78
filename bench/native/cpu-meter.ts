// CPU time of another process and of its main thread, from /proc.
import { readFileSync } from 'node:fs'

const TICK_US = 10_000
const PAGE_BYTES = 4096
const MIB = 1024 * 1024

interface Used {
  readonly processUs: number
  readonly mainUs: number
}

export class CpuMeter {
  readonly #pid: number
  readonly #start: Used

  constructor(pid: number) {
    this.#pid = pid
    this.#start = this.#used()
  }

  /** Since the meter was made. */
  read(): Used & { readonly rssMb: number } {
    const { processUs, mainUs } = this.#used()
    const pages = Number(readFileSync(`/proc/${this.#pid}/statm`, 'utf8').split(' ')[1])
    return {
      processUs: processUs - this.#start.processUs,
      mainUs: mainUs - this.#start.mainUs,
      rssMb: Math.round((pages * PAGE_BYTES) / MIB),
    }
  }

  #used(): Used {
    const main = `/proc/${this.#pid}/task/${this.#pid}`
    // Nanoseconds on the CPU.
    const mainNs = Number(readFileSync(`${main}/schedstat`, 'utf8').split(' ')[0])
    const stat = readFileSync(`/proc/${this.#pid}/stat`, 'utf8')
    const [user, system] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13)
    return { processUs: (Number(user) + Number(system)) * TICK_US, mainUs: mainNs / 1000 }
  }
}
